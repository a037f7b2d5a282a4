use iothub_core::Result;
use serde_json::json;
use time::{Duration, OffsetDateTime, format_description::well_known::Iso8601};
use url::Url;

use super::{Entra, application::Application, jwt, jwt::Jwt, refusal::Refusal};

/// The only kind of assertion there is (RFC 7523).
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Entra {
    /// A token of the emulator's own workload issuer, with which a workload asks for tokens of `app`.
    pub(crate) fn sign_federated(&self, app: &Application, lifetime: std::time::Duration) -> Result<String> {
        let now = self.clock().now();
        let claims = json!({
            "aud": [FEDERATED_AUDIENCE],
            "iss": self.workload_issuer(),
            "sub": app.federated_subject(),
            "iat": now.unix_timestamp(),
            "nbf": now.unix_timestamp(),
            "exp": (now + lifetime).unix_timestamp(),
        });
        jwt::sign(&claims, &*self.key().get()?)
    }

    /// Whether `text` proves that the client is `app`: by its certificate, or by a token of an issuer that it trusts.
    pub(crate) fn check_assertion(&self, app: &Application, text: &str) -> std::result::Result<(), Refusal> {
        let malformed = "JWT token is invalid or malformed.";
        let token = Jwt::parse(text).ok_or_else(|| Refusal::invalid_request(50_027, malformed))?;
        // Both may name a certificate in their header; but of its own certificate an app is the issuer itself.
        if token.claim("iss") == Some(app.client_id()) {
            self.check_certificate(app, &token)?;
        } else {
            self.check_federation(app, &token)?;
        }
        check_times(&token, self.clock().now())
    }

    fn check_certificate(&self, app: &Application, token: &Jwt<'_>) -> std::result::Result<(), Refusal> {
        let refused = |reason: &str| {
            let message = format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. \
                 [Reason - {reason}]"
            );
            Err(Refusal::invalid_client(700_027, message))
        };
        match app.certificate_named_by(token) {
            None => return refused("The key was not found."),
            Some(certificate) if !certificate.has_signed(token) => return refused("The signature is not valid."),
            Some(_) => {}
        }
        if token.claim("sub") != Some(app.client_id()) {
            let message = "Client assertion contains a subject that is not the client_id of the request.";
            return Err(Refusal::invalid_client(700_021, message));
        }
        if token
            .audiences()
            .iter()
            .any(|audience| self.is_token_endpoint(audience))
        {
            return Ok(());
        }
        let message = format!(
            "Client assertion audience claim does not match Realm issuer: it should be {}.",
            self.token_endpoint()
        );
        Err(Refusal::invalid_client(700_023, message))
    }

    fn check_federation(&self, app: &Application, token: &Jwt<'_>) -> std::result::Result<(), Refusal> {
        let no_match = |code, what: &str, value: &str| {
            let message = format!(
                "No matching federated identity record found for presented assertion {what} '{value}'. Check your \
                 federated identity credential Subject, Audience and Issuer against the presented assertion."
            );
            Err(Refusal::invalid_client(code, message))
        };
        let [issuer, subject] = ["iss", "sub"].map(|claim| token.claim(claim).unwrap_or_default());
        if issuer != self.workload_issuer() {
            return no_match(700_211, "issuer", issuer);
        }
        if !token.audiences().contains(&FEDERATED_AUDIENCE) {
            return no_match(700_212, "audience", &token.audiences().join(" "));
        }
        if subject != app.federated_subject() {
            return no_match(700_213, "subject", subject);
        }
        let key = self.key().made().filter(|_| token.header("alg") == Some("RS256"));
        if key.is_some_and(|key| key.has_signed(token.signed(), token.signature())) {
            return Ok(());
        }
        let message = "The signature of the client assertion is not by a key of its issuer.";
        Err(Refusal::invalid_client(5_000_224, message))
    }

    /// Whether an audience is this token endpoint, by any name of this machine, or the issuer.
    fn is_token_endpoint(&self, audience: &str) -> bool {
        let Ok(url) = Url::parse(audience) else {
            return false;
        };
        let own = url.host_str().is_some_and(|host| self.answers_to(host))
            && url.port_or_known_default() == Some(self.port());
        let mut path = url.path_segments().into_iter().flatten();
        own && path.next() == Some(self.tenant_id())
            && matches!(
                path.collect::<Vec<_>>().as_slice(),
                ["oauth2", "v2.0", "token"] | ["v2.0"]
            )
    }
}

fn check_times(token: &Jwt<'_>, now: OffsetDateTime) -> std::result::Result<(), Refusal> {
    let starts = token.time("nbf").unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let expires = token.time("exp").unwrap_or(OffsetDateTime::UNIX_EPOCH);
    if (starts - SKEW..expires).contains(&now) {
        return Ok(());
    }
    let [now, starts, expires] =
        [now, starts, expires].map(|at| at.format(&Iso8601::DATE_TIME_OFFSET).unwrap_or_default());
    let message = format!(
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {starts}, expiry \
         time of assertion {expires}."
    );
    Err(Refusal::invalid_client(700_024, message))
}

/// Whom a federated token must be for.
const FEDERATED_AUDIENCE: &str = "api://AzureADTokenExchange";
/// How far a client's clock may be ahead.
const SKEW: Duration = Duration::minutes(5);
