mod arc;
mod endpoint;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Error, Result,
    credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    fmt::SafeDebug,
    http::{ClientOptions, Context, Pipeline, PipelineSendOptions, RawResponse, Request},
    time::{Duration, OffsetDateTime},
};
use azure_identity::UserAssignedId;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    clock::Clock,
    credential_error::CredentialError,
    environment::Environment,
    token_client,
    token_retry::{TokenRetry, within},
};
use endpoint::{Endpoint, Kind};

/// The identity that Azure gives to the machine or service this runs on: a virtual machine or scale set (IMDS), App
/// Service, Functions or a container app, or a server of Azure Arc.
///
/// azure_identity has a credential of this name. This one takes its variables from an [`Environment`], knows Azure Arc,
/// and tries within bounds. Each call is a request; [`EntraCredential`](crate::EntraCredential), which every client
/// puts around it, keeps the token. Arc and App Service were tested against local endpoints made after Microsoft's
/// documentation, not on Azure itself.
///
/// # Examples
///
/// ```no_run
/// use iothub_auth::{Credential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
///
/// # fn example() -> iothub_core::Result<()> {
/// let of_the_machine = Credential::from(ManagedIdentityCredential::new(None)?);
/// let chosen = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
///     user_assigned_id: Some(UserAssignedId::ClientId("client id".to_owned())),
///     ..Default::default()
/// }))?;
/// # Ok(()) }
/// ```
pub struct ManagedIdentityCredential {
    endpoint: Endpoint,
    user_assigned_id: Option<UserAssignedId>,
    pipeline: Pipeline,
    /// Asks without retries, to learn quickly that nothing is there.
    probe: Option<Pipeline>,
    clock: Clock,
}

/// Options for [`ManagedIdentityCredential::new`].
#[derive(Clone, Default, SafeDebug)]
pub struct ManagedIdentityCredentialOptions {
    /// Which identity, where there are several. The system-assigned one unless set.
    pub user_assigned_id: Option<UserAssignedId>,
    /// Where variables are read from: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` (App Service), `IMDS_ENDPOINT` (Arc),
    /// `AZURE_POD_IDENTITY_AUTHORITY_HOST` (an IMDS at another address). The process unless set.
    pub environment: Environment,
    /// The transport and policies for the requests. Retries are the credential's own.
    pub client_options: ClientOptions,
}

impl ManagedIdentityCredential {
    /// Finds out from the environment what to ask; asks nothing yet.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Unavailable`] on Service Fabric, Azure Machine Learning and in Cloud Shell, whose endpoints
    /// are not supported; [`CredentialError::Setting`] if the endpoint is no URL or takes no such identity.
    pub fn new(options: Option<ManagedIdentityCredentialOptions>) -> Result<Arc<Self>> {
        Self::with_probe(options.unwrap_or_default(), false)
    }

    /// With a probe, the first thing to find out is whether there is an IMDS at all: elsewhere than on Azure its
    /// address leads nowhere, and a chain would wait for every retry.
    pub(crate) fn with_probe(options: ManagedIdentityCredentialOptions, probe: bool) -> Result<Arc<Self>> {
        let environment = &options.environment;
        let endpoint = Endpoint::of(environment)?;
        endpoint.check(options.user_assigned_id.as_ref())?;
        let settled = token_client::settled(options.client_options, environment)?;
        let for_probes = probe && endpoint.kind == Kind::Imds;
        let retry = TokenRetry::of_a_managed_identity();
        Ok(Arc::new(Self {
            probe: for_probes.then(|| pipeline(token_client::without_retries(settled.clone()))),
            pipeline: pipeline(token_client::for_tokens(settled, environment, retry)?),
            endpoint,
            user_assigned_id: options.user_assigned_id,
            clock: Clock::default(),
        }))
    }

    pub(crate) fn about(&self) -> String {
        let identity = match &self.user_assigned_id {
            None => "the system-assigned identity".to_owned(),
            Some(UserAssignedId::ClientId(id)) => format!("the identity with client id {id}"),
            Some(UserAssignedId::ObjectId(id)) => format!("the identity with object id {id}"),
            Some(UserAssignedId::ResourceId(id)) => format!("the identity {id}"),
            Some(_) => "a user-assigned identity".to_owned(),
        };
        format!("{identity}, from {}", self.endpoint)
    }

