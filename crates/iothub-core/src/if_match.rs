use azure_core::{Error, Result, error::ErrorKind, http::Etag};

/// On what condition a write takes place.
///
/// # Examples
///
/// ```
/// use azure_core::http::Etag;
/// use iothub_core::IfMatch;
///
/// let as_read = Etag::from("MTIz");
/// assert_eq!(IfMatch::from(as_read), IfMatch::Tag("MTIz".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// The thing exists, in whatever version.
    Any,
    /// The thing is still in the version with this tag, with or without quotation marks around it. Otherwise the hub
    /// answers [`HubErrorCode::PreconditionFailed`](crate::HubErrorCode::PreconditionFailed).
    Tag(Etag),
}

impl IfMatch {
    /// The value of the header `If-Match`.
    ///
    /// # Errors
    ///
    /// The tag is empty or has characters that RFC 9110 (section 8.8.3) does not allow in one.
    pub fn to_header(&self) -> Result<String> {
        let tag = match self {
            Self::Any => return Ok("*".to_owned()),
            Self::Tag(tag) => tag.as_ref(),
        };
        let bare = tag
            .strip_prefix('"')
            .and_then(|tag| tag.strip_suffix('"'))
            .unwrap_or(tag);
        // A hub takes a tag without quotation marks for no condition at all, so they are not left to chance.
        if bare.is_empty() || !bare.chars().all(|c| c == '!' || ('#'..='~').contains(&c)) {
            let shown: String = tag.chars().take(160).collect();
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                format!("{shown:?} is not the tag of a version: take the one that the hub gave, as in MTIz or \"MTIz\"")
            }));
        }
        Ok(format!("\"{bare}\""))
    }
}

impl From<Etag> for IfMatch {
    fn from(tag: Etag) -> Self {
        Self::Tag(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_quoted_once() {
        for tag in ["AAAAAAAAAAE=", "\"AAAAAAAAAAE=\""] {
            assert_eq!(IfMatch::Tag(tag.into()).to_header().unwrap(), "\"AAAAAAAAAAE=\"");
        }
        assert_eq!(IfMatch::Any.to_header().unwrap(), "*");
        // A tag that looks like the wildcard is a tag.
        assert_eq!(IfMatch::Tag("*".into()).to_header().unwrap(), "\"*\"");
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for bad in ["", "\"", "\"\"", "a\"b", "a b", "a\r\nx-evil: 1", "ä", "W/\"a\""] {
            let error = IfMatch::Tag(bad.into()).to_header().unwrap_err().to_string();
            assert!(error.contains("is not the tag of a version"), "{bad}: {error}");
        }
    }
}
