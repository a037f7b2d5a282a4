use std::collections::HashMap;

use http::{HeaderMap, StatusCode};
use ring::hmac;
use serde_json::{Value, json};
use tracing::error;

use super::{Entra, application::Application};

/// An answer of a managed-identity endpoint: status and JSON.
type Answer = (StatusCode, Value);

impl Entra {
    /// The instance metadata service of a virtual machine.
    pub(crate) async fn imds_token(&self, query: &str, headers: &HeaderMap) -> Answer {
        let refused = |error: &str, why: &str| {
            (
                StatusCode::BAD_REQUEST,
                json!({ "error": error, "error_description": why }),
            )
        };
        // A browser that was lured here cannot send this header.
        if headers
            .get("metadata")
            .is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"true"))
        {
            return refused("invalid_request", "Required metadata header not specified");
        }
        let query = parse(query);
        if !query.contains_key("api-version") {
            return refused("invalid_request", "Required query variable 'api-version' is missing");
        }
        let Some(resource) = query.get("resource") else {
            return refused("invalid_request", "Required query variable 'resource' is missing");
        };
        if !self.is_resource(resource) {
            return refused("invalid_resource", "The resource principal was not found in the tenant");
        }
        match self.identity_of(&query) {
            Some(identity) => self.token_of(&identity, resource).await,
            None => refused("invalid_request", "Identity not found"),
        }
    }

    /// The endpoint of App Service, which its sandbox finds in `IDENTITY_ENDPOINT`.
    pub(crate) async fn app_service_token(&self, query: &str, headers: &HeaderMap) -> Answer {
        let refused =
            |status: StatusCode, why: &str| (status, json!({ "statusCode": status.as_u16(), "message": why }));
        let presented = headers.get("x-identity-header").map(http::HeaderValue::as_bytes);
        if !presented.is_some_and(|presented| same(presented, self.identity_header().as_bytes())) {
            return refused(
                StatusCode::UNAUTHORIZED,
                "X-IDENTITY-HEADER is not the value of IDENTITY_HEADER",
            );
        }
        let query = parse(query);
        if query.get("api-version").map(String::as_str) != Some("2019-08-01") {
            return refused(StatusCode::BAD_REQUEST, "the api-version should be 2019-08-01");
        }
        let Some(resource) = query.get("resource").filter(|resource| self.is_resource(resource)) else {
            return refused(
                StatusCode::BAD_REQUEST,
                "the resource is missing or not found in the tenant",
            );
        };
        match self.identity_of(&query) {
            Some(identity) => self.token_of(&identity, resource).await,
            None => refused(
                StatusCode::BAD_REQUEST,
                "No User Assigned or Delegated Managed Identity found",
            ),
        }
    }

    /// The identity of the system, or one that was assigned, by the id that the client gives.
    fn identity_of(&self, query: &HashMap<String, String>) -> Option<Application> {
        let system = self.directory().managed_identity();
        if let Some(id) = query.get("client_id") {
            let is_system = id.eq_ignore_ascii_case(system.client_id());
            return if is_system {
                Some(system.clone())
            } else {
                self.directory().by_client_id(id)
            };
        }
        if let Some(id) = query.get("object_id").or_else(|| query.get("principal_id")) {
            return self.directory().by_object_id(id);
        }
        // Resources of Azure do not exist here, so none has an identity.
        let names_resource = query.contains_key("msi_res_id") || query.contains_key("mi_res_id");
        (!names_resource).then(|| system.clone())
    }

    async fn token_of(&self, identity: &Application, resource: &str) -> Answer {
        let token = match self.issue(identity, resource).await {
            Ok(token) => token,
            Err(error) => {
                error!(%error, "issuing a token");
                return (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": "server_error" }));
            }
        };
        let (now, lifetime) = (self.clock().now(), self.token_lifetime());
        // These endpoints write numbers as texts.
        let answer = json!({
            "access_token": token,
            "client_id": identity.client_id(),
            "expires_in": (lifetime.whole_seconds() - 1).to_string(),
            "expires_on": (now + lifetime).unix_timestamp().to_string(),
            "not_before": now.unix_timestamp().to_string(),
            "resource": resource,
            "token_type": "Bearer",
        });
        (StatusCode::OK, answer)
    }
}

fn parse(query: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn same(presented: &[u8], expected: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"identity header");
    hmac::verify(&key, presented, hmac::sign(&key, expected).as_ref()).is_ok()
}
