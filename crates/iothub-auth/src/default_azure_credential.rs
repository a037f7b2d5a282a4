use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    fmt::SafeDebug,
    http::ClientOptions,
};
use azure_identity::{Executor, UserAssignedId};

use crate::{
    chained_token_credential::{ChainedTokenCredential, Link},
    credential_error::CredentialError,
    developer_tool::DeveloperTool,
    environment::Environment,
    environment_credential::{EnvironmentCredential, EnvironmentCredentialOptions},
    managed_identity_credential::{ManagedIdentityCredential, ManagedIdentityCredentialOptions},
    token_client,
    workload_identity_credential::{WorkloadIdentityCredential, WorkloadIdentityCredentialOptions},
};

/// Finds a credential by itself: on a developer's machine, in a pod or on Azure, without a change to the program.
///
/// It asks these in turn, as a [`ChainedTokenCredential`] does, and stays with the first that gives a token:
///
/// | link | is there if |
/// | --- | --- |
/// | [`EnvironmentCredential`] | `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and a secret or certificate are set |
/// | [`WorkloadIdentityCredential`] | `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and `AZURE_FEDERATED_TOKEN_FILE` are set |
/// | [`ManagedIdentityCredential`] | its endpoint answers; `AZURE_CLIENT_ID` picks a user-assigned identity |
/// | `AzureCliCredential` | `az login` was done |
/// | `AzureDeveloperCliCredential` | `azd auth login` was done |
///
/// `AZURE_TOKEN_CREDENTIALS` narrows that down, without regard to case: `prod` to the first three, `dev` to the last
/// two, the name of a link to that link alone. A managed identity that is named is asked with all its retries; otherwise
/// a probe of one second decides whether there is one.
///
/// Where it runs elsewhere than where it was written, prefer one credential by name: it is found faster, and a mistake
/// does not fall through to somebody else's identity. [`explain`](Self::explain) says what a chain would do.
///
/// # Examples
///
/// ```no_run
/// use iothub_auth::{Credential, DefaultAzureCredential};
///
/// # fn example() -> iothub_core::Result<()> {
/// let credential = DefaultAzureCredential::new(None)?;
/// println!("{}", credential.explain());
/// let credential = Credential::from(credential);
/// # Ok(()) }
/// ```
pub struct DefaultAzureCredential(ChainedTokenCredential);

/// Options for [`DefaultAzureCredential::new`].
#[derive(Clone, Default, SafeDebug)]
pub struct DefaultAzureCredentialOptions {
    /// Where variables are read from. The process unless set.
    pub environment: Environment,
    /// The transport, the cloud and policies for the requests of every link. Retries are the credentials' own. Without a
    /// cloud the authority is that of `AZURE_AUTHORITY_HOST`, else of the public cloud.
    pub client_options: ClientOptions,
    /// Runs `az` and `azd`. azure_identity's, on tokio, unless set.
    pub executor: Option<Arc<dyn Executor>>,
}

impl DefaultAzureCredential {
    /// Puts the chain together from the environment; asks nobody yet.
    ///
    /// A link that is set up wrongly (an unreadable certificate, say) is no error here but when it is that link's turn.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Setting`] if `AZURE_TOKEN_CREDENTIALS` or `AZURE_AUTHORITY_HOST` cannot be used;
    /// [`CredentialError::NoTransport`].
    pub fn new(options: Option<DefaultAzureCredentialOptions>) -> Result<Arc<Self>> {
        let mut options = options.unwrap_or_default();
        options.client_options = token_client::settled(options.client_options, &options.environment)?;
        let selected = selected(&options.environment)?;
        let alone = selected.len() == 1;
        let links = selected.into_iter().map(|kind| kind.link(&options, alone)).collect();
        let chain = ChainedTokenCredential::named("DefaultAzureCredential", links);
        Ok(Arc::new(Self(chain)))
    }