    async fn ask(&self, scopes: &[&str], ctx: &Context<'_>) -> Result<AccessToken> {
        let [scope] = scopes else {
            return Err(CredentialError::setting(
                "scopes",
                "a managed identity takes exactly one scope",
            ));
        };
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        if let Some(probe) = &self.probe {
            self.probe(probe, resource, ctx).await?;
        }
        let mut request = self.endpoint.request(resource, self.user_assigned_id.as_ref());
        let mut response = send(&self.pipeline, ctx, &mut request).await?;
        if self.endpoint.kind == Kind::Arc {
            arc::answer_challenge(&response, &mut request)?;
            response = send(&self.pipeline, ctx, &mut request).await?;
        }
        match response.status().is_success() {
            true => self.token(&response),
            false => Err(self.refusal(response)),
        }
    }

    /// An IMDS refuses a request without the header `Metadata`; that it answers is enough.
    async fn probe(&self, probe: &Pipeline, resource: &str, ctx: &Context<'_>) -> Result<()> {
        let mut request = self.endpoint.bare_request(resource, self.user_assigned_id.as_ref());
        let answer = within(PROBE_TIMEOUT, Box::pin(send(probe, ctx, &mut request))).await;
        answer.map(drop).map_err(|error| {
            CredentialError::unavailable(NAME, format!("nothing answers at {}: {error}", self.endpoint))
        })
    }

    fn token(&self, response: &RawResponse) -> Result<AccessToken> {
        let answer: Answer = serde_json::from_slice(response.body()).map_err(|_| self.not_understood())?;
        let expires_on = match (&answer.expires_on, &answer.expires_in) {
            (Some(at), _) => number(at).and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok()),
            (None, Some(left)) => number(left).and_then(|left| self.clock.now().checked_add(Duration::seconds(left))),
            (None, None) => None,
        };
        let expires_on = expires_on.ok_or_else(|| self.not_understood())?;
        if answer.access_token.secret().is_empty() {
            return Err(self.not_understood());
        }
        Ok(AccessToken::new(answer.access_token, expires_on))
    }

    /// 400 is what an IMDS says to a machine without an identity, or without the one that was named.
    fn refusal(&self, response: RawResponse) -> Error {
        let status = response.status();
        let text: String = String::from_utf8_lossy(response.body()).chars().take(400).collect();
        if u16::from(status) == 400 && self.endpoint.kind == Kind::Imds {
            return CredentialError::unavailable(NAME, format!("{} has no such identity: {text}", self.endpoint));
        }
        let kind = ErrorKind::HttpResponse {
            status,
            error_code: None,
            raw_response: Some(Box::new(response)),
        };
        Error::with_message(kind, format!("{} answered {status}: {text}", self.endpoint))
    }

    /// Networks without an IMDS may have something else at its address, so that a chain goes on.
    fn not_understood(&self) -> Error {
        let reason = format!("{} answers, but not with a token", self.endpoint);
        CredentialError::unavailable(NAME, reason)
    }
}

#[async_trait]
impl TokenCredential for ManagedIdentityCredential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
        let context = options.unwrap_or_default().method_options.context;
        self.ask(scopes, &context).await.map_err(|error| {
            let message = format!("{NAME}: {error}");
            Error::with_error(ErrorKind::Credential, error, message)
        })
    }
}

impl fmt::Debug for ManagedIdentityCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME)
            .field("endpoint", &self.endpoint.to_string())
            .field("user_assigned_id", &self.user_assigned_id)
            .finish_non_exhaustive()
    }
}

/// Numbers come as numbers or as strings, depending on who answers.
#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
    expires_on: Option<Value>,
    expires_in: Option<Value>,
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}

fn pipeline(options: ClientOptions) -> Pipeline {
    let (name, version) = (option_env!("CARGO_PKG_NAME"), option_env!("CARGO_PKG_VERSION"));
    Pipeline::new(name, version, options, Vec::new(), Vec::new(), None)
}

async fn send(pipeline: &Pipeline, ctx: &Context<'_>, request: &mut Request) -> Result<RawResponse> {
    let options = PipelineSendOptions {
        skip_checks: true,
        ..Default::default()
    };
    pipeline.send(ctx, request, Some(options)).await
}

const NAME: &str = "ManagedIdentityCredential";
const PROBE_TIMEOUT: Duration = Duration::seconds(1);
