use std::time::Duration;

use azure_core::{
    http::headers::{HeaderName, Headers, RETRY_AFTER, RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS},
    time::{OffsetDateTime, parse_rfc7231},
};

/// How long an answer asks to wait. What cannot be read counts as absent.
pub(super) fn retry_after(headers: &Headers, now: OffsetDateTime) -> Option<Duration> {
    let header = |name: &HeaderName| headers.get_optional_str(name).map(str::trim);
    [RETRY_AFTER_MS, X_MS_RETRY_AFTER_MS]
        .iter()
        .find_map(|name| whole_number(header(name)?).map(Duration::from_millis))
        .or_else(|| {
            let text = header(&RETRY_AFTER)?;
            whole_number(text)
                .map(Duration::from_secs)
                .or_else(|| until(text, header(&DATE), now))
        })
}

/// Digits only; what is too large for a number is as long as can be.
fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The time until a date, by the clock of the one who wrote it if that is known.
fn until(date: &str, answered: Option<&str>, now: OffsetDateTime) -> Option<Duration> {
    let date = parse_rfc7231(date).ok()?;
    let from = answered.and_then(|text| parse_rfc7231(text).ok()).unwrap_or(now);
    Some((date - from).try_into().unwrap_or_default())
}

const DATE: HeaderName = HeaderName::from_static("date");

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn every_way_to_ask_for_a_wait_is_read() {
        let seconds = |n| Some(Duration::from_secs(n));
        let millis = |n| Some(Duration::from_millis(n));
        for (headers, expected) in [
            (vec![], None),
            (vec![("retry-after", "0")], seconds(0)),
            (vec![("retry-after", " 7 ")], seconds(7)),
            (vec![("retry-after", "86400")], seconds(86_400)),
            (vec![("retry-after", "100000000000000000000")], seconds(u64::MAX)),
            (vec![("retry-after", "-5")], None),
            (vec![("retry-after", "+5")], None),
            (vec![("retry-after", "1.5")], None),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "")], None),
            // Two headers of one name, as a transport may join them.
            (vec![("retry-after", "3, 4")], None),
            (vec![("retry-after-ms", "250")], millis(250)),
            (vec![("x-ms-retry-after-ms", "250")], millis(250)),
            (vec![("retry-after-ms", "250"), ("retry-after", "7")], millis(250)),
            (vec![("retry-after-ms", "-1"), ("retry-after", "7")], seconds(7)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], seconds(37)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:48:00 GMT")], seconds(0)),
            // Our clock is off by a year, theirs by nothing.
            (
                vec![
                    ("retry-after", "Mon, 06 Nov 1995 08:49:37 GMT"),
                    ("date", "Mon, 06 Nov 1995 08:49:30 GMT"),
                ],
                seconds(7),
            ),
        ] {
            let mut answer = Headers::new();
            for (name, value) in &headers {
                answer.insert(*name, *value);
            }
            let now = datetime!(1994-11-06 08:49 UTC);
            assert_eq!(retry_after(&answer, now), expected, "{headers:?}");
        }
    }
}
