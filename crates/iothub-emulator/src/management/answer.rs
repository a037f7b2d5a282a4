use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use serde::Serialize;

use crate::hub::Failure;

/// What goes back.
pub(crate) struct Answer {
    status: StatusCode,
    json: Vec<u8>,
}

/// Why not.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(body: &impl Serialize) -> Result<Self, Mistake> {
        let json = serde_json::to_vec(body).map_err(|error| Mistake {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            text: error.to_string(),
        })?;
        Ok(Self {
            status: StatusCode::OK,
            json,
        })
    }

    /// 204.
    pub(crate) fn nothing() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            json: Vec::new(),
        }
    }

    pub(crate) fn into_response(self) -> http::Result<Response<Full<Bytes>>> {
        let response = Response::builder().status(self.status);
        let response = match self.json.is_empty() {
            true => response,
            false => response.header(CONTENT_TYPE, "application/json"),
        };
        response.body(Full::from(self.json))
    }
}

impl Mistake {
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            text: text.into(),
        }
    }
}

impl From<Mistake> for Answer {
    fn from(mistake: Mistake) -> Self {
        let json = serde_json::json!({ "error": mistake.text });
        Self {
            status: mistake.status,
            json: json.to_string().into_bytes(),
        }
    }
}

impl From<Failure> for Mistake {
    fn from(failure: Failure) -> Self {
        Self::bad(failure.message)
    }
}

impl From<iothub_core::Error> for Mistake {
    fn from(error: iothub_core::Error) -> Self {
        Self::bad(error.to_string())
    }
}
