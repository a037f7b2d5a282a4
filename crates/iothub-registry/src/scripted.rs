//! A registry client whose hub is a script, for unit tests.

use azure_core::http::StatusCode;
use iothub_auth::SharedAccessKey;
use iothub_core::{
    Error, HubError, HubErrorCode,
    testing::{HttpAnswer, ScriptedHttp},
};
use serde_json::Value;

use crate::{RegistryClient, RegistryClientOptions};

pub(crate) fn registry(http: &ScriptedHttp) -> RegistryClient {
    let options = RegistryClientOptions {
        client_options: http.client_options(),
        ..RegistryClientOptions::default()
    };
    let key = SharedAccessKey::new("owner", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").unwrap();
    RegistryClient::new("hub.example".parse().unwrap(), key, Some(options)).unwrap()
}

pub(crate) fn refusal(status: StatusCode, code: &'static str) -> HttpAnswer {
    HttpAnswer::new(status, "").with_header("iothub-errorcode", code)
}

pub(crate) fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

/// The body of a request by its place in the order, as JSON.
pub(crate) fn body(http: &ScriptedHttp, at: usize) -> Value {
    serde_json::from_slice(&http.requests()[at].body).unwrap()
}
