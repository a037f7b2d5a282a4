use iothub_core::Result;
use serde_json::{Value, json};

use super::Entra;

impl Entra {
    /// OpenID Connect Discovery 1.0 section 3, as far as there is something to discover.
    pub(crate) fn openid_configuration(&self) -> Value {
        let tenant = format!("{}/{}", self.authority(), self.tenant_id());
        json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{tenant}/oauth2/v2.0/authorize"),
            "token_endpoint": self.token_endpoint(),
            "jwks_uri": format!("{tenant}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "response_modes_supported": ["query"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        })
    }

    /// With what keys tokens are signed.
    pub(crate) async fn signing_keys(&self) -> Result<Value> {
        let mut key = self.key().ready().await?.to_jwk();
        key["issuer"] = self.issuer().into();
        Ok(json!({ "keys": [key] }))
    }

    /// Which authorities are one cloud: this one is a cloud of its own.
    pub(crate) fn instance_discovery(&self) -> Value {
        let authority = self.authority();
        let host = authority.trim_start_matches("https://");
        json!({
            "tenant_discovery_endpoint": format!("{}/.well-known/openid-configuration", self.issuer()),
            "api-version": "1.1",
            "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
        })
    }
}
