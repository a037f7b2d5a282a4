use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Result,
    credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions},
    fmt::SafeDebug,
    http::ClientOptions,
};

use crate::{
    client_certificate::ClientCertificate,
    client_certificate_credential::{ClientCertificateCredential, ClientCertificateCredentialOptions},
    client_secret_credential::{ClientSecretCredential, ClientSecretCredentialOptions},
    credential_error::CredentialError,
    environment::Environment,
    token_client,
};

/// An application that environment variables describe: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and a secret or certificate.
///
/// With `AZURE_CLIENT_SECRET` it is a [`ClientSecretCredential`], else with `AZURE_CLIENT_CERTIFICATE_PATH` (and
/// `AZURE_CLIENT_CERTIFICATE_PASSWORD`, `AZURE_CLIENT_SEND_CERTIFICATE_CHAIN` = `true` or `1`) a
/// [`ClientCertificateCredential`]. `AZURE_AUTHORITY_HOST` names another cloud than the public one.
pub struct EnvironmentCredential {
    inner: Arc<dyn TokenCredential>,
    about: String,
}

/// Options for [`EnvironmentCredential::new`].
#[derive(Clone, Default, SafeDebug)]
pub struct EnvironmentCredentialOptions {
    /// Where variables are read from. The process unless set.
    pub environment: Environment,
    /// The transport, the cloud and policies for the requests. Retries are the credential's own.
    pub client_options: ClientOptions,
}

impl EnvironmentCredential {
    /// Reads the variables, and the certificate if they name one.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] names the variables that are missing; [`CredentialError::Certificate`] what is
    /// wrong with the file; [`ErrorKind::Credential`](azure_core::error::ErrorKind::Credential) if an id is malformed.
    pub fn new(options: Option<EnvironmentCredentialOptions>) -> Result<Arc<Self>> {
        let options = options.unwrap_or_default();
        let environment = &options.environment;
        let (Some(tenant_id), Some(client_id)) = (environment.var(TENANT_ID), environment.var(CLIENT_ID)) else {
            let missing = environment.missing(&[TENANT_ID, CLIENT_ID]).join(", ");
            return Err(CredentialError::unavailable(NAME, format!("{missing} not set")));
        };
        let about = |with: &str| format!("application {client_id} in tenant {tenant_id}, with {with}");
        let client_options = token_client::settled(options.client_options, environment)?;
        if let Some(secret) = environment.var(CLIENT_SECRET) {
            let options = ClientSecretCredentialOptions { client_options };
            return Ok(Arc::new(Self {
                inner: ClientSecretCredential::new(&tenant_id, &client_id, Secret::new(secret), Some(options))?,
                about: about("a secret"),
            }));
        }
        let Some(path) = environment.var(CERTIFICATE_PATH) else {
            let reason = format!("neither {CLIENT_SECRET} nor {CERTIFICATE_PATH} is set");
            return Err(CredentialError::unavailable(NAME, reason));
        };
        let password = environment.var(CERTIFICATE_PASSWORD).map(Secret::new);
        let certificate = ClientCertificate::from_file(&path, password)?;
        let options = ClientCertificateCredentialOptions {
            send_certificate_chain: send_chain(environment)?,
            client_options,
        };
        Ok(Arc::new(Self {
            inner: ClientCertificateCredential::new(&tenant_id, &client_id, certificate, Some(options))?,
            about: about(&format!("the certificate in {path}")),
        }))
    }

    pub(crate) fn about(&self) -> &str {
        &self.about
    }
}

#[async_trait]
impl TokenCredential for EnvironmentCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        self.inner.get_token(scopes, options).await
    }
}

impl fmt::Debug for EnvironmentCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(NAME).field(&self.about).finish()
    }
}

fn send_chain(environment: &Environment) -> Result<bool> {
    let Some(value) = environment.var(SEND_CHAIN) else {
        return Ok(false);
    };
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(CredentialError::setting(
            SEND_CHAIN,
            format!("{value:?} is none of true, 1, false, 0"),
        )),
    }
}

const NAME: &str = "EnvironmentCredential";
const TENANT_ID: &str = "AZURE_TENANT_ID";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const CERTIFICATE_PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
const SEND_CHAIN: &str = "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN";
