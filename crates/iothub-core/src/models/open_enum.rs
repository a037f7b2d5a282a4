/// What every enum of words has in common: it is written as its word, and read from any word.
///
/// The enum brings `as_str` and `From<&str>`. A number where a word should be, as some hubs have sent, is kept like an
/// unknown word.
macro_rules! open_enum {
    ($name:ident) => {
        impl ::std::str::FromStr for $name {
            type Err = ::std::convert::Infallible;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                Ok(Self::from(text))
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                struct Word;

                impl ::serde::de::Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("a word")
                    }

                    fn visit_str<E>(self, text: &str) -> ::std::result::Result<$name, E> {
                        Ok($name::from(text))
                    }

                    fn visit_u64<E>(self, number: u64) -> ::std::result::Result<$name, E> {
                        Ok($name::Other(number.to_string()))
                    }

                    fn visit_i64<E>(self, number: i64) -> ::std::result::Result<$name, E> {
                        Ok($name::Other(number.to_string()))
                    }
                }

                deserializer.deserialize_any(Word)
            }
        }
    };
}

pub(crate) use open_enum;

#[cfg(test)]
mod tests {
    use crate::models::{DeviceStatus, FeedbackStatus, JobType};

    #[test]
    fn words_are_read_without_regard_to_case_and_written_as_the_hub_spells_them() {
        for text in ["disabled", "Disabled", "DISABLED"] {
            assert_eq!(DeviceStatus::from(text), DeviceStatus::Disabled);
        }
        assert_eq!(DeviceStatus::Disabled.to_string(), "disabled");
        assert_eq!("ExportDevices".parse::<JobType>().unwrap().as_str(), "export");
    }

    #[test]
    fn a_word_nobody_knows_survives() {
        let status: FeedbackStatus = serde_json::from_str("\"Lost\"").unwrap();
        assert_eq!(status, FeedbackStatus::Other("Lost".to_owned()));
        assert_eq!(serde_json::to_string(&status).unwrap(), "\"Lost\"");
        let number: FeedbackStatus = serde_json::from_str("4").unwrap();
        assert_eq!(number.as_str(), "4");
    }
}
