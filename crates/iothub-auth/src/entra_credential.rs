use std::{fmt, sync::Arc};

use azure_core::{
    Result,
    credentials::{AccessToken, Secret, TokenCredential},
};

use crate::{clock::Clock, token_cache::TokenCache};

/// A [`TokenCredential`], the scopes to ask it for, and the token it gave last.
///
/// The token is asked for once however many calls wait for it, and renewed in the background five minutes before it
/// expires (or when four fifths of its life are over, if that is shorter than twenty-five minutes). While one is valid no
/// call waits for the next, and a renewal that fails is tried again and reaches no caller. The task that renews ends with
/// the last clone, and runs on the runtime of [`azure_core::async_runtime`].
///
/// After an answer 401 the token is dropped and the `TokenCredential` asked again. One that keeps its own cache, as those
/// of azure_identity do, may then give the same token once more; those of this crate don't.
///
/// # Examples
///
/// A hub in another cloud has another scope. It holds for HTTP and AMQP alike.
///
/// ```no_run
/// use iothub_auth::{DefaultAzureCredential, EntraCredential};
///
/// # fn example() -> iothub_core::Result<()> {
/// let credential = EntraCredential::new(DefaultAzureCredential::new(None)?)
///     .with_scopes(["https://iothubs.cloud.example/.default"]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct EntraCredential {
    credential: Arc<dyn TokenCredential>,
    scopes: Vec<String>,
    tokens: TokenCache,
}

impl EntraCredential {
    /// Asks `credential` for the scope `https://iothubs.azure.net/.default`.
    pub fn new(credential: Arc<dyn TokenCredential>) -> Self {
        Self::asking(credential, vec![DEFAULT_SCOPE.to_owned()])
    }

    /// Asks for other scopes instead.
    #[must_use]
    #[doc(alias = "TokenCredentialAuthenticationScopes")]
    pub fn with_scopes<S: Into<String>>(self, scopes: impl IntoIterator<Item = S>) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        Self::asking(self.credential, scopes)
    }

    /// What is asked for.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    pub(crate) async fn token(&self) -> Result<AccessToken> {
        self.tokens.token().await
    }

    pub(crate) fn refused(&self, token: &Secret) {
        self.tokens.refused(token);
    }

    fn asking(credential: Arc<dyn TokenCredential>, scopes: Vec<String>) -> Self {
        let tokens = TokenCache::new(credential.clone(), scopes.clone(), Clock::default());
        Self {
            credential,
            scopes,
            tokens,
        }
    }
}

/// Without the inner credential: what a type of somebody else's prints about itself is not ours to vouch for.
impl fmt::Debug for EntraCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraCredential")
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

const DEFAULT_SCOPE: &str = "https://iothubs.azure.net/.default";
