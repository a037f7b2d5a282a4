use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions},
};
use azure_identity::{self as identity, ClientAssertion};

use crate::{environment::Environment, token_client, token_retry::TokenRetry};

/// An application that proves itself with a JSON Web Token that something else signs, such as another identity
/// provider that a federated credential trusts.
///
/// This is azure_identity's credential of the same name over this project's transport and retries, without its cache:
/// each call is a request. [`EntraCredential`](crate::EntraCredential), which every client puts around it, keeps the
/// token.
pub struct ClientAssertionCredential {
    name: &'static str,
    tenant_id: String,
    client_id: String,
    assertion: Arc<dyn ClientAssertion>,
    client_options: ClientOptions,
}

/// Options for [`ClientAssertionCredential::new`].
#[derive(Clone, Default, SafeDebug)]
pub struct ClientAssertionCredentialOptions {
    /// The transport, the cloud and policies for the requests. Retries are the credential's own. Without a cloud the
    /// authority is that of `AZURE_AUTHORITY_HOST`, else of the public cloud.
    pub client_options: ClientOptions,
}

impl ClientAssertionCredential {
    /// The application `client_id` in the directory `tenant_id` (a GUID or a domain), with `assertion` asked anew for
    /// each request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`](azure_core::error::ErrorKind::Credential) if an id is malformed or empty;
    /// [`CredentialError::NoTransport`](crate::CredentialError::NoTransport).
    pub fn new(
        tenant_id: &str,
        client_id: &str,
        assertion: impl ClientAssertion + 'static,
        options: Option<ClientAssertionCredentialOptions>,
    ) -> Result<Arc<Self>> {
        let options = options.unwrap_or_default().client_options;
        let options = token_client::settled(options, &Environment::process())?;
        let named = Self::named("ClientAssertionCredential", tenant_id, client_id, assertion, options)?;
        Ok(Arc::new(named))
    }

    /// The same under the name of another credential, which its errors bear, with settled options.
    pub(crate) fn named(
        name: &'static str,
        tenant_id: &str,
        client_id: &str,
        assertion: impl ClientAssertion + 'static,
        settled: ClientOptions,
    ) -> Result<Self> {
        let retry = TokenRetry::of_an_authority();
        let credential = Self {
            name,
            tenant_id: tenant_id.to_owned(),
            client_id: client_id.to_owned(),
            assertion: Arc::new(assertion),
            client_options: token_client::for_tokens(settled, &Environment::process(), retry)?,
        };
        credential.without_a_token()?;
        Ok(credential)
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Made anew for each request, because azure_identity's cache would give out a token that a hub has refused.
    fn without_a_token(&self) -> Result<Arc<identity::ClientAssertionCredential<SharedAssertion>>> {
        identity::ClientAssertionCredential::new(
            self.tenant_id.clone(),
            self.client_id.clone(),
            SharedAssertion(self.assertion.clone()),
            Some(identity::ClientAssertionCredentialOptions {
                client_options: self.client_options.clone(),
            }),
        )
    }
}

#[async_trait]
impl TokenCredential for ClientAssertionCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        let answer = self.without_a_token()?.get_token(scopes, options).await;
        answer.map_err(|error| {
            let message = error.to_string().replacen("ClientAssertionCredential", self.name, 1);
            Error::with_error(error.kind().clone(), error, message)
        })
    }
}

impl fmt::Debug for ClientAssertionCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.name)
            .field("tenant_id", &self.tenant_id)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct SharedAssertion(Arc<dyn ClientAssertion>);

#[async_trait]
impl ClientAssertion for SharedAssertion {
    async fn secret(&self, options: Option<ClientMethodOptions<'_>>) -> Result<String> {
        self.0.secret(options).await
    }
}
