use std::fmt::Debug;

use async_trait::async_trait;
use azure_core::{Result, credentials::Secret, time::OffsetDateTime};

/// Where put-token takes its tokens from; `iothub_auth::Credential` makes one.
#[async_trait]
pub trait CbsTokenSource: Debug + Send + Sync {
    /// A token that is valid now: from a cache as long as that lasts.
    async fn token(&self) -> Result<CbsToken>;

    /// Says that the hub refused `token`. The next [`token`](Self::token) is then a new one, unless the cache already
    /// holds another than the refused.
    fn refused(&self, token: &CbsToken);
}

/// A token as put-token sends it.
#[derive(Clone, Debug)]
pub struct CbsToken {
    /// What kind it is, which decides the `type` property of the request.
    pub kind: CbsTokenKind,
    /// The body of the request: a whole `SharedAccessSignature sr=…`, or a JWT without `Bearer`.
    pub secret: Secret,
    /// When the hub stops to accept it.
    pub expires_on: OffsetDateTime,
}

/// The two kinds of token that a hub takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CbsTokenKind {
    /// A JSON Web Token of Microsoft Entra ID.
    Jwt,
    /// A shared access signature.
    Sas,
}
