use std::collections::HashMap;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Entra, application::Application, client_assertion::JWT_BEARER, refusal::Refusal};

/// The fields of a form. Of a field that comes twice, the last one counts.
#[derive(Debug)]
pub(crate) struct Form(HashMap<String, String>);

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    /// A field that is there and not empty.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn require(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::missing(name))
    }
}

impl Entra {
    /// Answers a request for a token: the client credentials grant of RFC 6749 section 4.4.
    pub(crate) async fn token_for(&self, tenant: &str, form: &Form) -> Result<Value, Refusal> {
        self.check_tenant(tenant)?;
        match form.require("grant_type")? {
            "client_credentials" => {}
            other => {
                let message = format!("The app requested an unsupported grant type '{other}'.");
                let status = StatusCode::BAD_REQUEST;
                return Err(Refusal::new(status, "unsupported_grant_type", 70_003, message));
            }
        }
        let app = self.app_of(form.require("client_id")?)?;
        let scope = form.require("scope")?;
        self.authenticate(&app, form)?;
        let resource = self.resource_of(scope)?;
        let token = self.issue(&app, resource).await.map_err(|error| {
            tracing::error!(%error, "issuing a token");
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                90_012,
                "The token could not be made.",
            )
        })?;
        // The token ends on a whole second, so up to one of its last is lost; Entra says 3599 for an hour.
        let lifetime = self.token_lifetime().whole_seconds() - 1;
        Ok(json!({
            "token_type": "Bearer",
            "expires_in": lifetime,
            "ext_expires_in": lifetime,
            "access_token": token,
        }))
    }

    pub(crate) fn check_tenant(&self, tenant: &str) -> Result<(), Refusal> {
        match tenant.eq_ignore_ascii_case(self.tenant_id()) {
            true => Ok(()),
            false => Err(Refusal::unknown_tenant(tenant)),
        }
    }

    fn app_of(&self, client_id: &str) -> Result<Application, Refusal> {
        self.directory().by_client_id(client_id).ok_or_else(|| {
            let message = format!(
                "Application with identifier '{client_id}' was not found in the directory '{}'. You may have sent your \
                 authentication request to the wrong tenant.",
                self.tenant_id()
            );
            Refusal::new(StatusCode::BAD_REQUEST, "unauthorized_client", 700_016, message)
        })
    }

    fn authenticate(&self, app: &Application, form: &Form) -> Result<(), Refusal> {
        if let Some(assertion) = form.get("client_assertion") {
            let kind = form.require("client_assertion_type")?;
            if kind != JWT_BEARER {
                let message =
                    format!("The client assertion type '{kind}' is not supported: it should be {JWT_BEARER}.");
                return Err(Refusal::invalid_request(50_027, message));
            }
            return self.check_assertion(app, assertion);
        }
        let Some(secret) = form.get("client_secret") else {
            let message =
                "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
            return Err(Refusal::invalid_client(7_000_218, message));
        };
        if app.has_secret(secret) {
            return Ok(());
        }
        let message = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not \
             the client secret ID, for a secret added to app '{}'.",
            app.client_id()
        );
        Err(Refusal::invalid_client(7_000_215, message))
    }

    /// A client asks for whatever it has been granted at a resource, written `resource/.default`.
    fn resource_of<'a>(&self, scope: &'a str) -> Result<&'a str, Refusal> {
        let Some(resource) = scope
            .strip_suffix("/.default")
            .filter(|resource| !resource.contains(' '))
        else {
            let message = format!(
                "The provided request must include a 'scope' input parameter. The provided value for the input parameter \
                 'scope' is not valid. The scope {scope} is not valid."
            );
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid_scope", 70_011, message));
        };
        if self.is_resource(resource) {
            return Ok(resource);
        }
        let message = format!(
            "The resource principal named {resource} was not found in the tenant named {}.",
            self.tenant_id()
        );
        Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid_resource",
            500_011,
            message,
        ))
    }
}
