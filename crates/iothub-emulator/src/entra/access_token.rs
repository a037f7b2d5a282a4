use iothub_core::Result;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{Entra, application::Application, jwt, jwt::Jwt, role::Role};
use crate::hub::{Failure, Grant, Principal, VerifyBearer};

impl Entra {
    /// A token with which `app` may ask `resource`.
    pub(crate) async fn issue(&self, app: &Application, resource: &str) -> Result<String> {
        // The key first: making it takes up to seconds, which the life of the first token would lack.
        let key = self.key().ready().await?;
        let now = self.clock().now();
        // Entra predates its tokens, because clocks differ.
        let issued = (now - SKEW).unix_timestamp();
        let claims = json!({
            "aud": resource,
            "iss": self.issuer(),
            "iat": issued,
            "nbf": issued,
            "exp": (now + self.token_lifetime()).unix_timestamp(),
            "appid": app.client_id(),
            "idtyp": "app",
            "oid": app.object_id(),
            "sub": app.object_id(),
            "tid": self.tenant_id(),
            "uti": Uuid::new_v4().simple().to_string(),
            "ver": "1.0",
        });
        jwt::sign(&claims, &key)
    }

    /// Whether a token for Azure Storage is one of an app that has a role there.
    pub(crate) fn verify_for_storage(&self, jwt: &str, now: OffsetDateTime) -> std::result::Result<bool, &'static str> {
        let (id, _) = self.check(jwt, now, Self::is_storage)?;
        let app = self.directory().by_object_id(&id);
        Ok(app.is_some_and(|app| app.has_role(Role::StorageBlobDataContributor)))
    }

    /// Checks everything about a token, and says whose it is and until when it holds.
    fn check(
        &self,
        text: &str,
        now: OffsetDateTime,
        is_audience: impl Fn(&Self, &str) -> bool,
    ) -> std::result::Result<(String, OffsetDateTime), &'static str> {
        let token = Jwt::parse(text).ok_or("it is not a JSON Web Token")?;
        // Without a key, no token has ever been issued.
        let key = self.key().made().ok_or("it is not signed by a key of the issuer")?;
        let is_signed = token.header("alg") == Some("RS256") && key.has_signed(token.signed(), token.signature());
        if !is_signed {
            return Err("it is not signed by a key of the issuer");
        }
        if token.claim("iss") != Some(&*self.issuer()) {
            return Err("its issuer is not trusted");
        }
        if !token.audiences().iter().any(|audience| is_audience(self, audience)) {
            return Err("its audience is another resource");
        }
        let expires = token.time("exp").ok_or("it has no expiry")?;
        if now >= expires {
            return Err("it has expired");
        }
        if token.time("nbf").is_none_or(|start| now < start) {
            return Err("it is not valid yet");
        }
        let id = token.claim("oid").ok_or("it has no object id")?;
        Ok((id.to_owned(), expires))
    }
}

impl VerifyBearer for Entra {
    fn verify(&self, jwt: &str, now: OffsetDateTime) -> std::result::Result<Grant, Failure> {
        let refuse = |why| Failure::unauthorized(format!("the bearer token is refused: {why}"));
        let (id, expires) = match self.known_tokens().get(jwt, now) {
            Some(known) => known,
            None => {
                let (id, expires) = self.check(jwt, now, Self::is_hub).map_err(refuse)?;
                self.known_tokens().add(jwt, id.clone(), expires);
                (id, expires)
            }
        };
        // Who is unknown by now has no role left.
        let app = self.directory().by_object_id(&id);
        let rights = app.map(|app| app.rights()).unwrap_or_default();
        Ok(Grant::new(Principal::App(id), rights, String::new(), expires))
    }
}

const SKEW: Duration = Duration::minutes(5);
