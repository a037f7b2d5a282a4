use std::sync::Arc;

use azure_core::{
    Result,
    credentials::TokenCredential,
    http::{ClientOptions, policies::Policy},
};
use iothub_core::{
    HubHost, HubPipeline, Product,
    amqp::{CbsToken, CbsTokenKind, CbsTokenSource},
};

use crate::{
    authorization_policy::AuthorizationPolicy, cbs_tokens::CbsTokens, entra_credential::EntraCredential,
    shared_access_key::SharedAccessKey, shared_access_signature::SharedAccessSignature,
};

/// Who is asking: one of the three ways that a hub knows.
///
/// A client takes `impl Into<Credential>`, so that any [`TokenCredential`] in an [`Arc`] can be handed to it as it is.
/// Clones share their tokens. To have several clients share one token, make the `Credential` first and give each a
/// clone; two conversions of one `Arc` keep a token each.
///
/// # Examples
///
/// ```no_run
/// use iothub_auth::{Credential, DefaultAzureCredential, SharedAccessKey};
///
/// # fn example() -> iothub_core::Result<()> {
/// let credential = Credential::from(DefaultAzureCredential::new(None)?);
/// let other = Credential::from(SharedAccessKey::new("service", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=")?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// A JSON Web Token of Microsoft Entra ID.
    #[doc(alias = "TokenCredential")]
    Entra(EntraCredential),
    /// We sign short-lived tokens with a key of the hub.
    SharedAccessKey(SharedAccessKey),
    /// Signed elsewhere, used until it expires.
    #[doc(alias = "AzureSasCredential")]
    SharedAccessSignature(SharedAccessSignature),
}

impl Credential {
    /// Authorizes HTTP requests to `host`, and only those: a request to another host or without TLS is refused before
    /// a token is asked for.
    ///
    /// The policy repeats nothing. On an answer 401 it drops the token that was sent, so that the next try of whoever
    /// repeats has a new one.
    pub fn policy(&self, host: &HubHost) -> Arc<dyn Policy> {
        Arc::new(AuthorizationPolicy::new(self.clone(), host.clone()))
    }

    /// The way to `host` over HTTPS, for a client that is called `product`. Where `options` have no transport, it is that
    /// of the feature `hyper`, whose connections are shared within the process.
    ///
    /// # Errors
    ///
    /// There is no transport and the feature is off, or the platform has no root certificates to check the hub's with;
    /// or the application id in the options is not one.
    pub fn pipeline(&self, product: Product, host: HubHost, options: ClientOptions) -> Result<HubPipeline> {
        let authorization = self.policy(&host);
        HubPipeline::new(product, host, authorization, with_transport(options)?)
    }

    /// The same tokens for put-token on AMQP connections to `host`.
    pub fn cbs_tokens(&self, host: &HubHost) -> Arc<dyn CbsTokenSource> {
        Arc::new(CbsTokens::new(self.clone(), host.clone()))
    }

    pub(crate) async fn token(&self, host: &HubHost) -> Result<CbsToken> {
        match self {
            Self::Entra(credential) => {
                let token = credential.token().await?;
                Ok(CbsToken {
                    kind: CbsTokenKind::Jwt,
                    secret: token.token,
                    expires_on: token.expires_on,
                })
            }
            Self::SharedAccessKey(key) => Ok(key.token(host)),
            Self::SharedAccessSignature(signature) => signature.token(),
        }
    }

    pub(crate) fn refused(&self, host: &HubHost, token: &CbsToken) {
        match self {
            Self::Entra(credential) => credential.refused(&token.secret),
            Self::SharedAccessKey(key) => key.refused(host, token),
            Self::SharedAccessSignature(_) => {}
        }
    }
}

#[cfg(feature = "hyper")]
fn with_transport(mut options: ClientOptions) -> Result<ClientOptions> {
    if options.transport.is_none() {
        options.transport = Some(iothub_transport_http::HyperTransport::shared()?.into());
    }
    Ok(options)
}

#[cfg(not(feature = "hyper"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
fn with_transport(options: ClientOptions) -> Result<ClientOptions> {
    Ok(options)
}

impl<T: TokenCredential + 'static> From<Arc<T>> for Credential {
    fn from(credential: Arc<T>) -> Self {
        Self::Entra(EntraCredential::new(credential))
    }
}

impl From<Arc<dyn TokenCredential>> for Credential {
    fn from(credential: Arc<dyn TokenCredential>) -> Self {
        Self::Entra(EntraCredential::new(credential))
    }
}

impl From<EntraCredential> for Credential {
    fn from(credential: EntraCredential) -> Self {
        Self::Entra(credential)
    }
}

impl From<SharedAccessKey> for Credential {
    fn from(key: SharedAccessKey) -> Self {
        Self::SharedAccessKey(key)
    }
}

impl From<SharedAccessSignature> for Credential {
    fn from(signature: SharedAccessSignature) -> Self {
        Self::SharedAccessSignature(signature)
    }
}
