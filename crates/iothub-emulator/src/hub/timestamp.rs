use std::borrow::Cow;

use time::{OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description};

/// A time as the hub writes it: UTC with seven digits of a second.
pub(crate) fn text(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    time.format(FORMAT).unwrap_or_else(|_| NEVER.to_owned())
}

/// The same, and the year 1 for what never was.
pub(crate) fn text_or_never(time: Option<OffsetDateTime>) -> Cow<'static, str> {
    time.map_or(Cow::Borrowed(NEVER), |time| Cow::Owned(text(time)))
}

/// A time as HTTP writes it.
pub(crate) fn http_date(time: OffsetDateTime) -> String {
    time.to_offset(UtcOffset::UTC).format(HTTP_DATE).unwrap_or_default()
}

pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_hubs_seven_digits() {
        let time = time::macros::datetime!(2026-01-01 01:00:00.123_456_789 +1);
        assert_eq!(text(time), "2026-01-01T00:00:00.1234567Z");
        assert_eq!(text_or_never(None), "0001-01-01T00:00:00Z");
    }

    /// The example of RFC 9110, 5.6.7, an hour farther east.
    #[test]
    fn http_has_a_form_of_its_own() {
        let time = time::macros::datetime!(1994-11-06 09:49:37 +1);
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