    /// One line a link: what it would do, or why it is not there; and which of them was chosen, once one was. For
    /// people, without secrets.
    pub fn explain(&self) -> String {
        let chosen = self.0.winner().map(|link| link.name.as_str());
        let line = |link: &Link| {
            let mark = if chosen == Some(link.name.as_str()) {
                " (chosen)"
            } else {
                ""
            };
            format!("{}{mark}: {}", link.name, link.about)
        };
        self.0.links().iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[async_trait]
impl TokenCredential for DefaultAzureCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        self.0.get_token(scopes, options).await
    }
}

impl fmt::Debug for DefaultAzureCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Environment,
    WorkloadIdentity,
    ManagedIdentity,
    AzureCli,
    AzureDeveloperCli,
}

impl Kind {
    const PROD: [Self; 3] = [Self::Environment, Self::WorkloadIdentity, Self::ManagedIdentity];
    const DEV: [Self; 2] = [Self::AzureCli, Self::AzureDeveloperCli];

    fn all() -> impl Iterator<Item = Self> {
        Self::PROD.into_iter().chain(Self::DEV)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Environment => "EnvironmentCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
        }
    }

    fn link(self, options: &DefaultAzureCredentialOptions, alone: bool) -> Link {
        let (about, credential) = match self.build(options, alone) {
            Ok((about, credential)) => (about, Ok(credential)),
            Err(error) => (error.to_string(), Err(Arc::new(error))),
        };
        Link {
            name: self.name().to_owned(),
            about,
            credential,
        }
    }

    fn build(self, options: &DefaultAzureCredentialOptions, alone: bool) -> Result<(String, Arc<dyn TokenCredential>)> {
        let environment = options.environment.clone();
        let client_options = options.client_options.clone();
        Ok(match self {
            Self::Environment => {
                let options = EnvironmentCredentialOptions {
                    environment,
                    client_options,
                };
                let credential = EnvironmentCredential::new(Some(options))?;
                (credential.about().to_owned(), credential)
            }
            Self::WorkloadIdentity => {
                let options = WorkloadIdentityCredentialOptions {
                    environment,
                    client_options,
                    ..Default::default()
                };
                let credential = WorkloadIdentityCredential::new(Some(options))?;
                (credential.about(), credential)
            }
            Self::ManagedIdentity => {
                let user_assigned_id = environment.var("AZURE_CLIENT_ID").map(UserAssignedId::ClientId);
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id,
                    environment,
                    client_options,
                };
                let credential = ManagedIdentityCredential::with_probe(options, !alone)?;
                (credential.about(), credential)
            }
            Self::AzureCli => {
                let tool = DeveloperTool::azure_cli(options.executor.clone())?;
                ("whoever is signed in with `az login`".to_owned(), Arc::new(tool))
            }
            Self::AzureDeveloperCli => {
                let tool = DeveloperTool::azure_developer_cli(options.executor.clone())?;
                ("whoever is signed in with `azd auth login`".to_owned(), Arc::new(tool))
            }
        })
    }
}

fn selected(environment: &Environment) -> Result<Vec<Kind>> {
    let Some(value) = environment.var(SELECTOR) else {
        return Ok(Kind::all().collect());
    };
    let value = value.trim();
    if value.eq_ignore_ascii_case("prod") {
        return Ok(Kind::PROD.to_vec());
    }
    if value.eq_ignore_ascii_case("dev") {
        return Ok(Kind::DEV.to_vec());
    }
    let named = Kind::all().find(|kind| kind.name().eq_ignore_ascii_case(value));
    named.map(|kind| vec![kind]).ok_or_else(|| unknown(value))
}

fn unknown(value: &str) -> Error {
    let names: Vec<_> = Kind::all().map(Kind::name).collect();
    CredentialError::setting(
        SELECTOR,
        format!("{value:?} is none of dev, prod, {}", names.join(", ")),
    )
}

const SELECTOR: &str = "AZURE_TOKEN_CREDENTIALS";
