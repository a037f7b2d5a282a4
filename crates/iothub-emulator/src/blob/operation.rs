use http::Method;

use super::{refusal::Refusal, sas::Parameters};

/// What a request asks of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateContainer,
    GetContainer,
    ListBlobs,
    PutBlob,
    PutBlock { id: String },
    PutBlockList,
    GetBlob,
    DeleteBlob,
}

impl Operation {
    pub(super) fn of(method: &Method, query: &Parameters, names_blob: bool) -> Result<Self, Refusal> {
        let kind = (query.get("restype"), query.get("comp"));
        match (names_blob, method, kind) {
            (false, &Method::PUT, ("container", "")) => Ok(Self::CreateContainer),
            (false, &Method::GET | &Method::HEAD, ("container", "")) => Ok(Self::GetContainer),
            (false, &Method::GET, ("container", "list")) => Ok(Self::ListBlobs),
            (true, &Method::PUT, ("", "")) => Ok(Self::PutBlob),
            (true, &Method::PUT, ("", "block")) => match query.get("blockid") {
                "" => Err(Refusal::InvalidQueryParameterValue),
                id => Ok(Self::PutBlock { id: id.to_owned() }),
            },
            (true, &Method::PUT, ("", "blocklist")) => Ok(Self::PutBlockList),
            (true, &Method::GET | &Method::HEAD, ("", "")) => Ok(Self::GetBlob),
            (true, &Method::DELETE, ("", "")) => Ok(Self::DeleteBlob),
            (_, _, ("" | "container", "")) => Err(Refusal::UnsupportedHttpVerb),
            _ => Err(Refusal::InvalidQueryParameterValue),
        }
    }

    /// Any of these letters of a signature allows it.
    pub(super) fn permissions(&self) -> &'static str {
        match self {
            Self::CreateContainer | Self::PutBlob | Self::PutBlock { .. } | Self::PutBlockList => "cw",
            Self::GetContainer | Self::GetBlob => "r",
            Self::ListBlobs => "l",
            Self::DeleteBlob => "d",
        }
    }

    /// Whether a signature for one container, and not for the account, can allow it.
    pub(super) fn is_within_container(&self) -> bool {
        !matches!(self, Self::CreateContainer | Self::GetContainer)
    }

    /// The letter that a signature for the account has for what this is about.
    pub(super) fn resource_type(&self) -> char {
        match self {
            Self::CreateContainer | Self::GetContainer | Self::ListBlobs => 'c',
            _ => 'o',
        }
    }
}
