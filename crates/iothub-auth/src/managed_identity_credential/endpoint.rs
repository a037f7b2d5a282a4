use std::fmt;

use azure_core::{
    Result,
    credentials::Secret,
    http::{Method, Request, Url, headers::HeaderName},
};
use azure_identity::UserAssignedId;

use super::NAME;
use crate::{credential_error::CredentialError, environment::Environment};

/// What hands out the tokens of a managed identity here.
pub(super) struct Endpoint {
    pub(super) kind: Kind,
    url: Url,
    /// App Service's proof that the request comes from inside.
    header: Option<Secret>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    AppService,
    Arc,
    Imds,
}

impl Endpoint {
    pub(super) fn of(environment: &Environment) -> Result<Self> {
        let set = |name: &str| environment.var(name).is_some();
        if let Some(endpoint) = environment.var(IDENTITY_ENDPOINT) {
            let url = url(IDENTITY_ENDPOINT, &endpoint)?;
            return match environment.var(IDENTITY_HEADER) {
                Some(_) if set("IDENTITY_SERVER_THUMBPRINT") => Err(unsupported("Service Fabric")),
                Some(header) => Ok(Self::new(Kind::AppService, url, Some(Secret::new(header)))),
                None if set("IMDS_ENDPOINT") => Ok(Self::new(Kind::Arc, url, None)),
                None => Err(CredentialError::setting(
                    IDENTITY_ENDPOINT,
                    "beside it stands IDENTITY_HEADER (App Service) or IMDS_ENDPOINT (Azure Arc), and neither is set",
                )),
            };
        }
        match (set("MSI_ENDPOINT"), set("MSI_SECRET")) {
            (true, true) => return Err(unsupported("Azure Machine Learning")),
            (true, false) => return Err(unsupported("Cloud Shell")),
            _ => {}
        }
        let imds = match environment.var(IMDS_HOST) {
            Some(host) => url(IMDS_HOST, &host)?.join(IMDS_PATH)?,
            None => Url::parse(IMDS)?.join(IMDS_PATH)?,
        };
        Ok(Self::new(Kind::Imds, imds, None))
    }

    fn new(kind: Kind, url: Url, header: Option<Secret>) -> Self {
        Self { kind, url, header }
    }

    pub(super) fn check(&self, id: Option<&UserAssignedId>) -> Result<()> {
        match (self.kind, id) {
            (Kind::Arc, Some(_)) => Err(CredentialError::setting(
                "user_assigned_id",
                "a server of Azure Arc has its system-assigned identity only",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn request(&self, resource: &str, id: Option<&UserAssignedId>) -> Request {
        let mut request = self.bare_request(resource, id);
        match &self.header {
            Some(header) => request.insert_header(IDENTITY_HEADER_NAME, header.secret().to_owned()),
            None => request.insert_header(METADATA, "true"),
        }
        request
    }

    pub(super) fn bare_request(&self, resource: &str, id: Option<&UserAssignedId>) -> Request {
        let mut url = self.url.clone();
        let api_version = match self.kind {
            Kind::AppService => "2019-08-01",
            Kind::Arc => "2019-11-01",
            Kind::Imds => "2018-02-01",
        };
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("api-version", api_version)
                .append_pair("resource", resource);
            match id {
                Some(UserAssignedId::ClientId(id)) => query.append_pair("client_id", id),
                Some(UserAssignedId::ObjectId(id)) => query.append_pair("object_id", id),
                // The two disagree on the name of this one.
                Some(UserAssignedId::ResourceId(id)) if self.kind == Kind::AppService => {
                    query.append_pair("mi_res_id", id)
                }
                Some(UserAssignedId::ResourceId(id)) => query.append_pair("msi_res_id", id),
                _ => &mut query,
            };
        }
        Request::new(url, Method::Get)
    }
}

/// As errors and explanations name it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::AppService => "the App Service endpoint",
            Kind::Arc => "the Azure Arc agent",
            Kind::Imds => "IMDS",
        };
        write!(f, "{name} at {}", self.url.origin().ascii_serialization())
    }
}

fn url(name: &str, text: &str) -> Result<Url> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
        .ok_or_else(|| CredentialError::setting(name, format!("{text:?} is not a URL, as in http://localhost:40342/…")))
}

fn unsupported(place: &str) -> azure_core::Error {
    CredentialError::unavailable(NAME, format!("the managed identity of {place} is not supported"))
}

const IDENTITY_ENDPOINT: &str = "IDENTITY_ENDPOINT";
const IDENTITY_HEADER: &str = "IDENTITY_HEADER";
const IDENTITY_HEADER_NAME: HeaderName = HeaderName::from_static("x-identity-header");
const METADATA: HeaderName = HeaderName::from_static("metadata");
const IMDS: &str = "http://169.254.169.254";
const IMDS_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
