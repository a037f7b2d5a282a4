use std::sync::Arc;

use azure_core::{
    Result,
    cloud::{CloudConfiguration, CustomConfiguration},
    http::{ClientOptions, RetryOptions, Transport, Url},
};

use crate::{credential_error::CredentialError, environment::Environment, token_retry::TokenRetry};

/// Fills what a credential's options leave open: the transport and, from `AZURE_AUTHORITY_HOST`, the cloud.
pub(crate) fn settled(mut options: ClientOptions, environment: &Environment) -> Result<ClientOptions> {
    if options.transport.is_none() {
        options.transport = Some(default_transport()?);
    }
    if options.cloud.is_none() {
        options.cloud = Some(Arc::new(cloud(environment)?));
    }
    Ok(options)
}

/// The same for the pipeline of a credential, whose retries are ours.
pub(crate) fn for_tokens(
    options: ClientOptions,
    environment: &Environment,
    retry: TokenRetry,
) -> Result<ClientOptions> {
    let mut options = without_retries(settled(options, environment)?);
    options.per_call_policies.push(Arc::new(retry));
    Ok(options)
}

/// Settled options for a request that is made once.
pub(crate) fn without_retries(mut settled: ClientOptions) -> ClientOptions {
    settled.retry = RetryOptions::none();
    settled
}

/// Where a tenant's tokens come from: the authority of the cloud in settled options.
pub(crate) fn token_endpoint(options: &ClientOptions, tenant_id: &str) -> Result<Url> {
    let authority = match options.cloud.as_deref() {
        Some(CloudConfiguration::AzureGovernment) => "https://login.microsoftonline.us",
        Some(CloudConfiguration::AzureChina) => "https://login.chinacloudapi.cn",
        Some(CloudConfiguration::Custom(custom)) => &custom.authority_host,
        _ => "https://login.microsoftonline.com",
    };
    let authority = authority_url("authority_host", authority)?;
    Ok(authority.join(&format!("/{tenant_id}/oauth2/v2.0/token"))?)
}

fn cloud(environment: &Environment) -> Result<CloudConfiguration> {
    let Some(authority) = environment.var(AUTHORITY_HOST) else {
        return Ok(CloudConfiguration::AzurePublic);
    };
    // Some write the host alone, as the samples of other languages do.
    let authority = match authority.contains("://") {
        true => authority,
        false => format!("https://{authority}"),
    };
    authority_url(AUTHORITY_HOST, &authority)?;
    let mut custom = CustomConfiguration::default();
    custom.authority_host = authority;
    Ok(custom.into())
}

fn authority_url(name: &str, text: &str) -> Result<Url> {
    let refused = |why: &str| {
        let reason = format!("{text:?} {why}, as in https://login.microsoftonline.com");
        CredentialError::setting(name, reason)
    };
    let url = Url::parse(text).map_err(|_| refused("is not a URL"))?;
    if url.scheme() != "https" || url.host_str().is_none() {
        return Err(refused("is not an https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CredentialError::setting(name, "there is a user or password in the URL"));
    }
    Ok(url)
}

#[cfg(feature = "hyper")]
fn default_transport() -> Result<Transport> {
    Ok(iothub_transport_http::HyperTransport::shared()?.into())
}

#[cfg(not(feature = "hyper"))]
fn default_transport() -> Result<Transport> {
    Err(CredentialError::NoTransport.into())
}

const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
