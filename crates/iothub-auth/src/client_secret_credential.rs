use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Result,
    credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions},
    fmt::SafeDebug,
    http::ClientOptions,
};
use azure_identity as identity;

use crate::{environment::Environment, token_client, token_retry::TokenRetry};

/// An application that proves itself with a client secret.
///
/// This is azure_identity's credential of the same name over this project's transport and retries, without its cache:
/// each call is a request. [`EntraCredential`](crate::EntraCredential), which every client puts around it, keeps the
/// token.
///
/// # Examples
///
/// ```no_run
/// use iothub_auth::{ClientSecretCredential, Credential};
///
/// # fn example() -> iothub_core::Result<()> {
/// let credential = ClientSecretCredential::new("contoso.onmicrosoft.com", "client id", "secret".into(), None)?;
/// let credential = Credential::from(credential);
/// # Ok(()) }
/// ```
pub struct ClientSecretCredential {
    tenant_id: String,
    client_id: String,
    secret: Secret,
    client_options: ClientOptions,
}

/// Options for [`ClientSecretCredential::new`].
#[derive(Clone, Default, SafeDebug)]
pub struct ClientSecretCredentialOptions {
    /// The transport, the cloud and policies for the requests. Retries are the credential's own. Without a cloud the
    /// authority is that of `AZURE_AUTHORITY_HOST`, else of the public cloud.
    pub client_options: ClientOptions,
}

impl ClientSecretCredential {
    /// A secret of the application `client_id` in the directory `tenant_id` (a GUID or a domain).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`](azure_core::error::ErrorKind::Credential) if an id or the secret is malformed or empty;
    /// [`CredentialError::NoTransport`](crate::CredentialError::NoTransport).
    pub fn new(
        tenant_id: &str,
        client_id: &str,
        secret: Secret,
        options: Option<ClientSecretCredentialOptions>,
    ) -> Result<Arc<Self>> {
        let options = options.unwrap_or_default().client_options;
        let retry = TokenRetry::of_an_authority();
        let credential = Self {
            tenant_id: tenant_id.to_owned(),
            client_id: client_id.to_owned(),
            secret,
            client_options: token_client::for_tokens(options, &Environment::process(), retry)?,
        };
        credential.without_a_token()?;
        Ok(Arc::new(credential))
    }

    /// Made anew for each request, because azure_identity's cache would give out a token that a hub has refused.
    fn without_a_token(&self) -> Result<Arc<identity::ClientSecretCredential>> {
        identity::ClientSecretCredential::new(
            &self.tenant_id,
            self.client_id.clone(),
            self.secret.clone(),
            Some(identity::ClientSecretCredentialOptions {
                client_options: self.client_options.clone(),
            }),
        )
    }
}

#[async_trait]
impl TokenCredential for ClientSecretCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        self.without_a_token()?.get_token(scopes, options).await
    }
}

impl fmt::Debug for ClientSecretCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecretCredential")
            .field("tenant_id", &self.tenant_id)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
