use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, ETAG, HeaderName},
};
use http_body_util::Full;
use iothub_core::HubErrorCode;
use time::OffsetDateTime;
use uuid::fmt::Hyphenated;

use super::envelope::{self, random_id};
use crate::hub::{Failure, identities::Document};

/// What goes back to a client.
#[derive(Debug)]
pub(crate) struct Answer {
    response: Response<Full<Bytes>>,
}

impl Answer {
    /// 200 and JSON.
    pub(crate) fn json(json: Vec<u8>) -> Self {
        Self::new(StatusCode::OK, json)
    }

    /// 200, JSON and its tag.
    pub(crate) fn document(document: Document) -> Self {
        let tag = ["\"", &document.etag, "\""].concat();
        Self::json(document.json).with(ETAG, &tag)
    }

    /// 200 and bytes of no known type.
    pub(crate) fn bytes(body: Bytes) -> Self {
        Self {
            response: Response::new(Full::new(body)),
        }
        .with_static(CONTENT_TYPE, "application/octet-stream")
    }

    /// 204.
    pub(crate) fn nothing() -> Self {
        let mut answer = Self {
            response: Response::default(),
        };
        *answer.response.status_mut() = StatusCode::NO_CONTENT;
        answer
    }

    /// 202.
    pub(crate) fn accepted() -> Self {
        let mut answer = Self::nothing();
        *answer.response.status_mut() = StatusCode::ACCEPTED;
        answer
    }

    /// An error, in the shape that the service gives it.
    pub(crate) fn refusal(failure: &Failure, now: OffsetDateTime) -> Self {
        let tracking = envelope::tracking_id(now);
        let body = envelope::of(failure, &tracking, now);
        Self::error(failure, body)
    }

    /// The same in the shape of errors of methods. `timeout` is what was waited in vain.
    pub(crate) fn nested_refusal(failure: &Failure, timeout: Option<&str>, now: OffsetDateTime) -> Self {
        let tracking = envelope::tracking_id(now);
        let body = envelope::nested(failure, timeout, &tracking, now);
        Self::error(failure, body)
    }

    /// For a call of many parts of which something failed. One client looks for the code in a header of its own.
    pub(crate) fn partial_failure(status: StatusCode, code: &HubErrorCode, json: Vec<u8>) -> Self {
        Self::new(status, json)
            .with(ERROR_CODE, code.as_str())
            .with(BULK_ERROR_CODE, code.as_str())
    }

    /// The same answer with a header. A value that no header can have is left out.
    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    #[must_use]
    fn with_static(mut self, name: HeaderName, value: &'static str) -> Self {
        let value = HeaderValue::from_static(value);
        self.response.headers_mut().insert(name, value);
        self
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        self.response
    }

    fn error(failure: &Failure, body: Vec<u8>) -> Self {
        let status = failure
            .code
            .status()
            .and_then(|status| StatusCode::from_u16(u16::from(status)).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = Self::new(status, body).with(ERROR_CODE, failure.code.as_str());
        if status == StatusCode::TOO_MANY_REQUESTS {
            answer = answer.with(CONNECTION, "close");
        }
        answer
    }

    fn new(status: StatusCode, json: Vec<u8>) -> Self {
        let mut response = Response::new(Full::from(json));
        *response.status_mut() = status;
        Self { response }
            .with_static(CONTENT_TYPE, "application/json; charset=utf-8")
            .with(
                REQUEST_ID,
                random_id().hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]),
            )
    }
}

pub(crate) const ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");
const BULK_ERROR_CODE: HeaderName = HeaderName::from_static("iothuberrorcode");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
