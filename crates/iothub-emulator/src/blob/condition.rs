use http::{
    HeaderMap,
    header::{IF_MATCH, IF_NONE_MATCH},
};

use super::{container::Version, refusal::Refusal};

/// On which condition something happens to a blob: the headers `If-Match` and `If-None-Match`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    matching: Option<String>,
    not_matching: Option<String>,
}

impl Condition {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.trim().to_owned());
        Self {
            matching: text(IF_MATCH),
            not_matching: text(IF_NONE_MATCH),
        }
    }

    /// `stored` is what there is now.
    pub(super) fn check(&self, stored: Option<Version>) -> Result<(), Refusal> {
        let is = |tag: &str| {
            stored.is_some_and(|version| tag == "*" || tag.trim_matches('"') == version.etag().trim_matches('"'))
        };
        match (&self.matching, &self.not_matching) {
            (Some(tag), _) if !is(tag) => Err(Refusal::ConditionNotMet),
            (_, Some(tag)) if tag == "*" && stored.is_some() => Err(Refusal::BlobAlreadyExists),
            (_, Some(tag)) if is(tag) => Err(Refusal::ConditionNotMet),
            _ => Ok(()),
        }
    }
}
