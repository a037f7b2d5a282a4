use http::StatusCode;

/// Why storage says no, by the names that storage has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    AuthenticationFailed(&'static str),
    AuthorizationFailure,
    AuthorizationPermissionMismatch,
    AuthorizationResourceTypeMismatch,
    BlobAlreadyExists,
    BlobNotFound,
    ConditionNotMet,
    ContainerAlreadyExists,
    ContainerNotFound,
    InternalError,
    InvalidBlockList,
    InvalidHeaderValue,
    InvalidQueryParameterValue,
    InvalidRange,
    InvalidResourceName,
    InvalidUri,
    InvalidXmlDocument,
    MissingContentLengthHeader,
    NoAuthenticationInformation,
    RequestBodyTooLarge,
    UnsupportedHttpVerb,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoAuthenticationInformation => StatusCode::UNAUTHORIZED,
            Self::AuthenticationFailed(_)
            | Self::AuthorizationFailure
            | Self::AuthorizationPermissionMismatch
            | Self::AuthorizationResourceTypeMismatch => StatusCode::FORBIDDEN,
            Self::BlobNotFound | Self::ContainerNotFound => StatusCode::NOT_FOUND,
            Self::UnsupportedHttpVerb => StatusCode::METHOD_NOT_ALLOWED,
            Self::BlobAlreadyExists | Self::ContainerAlreadyExists => StatusCode::CONFLICT,
            Self::ConditionNotMet => StatusCode::PRECONDITION_FAILED,
            Self::MissingContentLengthHeader => StatusCode::LENGTH_REQUIRED,
            Self::RequestBodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidRange => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::InvalidBlockList
            | Self::InvalidHeaderValue
            | Self::InvalidQueryParameterValue
            | Self::InvalidResourceName
            | Self::InvalidUri
            | Self::InvalidXmlDocument => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn code(self) -> &'static str {
        match self {
            Self::AuthenticationFailed(_) => "AuthenticationFailed",
            Self::AuthorizationFailure => "AuthorizationFailure",
            Self::AuthorizationPermissionMismatch => "AuthorizationPermissionMismatch",
            Self::AuthorizationResourceTypeMismatch => "AuthorizationResourceTypeMismatch",
            Self::BlobAlreadyExists => "BlobAlreadyExists",
            Self::BlobNotFound => "BlobNotFound",
            Self::ConditionNotMet => "ConditionNotMet",
            Self::ContainerAlreadyExists => "ContainerAlreadyExists",
            Self::ContainerNotFound => "ContainerNotFound",
            Self::InternalError => "InternalError",
            Self::InvalidBlockList => "InvalidBlockList",
            Self::InvalidHeaderValue => "InvalidHeaderValue",
            Self::InvalidQueryParameterValue => "InvalidQueryParameterValue",
            Self::InvalidRange => "InvalidRange",
            Self::InvalidResourceName => "InvalidResourceName",
            Self::InvalidUri => "InvalidUri",
            Self::InvalidXmlDocument => "InvalidXmlDocument",
            Self::MissingContentLengthHeader => "MissingContentLengthHeader",
            Self::NoAuthenticationInformation => "NoAuthenticationInformation",
            Self::RequestBodyTooLarge => "RequestBodyTooLarge",
            Self::UnsupportedHttpVerb => "UnsupportedHttpVerb",
        }
    }

    /// What to do about it, in words.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::AuthenticationFailed(why) => why,
            Self::AuthorizationFailure => "This identity has no role for the data of this account.",
            Self::AuthorizationPermissionMismatch => "The signature does not carry the permission for this.",
            Self::AuthorizationResourceTypeMismatch => "The signature is not for this type of resource.",
            Self::BlobAlreadyExists => "There is a blob by this name already.",
            Self::BlobNotFound => "There is no such blob.",
            Self::ConditionNotMet => "The blob is not in the state that the condition names.",
            Self::ContainerAlreadyExists => "There is a container by this name already.",
            Self::ContainerNotFound => "There is no such container.",
            Self::InternalError => "What was done could not be stored.",
            Self::InvalidBlockList => "The list names a block that was not put.",
            Self::InvalidHeaderValue => "A header has a value that means nothing here: only block blobs are kept.",
            Self::InvalidQueryParameterValue => "A parameter of the query has a value that means nothing here.",
            Self::InvalidRange => "The blob ends before the range begins.",
            Self::InvalidResourceName => {
                "A container is named by 3 to 63 lower-case letters, digits and single hyphens."
            }
            Self::InvalidUri => "The path names no container.",
            Self::InvalidXmlDocument => "The body is not a list of blocks.",
            Self::MissingContentLengthHeader => "The length of the body has to be said before it comes.",
            Self::NoAuthenticationInformation => "The request has neither a signature nor a bearer token.",
            Self::RequestBodyTooLarge => "The body is larger than 256 MiB.",
            Self::UnsupportedHttpVerb => "Nothing is done with this method here.",
        }
    }
}
