use std::{fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Result,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions},
};
use azure_identity::ClientAssertion;

use crate::{
    client_assertion_credential::ClientAssertionCredential, credential_error::CredentialError,
    environment::Environment, token_client,
};

/// An application with a federated credential whose token is in a file, as in a Kubernetes pod with workload identity.
///
/// The file is read again for each request, since the platform replaces it. Each call is a request;
/// [`EntraCredential`](crate::EntraCredential), which every client puts around it, keeps the token.
pub struct WorkloadIdentityCredential {
    inner: ClientAssertionCredential,
    path: PathBuf,
}

/// Options for [`WorkloadIdentityCredential::new`].
#[derive(Clone, Default, SafeDebug)]
pub struct WorkloadIdentityCredentialOptions {
    /// The application. `AZURE_CLIENT_ID` unless set.
    pub client_id: Option<String>,
    /// The directory, a GUID or a domain. `AZURE_TENANT_ID` unless set.
    pub tenant_id: Option<String>,
    /// The file with the token. `AZURE_FEDERATED_TOKEN_FILE` unless set.
    pub token_file_path: Option<PathBuf>,
    /// Where variables are read from. The process unless set.
    pub environment: Environment,
    /// The transport, the cloud and policies for the requests. Retries are the credential's own. Without a cloud the
    /// authority is that of `AZURE_AUTHORITY_HOST`, else of the public cloud.
    pub client_options: ClientOptions,
}

impl WorkloadIdentityCredential {
    /// Reads what `options` leave open from the environment; not yet the file.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] if client, tenant or file are neither in the options nor in the environment;
    /// [`ErrorKind::Credential`](azure_core::error::ErrorKind::Credential) if an id is malformed.
    pub fn new(options: Option<WorkloadIdentityCredentialOptions>) -> Result<Arc<Self>> {
        let options = options.unwrap_or_default();
        let environment = &options.environment;
        let path = options.token_file_path.map(PathBuf::into_os_string);
        let found = (
            options.tenant_id.or_else(|| environment.var(TENANT_ID)),
            options.client_id.or_else(|| environment.var(CLIENT_ID)),
            path.or_else(|| environment.var(TOKEN_FILE).map(Into::into)),
        );
        let (Some(tenant_id), Some(client_id), Some(path)) = found else {
            let missing = environment.missing(&[TENANT_ID, CLIENT_ID, TOKEN_FILE]).join(", ");
            return Err(CredentialError::unavailable(NAME, format!("{missing} not set")));
        };
        let path = PathBuf::from(path);
        let settled = token_client::settled(options.client_options, environment)?;
        let inner = ClientAssertionCredential::named(NAME, &tenant_id, &client_id, TokenFile(path.clone()), settled)?;
        Ok(Arc::new(Self { inner, path }))
    }

    pub(crate) fn about(&self) -> String {
        format!(
            "application {} in tenant {}, with the token in {}",
            self.inner.client_id(),
            self.inner.tenant_id(),
            self.path.display()
        )
    }
}

#[async_trait]
impl TokenCredential for WorkloadIdentityCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        self.inner.get_token(scopes, options).await
    }
}

impl fmt::Debug for WorkloadIdentityCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[derive(Debug)]
struct TokenFile(PathBuf);

#[async_trait]
impl ClientAssertion for TokenFile {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> Result<String> {
        let refused = |reason: String| CredentialError::TokenFile {
            path: self.0.display().to_string(),
            reason,
        };
        // A few kilobytes from a volume in memory, once an hour: not worth a thread.
        let text = std::fs::read_to_string(&self.0).map_err(|error| refused(error.to_string()))?;
        match text.trim() {
            "" => Err(refused("it is empty".to_owned()).into()),
            token => Ok(token.to_owned()),
        }
    }
}

const NAME: &str = "WorkloadIdentityCredential";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
