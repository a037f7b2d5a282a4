use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Result,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    fmt::SafeDebug,
    http::{ClientMethodOptions, ClientOptions},
};
use azure_identity::ClientAssertion;

use crate::{
    client_assertion_credential::ClientAssertionCredential, client_certificate::ClientCertificate, clock::Clock,
    environment::Environment, token_client,
};

/// An application that proves itself with a certificate.
///
/// For each token it signs a JSON Web Token with the certificate's key (PS256, valid for ten minutes) and sends that
/// instead of a secret. No OpenSSL is involved. Each call is a request;
/// [`EntraCredential`](crate::EntraCredential), which every client puts around it, keeps the token.
///
/// # Examples
///
/// ```no_run
/// use iothub_auth::{ClientCertificate, ClientCertificateCredential, Credential};
///
/// # fn example() -> iothub_core::Result<()> {
/// let certificate = ClientCertificate::from_file("app.pem", None)?;
/// let credential = ClientCertificateCredential::new("contoso.onmicrosoft.com", "client id", certificate, None)?;
/// let credential = Credential::from(credential);
/// # Ok(()) }
/// ```
pub struct ClientCertificateCredential(ClientAssertionCredential);

/// Options for [`ClientCertificateCredential::new`].
#[derive(Clone, Default, SafeDebug)]
pub struct ClientCertificateCredentialOptions {
    /// Sends the certificate and its chain along, for applications that trust by subject name and issuer instead of by
    /// thumbprint. Not sent unless set.
    #[doc(alias = "SendCertificateChain")]
    pub send_certificate_chain: bool,
    /// The transport, the cloud and policies for the requests. Retries are the credential's own. Without a cloud the
    /// authority is that of `AZURE_AUTHORITY_HOST`, else of the public cloud.
    pub client_options: ClientOptions,
}

impl ClientCertificateCredential {
    /// A certificate of the application `client_id` in the directory `tenant_id` (a GUID or a domain).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`](azure_core::error::ErrorKind::Credential) if an id is malformed or empty;
    /// [`CredentialError::NoTransport`](crate::CredentialError::NoTransport).
    pub fn new(
        tenant_id: &str,
        client_id: &str,
        certificate: ClientCertificate,
        options: Option<ClientCertificateCredentialOptions>,
    ) -> Result<Arc<Self>> {
        let options = options.unwrap_or_default();
        let settled = token_client::settled(options.client_options, &Environment::process())?;
        let assertion = CertificateAssertion {
            audience: token_client::token_endpoint(&settled, tenant_id)?.to_string(),
            client_id: client_id.to_owned(),
            certificate,
            send_chain: options.send_certificate_chain,
            clock: Clock::default(),
        };
        let name = "ClientCertificateCredential";
        let inner = ClientAssertionCredential::named(name, tenant_id, client_id, assertion, settled)?;
        Ok(Arc::new(Self(inner)))
    }
}

#[async_trait]
impl TokenCredential for ClientCertificateCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        self.0.get_token(scopes, options).await
    }
}

impl fmt::Debug for ClientCertificateCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug)]
struct CertificateAssertion {
    audience: String,
    client_id: String,
    certificate: ClientCertificate,
    send_chain: bool,
    clock: Clock,
}

#[async_trait]
impl ClientAssertion for CertificateAssertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> Result<String> {
        let now = self.clock.now();
        self.certificate
            .assertion(&self.client_id, &self.audience, now, self.send_chain)
    }
}
