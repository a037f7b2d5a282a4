use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Result,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    time::Duration,
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential, AzureDeveloperCliCredentialOptions,
    Executor,
};

use crate::{credential_error::CredentialError, token_retry::within};

/// A command on a developer's machine that is signed in. Whatever goes wrong with it, a chain goes on.
pub(crate) struct DeveloperTool {
    name: &'static str,
    inner: Arc<dyn TokenCredential>,
}

impl DeveloperTool {
    /// `az account get-access-token`
    pub(crate) fn azure_cli(executor: Option<Arc<dyn Executor>>) -> Result<Self> {
        let options = AzureCliCredentialOptions {
            executor,
            ..Default::default()
        };
        Ok(Self {
            name: "AzureCliCredential",
            inner: AzureCliCredential::new(Some(options))?,
        })
    }

    /// `azd auth token`
    pub(crate) fn azure_developer_cli(executor: Option<Arc<dyn Executor>>) -> Result<Self> {
        let options = AzureDeveloperCliCredentialOptions {
            executor,
            ..Default::default()
        };
        Ok(Self {
            name: "AzureDeveloperCliCredential",
            inner: AzureDeveloperCliCredential::new(Some(options))?,
        })
    }
}

#[async_trait]
impl TokenCredential for DeveloperTool {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        let answer = within(TIMEOUT, self.inner.get_token(scopes, options)).await;
        answer.map_err(|error| CredentialError::unavailable(self.name, error.to_string()))
    }
}

impl fmt::Debug for DeveloperTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// `az` starts an interpreter and may renew a token over the network.
const TIMEOUT: Duration = Duration::seconds(15);
