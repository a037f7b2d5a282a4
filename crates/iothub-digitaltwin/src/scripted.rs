//! A client whose hub is a script, for unit tests.

use iothub_auth::{Credential, SharedAccessKey};
use iothub_core::testing::ScriptedHttp;

use crate::{DigitalTwinClient, DigitalTwinClientOptions};

pub(crate) fn twins(http: &ScriptedHttp) -> DigitalTwinClient {
    let key = SharedAccessKey::new("service", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").unwrap();
    twins_of(key, http)
}

pub(crate) fn twins_of(credential: impl Into<Credential>, http: &ScriptedHttp) -> DigitalTwinClient {
    let options = DigitalTwinClientOptions {
        client_options: http.client_options(),
        ..DigitalTwinClientOptions::default()
    };
    DigitalTwinClient::new("hub.example".parse().unwrap(), credential, Some(options)).unwrap()
}
