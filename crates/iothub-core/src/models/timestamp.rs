//! Dates as hubs write them: RFC 3339, with up to seven digits of a second, sometimes without the `Z`.

use azure_core::time::{OffsetDateTime, to_rfc3339};
use serde::{Deserializer, Serializer, de};
use time::{Date, PrimitiveDateTime, Time, format_description::well_known::Rfc3339, macros::format_description};

pub(crate) mod option {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(time: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&to_rfc3339(time)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OffsetDateTime>, D::Error> {
        struct Timestamp;

        impl<'de> de::Visitor<'de> for Timestamp {
            type Value = Option<OffsetDateTime>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a date like 2026-01-31T12:00:00Z, or null")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_str(self)
            }
        }

        deserializer.deserialize_option(Timestamp)
    }
}

/// The date, or `Some(None)` for the year one, which hubs write for "never". `None` if the text is no date.
pub(crate) fn parse(text: &str) -> Option<Option<OffsetDateTime>> {
    let time = match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => time,
        // Without an offset it means UTC.
        Err(_) if text.is_ascii() && text.len() > 10 => {
            let date = Date::parse(&text[..10], format_description!("[year]-[month]-[day]")).ok()?;
            let time = format_description!("[hour]:[minute]:[second][optional [.[subsecond]]]");
            PrimitiveDateTime::new(date, Time::parse(&text[11..], time).ok()?).assume_utc()
        }
        Err(_) => return None,
    };
    Some((time.year() > 1).then_some(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn dates_are_read_in_every_form_that_hubs_write() {
        let seven = datetime!(2026-01-01 00:00:00.1234567 UTC);
        assert_eq!(parse("2026-01-01T00:00:00.1234567Z"), Some(Some(seven)));
        assert_eq!(parse("2026-01-01T00:00:00.1234567"), Some(Some(seven)));
        assert_eq!(parse("2026-01-01T01:00:00.1234567+01:00"), Some(Some(seven)));
        assert_eq!(
            parse("2026-01-01T00:00:00"),
            Some(Some(datetime!(2026-01-01 00:00 UTC)))
        );
        assert_eq!(to_rfc3339(&seven), "2026-01-01T00:00:00.1234567Z");
    }

    #[test]
    fn the_year_one_means_never() {
        for never in [
            "0001-01-01T00:00:00",
            "0001-01-01T00:00:00Z",
            "0001-01-01T00:00:00.0000000Z",
        ] {
            assert_eq!(parse(never), Some(None));
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "yesterday",
            "2026-13-01T00:00:00",
            "2026-01-01",
            "2026-01-01T",
            "2026-01-01Täüö",
            "2026-01-01 x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
