use async_trait::async_trait;
use azure_core::Result;
use iothub_core::{
    HubHost,
    amqp::{CbsToken, CbsTokenSource},
};

use crate::credential::Credential;

/// A credential as AMQP connections to one hub see it.
#[derive(Debug)]
pub(crate) struct CbsTokens {
    credential: Credential,
    host: HubHost,
}

impl CbsTokens {
    pub(crate) fn new(credential: Credential, host: HubHost) -> Self {
        Self { credential, host }
    }
}

#[async_trait]
impl CbsTokenSource for CbsTokens {
    async fn token(&self) -> Result<CbsToken> {
        self.credential.token(&self.host).await
    }

    fn refused(&self, token: &CbsToken) {
        self.credential.refused(&self.host, token);
    }
}
