use iothub_core::HubErrorCode;

use super::Failure;

/// On which condition a write happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No condition was given. For an identity that means: create it.
    Absent,
    /// Whatever is stored, as long as something is.
    Any,
    /// Only what has this tag.
    Tag {
        tag: String,
        /// The hub ignores tags without quotes on twins and configurations.
        quoted: bool,
    },
}

impl IfMatch {
    /// From the text of the header: `*`, `"*"`, `"tag"` or `tag`.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            return Self::Absent;
        };
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match inner.unwrap_or(text) {
            "*" => Self::Any,
            tag => Self::Tag {
                tag: tag.to_owned(),
                quoted: inner.is_some(),
            },
        }
    }

    /// Refuses if there is a condition and `stored` does not meet it.
    pub(crate) fn check(&self, stored: &str) -> Result<(), Failure> {
        match self {
            Self::Tag { tag, .. } if tag != stored => {
                let text = format!("Precondition failed: the ETag is {stored}, not {tag}");
                Err(Failure::new(HubErrorCode::PreconditionFailed, text))
            }
            _ => Ok(()),
        }
    }

    /// The same condition where tags without quotes count as none.
    #[must_use]
    pub(crate) fn only_quoted(self) -> Self {
        match self {
            Self::Tag { quoted: false, .. } => Self::Absent,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_clients_is_read() {
        let tag = |tag: &str, quoted| IfMatch::Tag {
            tag: tag.into(),
            quoted,
        };
        for (text, expected) in [
            (None, IfMatch::Absent),
            (Some(""), IfMatch::Absent),
            (Some("*"), IfMatch::Any),
            (Some("\"*\""), IfMatch::Any),
            (Some("\"MQ==\""), tag("MQ==", true)),
            (Some("MQ=="), tag("MQ==", false)),
        ] {
            assert_eq!(IfMatch::parse(text), expected, "{text:?}");
        }
    }
}
