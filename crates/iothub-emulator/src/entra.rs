//! Microsoft Entra ID as far as a hub's clients see it: a tenant, its apps, and tokens for them.

mod access_token;
mod application;
mod certificate;
mod client_assertion;
mod directory;
mod discovery;
pub(crate) mod door;
mod jwt;
mod managed_identity;
mod options;
mod refusal;
mod role;
mod rsa_key;
#[cfg(test)]
mod tests;
mod token_endpoint;

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::Result;

pub use self::{
    application::Application,
    options::{ApplicationOptions, EntraOptions},
    role::Role,
};
use self::{
    certificate::KeyedCertificate,
    directory::{ClientFiles, Directory},
    rsa_key::{LazyKey, RsaKey},
};
use crate::{
    hub::{Clock, Faults, Hub, Journal, authentication::Key, known_tokens::KnownTokens},
    tls::{self, Secrecy},
};

/// The tenant of an emulator: who may ask for tokens, and where.
///
/// Clones are handles to the same tenant.
#[derive(Clone)]
pub struct Entra(Arc<Inner>);

struct Inner {
    options: EntraOptions,
    host: String,
    port: u16,
    identities: SocketAddr,
    identity_header: String,
    directory: Directory,
    key: LazyKey,
    files: Option<ClientFiles>,
    clock: Clock,
    journal: Journal,
    faults: Faults,
    /// Whose they are, by object id.
    known_tokens: KnownTokens<String>,
}

impl Entra {
    pub(crate) const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
    pub(crate) const APP_SERVICE_PATH: &str = "/msi/token";
    /// What Azure Storage is called as a resource.
    pub(crate) const STORAGE: &str = "https://storage.azure.com";

    /// The tenant of `hub`, with doors at these ports. This takes a second when keys are made for a new data directory.
    pub(crate) async fn open(
        options: EntraOptions,
        hub: &Hub,
        doors: (u16, SocketAddr),
        data_dir: Option<PathBuf>,
    ) -> Result<Self> {
        let hub = hub.clone();
        tokio::task::spawn_blocking(move || Self::new(options, &hub, doors, data_dir.as_deref()))
            .await
            .with_context(ErrorKind::Other, "opening the token endpoint")?
    }

    fn new(
        options: EntraOptions,
        hub: &Hub,
        (port, identities): (u16, SocketAddr),
        data_dir: Option<&Path>,
    ) -> Result<Self> {
        let key = data_dir
            .map(|directory| RsaKey::in_file(&directory.join("entra.key")))
            .transpose()?;
        let directory = Directory::open(data_dir, &options.applications)?;
        let entra = Self(Arc::new(Inner {
            options,
            host: hub.name().to_owned(),
            port,
            identities,
            identity_header: Key::generated()?.to_base64(),
            directory,
            key: key.map(LazyKey::from).unwrap_or_default(),
            files: data_dir.map(ClientFiles::in_directory),
            clock: hub.clock().clone(),
            journal: hub.journal().clone(),
            faults: hub.faults().clone(),
            known_tokens: KnownTokens::default(),
        }));
        entra.write_files()?;
        Ok(entra)
    }

    /// Where clients ask for tokens: `AZURE_AUTHORITY_HOST`. Its certificate is signed by the emulator's root.
    pub fn authority(&self) -> String {
        format!("https://{}:{}", self.0.host, self.0.port)
    }

    /// The id of the tenant: `AZURE_TENANT_ID`.
    pub fn tenant_id(&self) -> &str {
        self.directory().tenant_id()
    }

    /// The app that every tenant is born with. It may do everything at the hub until
    /// [`set_roles`](Application::set_roles) says otherwise.
    pub fn application(&self) -> Application {
        self.directory().first()
    }

    /// Registers another app. It lives as long as the emulator runs.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn register(&self, name: &str) -> Result<Application> {
        self.directory().register(name)
    }

    /// The app of this name, in any case: one of [`EntraOptions::applications`], or one that was
    /// [registered](Self::register).
    pub fn application_named(&self, name: &str) -> Option<Application> {
        self.directory().by_name(name)
    }

    /// The identity that this machine has by itself.
    pub fn managed_identity(&self) -> &Application {
        self.directory().managed_identity()
    }

    /// Where an app on App Service finds its managed identity: `IDENTITY_ENDPOINT`.
    pub fn identity_endpoint(&self) -> String {
        format!("{}{}", self.imds_endpoint(), Self::APP_SERVICE_PATH)
    }

    /// What proves to that endpoint that the app runs on the machine: `IDENTITY_HEADER`.
    pub fn identity_header(&self) -> &str {
        &self.0.identity_header
    }

    /// Where the instance metadata service is, instead of `http://169.254.169.254`.
    ///
    /// Microsoft's clients for Python and Node.js go there when `AZURE_POD_IDENTITY_AUTHORITY_HOST` says so; others need
    /// their requests rewritten.
    pub fn imds_endpoint(&self) -> String {
        format!("http://{}", self.0.identities)
    }

    /// A token with which a workload outside of Azure proves to be `app`, as a cluster puts it into
    /// `AZURE_FEDERATED_TOKEN_FILE`. It holds for `lifetime`.
    ///
    /// The key for it is made at the first call, which takes a good part of a second.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn federated_token(&self, app: &Application, lifetime: Duration) -> Result<String> {
        self.sign_federated(app, lifetime)
    }

    /// Where key and certificate of [`application`](Self::application) lie in PEM, if there is a data directory.
    pub fn certificate_file(&self) -> Option<&Path> {
        Some(&self.0.files.as_ref()?.pem)
    }

    /// The same in PKCS#12, encrypted with [`certificate_password`](Application::certificate_password).
    pub fn pkcs12_file(&self) -> Option<&Path> {
        Some(&self.0.files.as_ref()?.pkcs12)
    }

    /// Where a federated token for [`application`](Self::application) lies, if there is a data directory. It is written
    /// at every start and holds for a year.
    pub fn federated_token_file(&self) -> Option<&Path> {
        Some(&self.0.files.as_ref()?.federated_token)
    }

    /// The identity by the id of a resource that ends in `userAssignedIdentities/{name}`: an app that is
    /// [registered](Self::register) by that name.
    pub(crate) fn user_assigned_identity(&self, resource: &str) -> Option<Application> {
        let (kind, name) = resource.rsplit_once('/')?;
        let right_kind = kind.to_ascii_lowercase().ends_with("userassignedidentities");
        self.directory().by_name(name).filter(|_| right_kind)
    }

    fn write_files(&self) -> Result<()> {
        let Some(files) = &self.0.files else {
            return Ok(());
        };
        let app = self.application();
        match fs::read_to_string(&files.pem) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tls::write(&files.pem, app.certificate_pem()?, Secrecy::Secret)?;
            }
            read => {
                let about = || format!("reading key and certificate of {}", files.pem.display());
                let pem = read.with_context_fn(ErrorKind::Io, about)?;
                let own = KeyedCertificate::from_pem(&pem).with_context_fn(ErrorKind::DataConversion, about)?;
                app.set_own_certificate(own)?;
            }
        }
        // Deriving a key from the password takes longer than everything else together.
        if !files.pkcs12.exists() {
            tls::write(&files.pkcs12, app.certificate_pkcs12()?, Secrecy::Secret)?;
        }
        let token = self.federated_token(&app, YEAR)?;
        tls::write(&files.federated_token, token, Secrecy::Secret)
    }

    fn issuer(&self) -> String {
        format!("{}/{}/v2.0", self.authority(), self.tenant_id())
    }

    fn token_endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.authority(), self.tenant_id())
    }

    /// Who signs federated tokens. In real life that is not Entra but a cluster, or a build system.
    fn workload_issuer(&self) -> String {
        format!("{}/workload-identity", self.authority())
    }

    /// Whether tokens are given for it.
    fn is_resource(&self, resource: &str) -> bool {
        self.is_hub(resource) || self.is_storage(resource)
    }

    fn is_hub(&self, resource: &str) -> bool {
        let mut known = std::iter::once(IOT_HUBS).chain(self.0.options.resources.iter().map(String::as_str));
        known.any(|known| same_resource(known, resource))
    }

    fn is_storage(&self, resource: &str) -> bool {
        same_resource(Self::STORAGE, resource)
    }

    fn answers_to(&self, host: &str) -> bool {
        [&*self.0.host, "localhost", "127.0.0.1", "[::1]"].contains(&host)
    }

    fn port(&self) -> u16 {
        self.0.port
    }

    fn token_lifetime(&self) -> time::Duration {
        self.0.options.token_lifetime.try_into().unwrap_or(time::Duration::HOUR)
    }

    fn directory(&self) -> &Directory {
        &self.0.directory
    }

    fn key(&self) -> &LazyKey {
        &self.0.key
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }

    fn journal(&self) -> &Journal {
        &self.0.journal
    }

    fn known_tokens(&self) -> &KnownTokens<String> {
        &self.0.known_tokens
    }

    fn faults(&self) -> &Faults {
        &self.0.faults
    }
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entra")
            .field("authority", &self.authority())
            .field("tenant_id", &self.tenant_id())
            .finish_non_exhaustive()
    }
}

/// A slash at the end and the case of letters make no difference.
fn same_resource(one: &str, other: &str) -> bool {
    one.trim_end_matches('/')
        .eq_ignore_ascii_case(other.trim_end_matches('/'))
}

/// What IoT hubs are called as a resource.
const IOT_HUBS: &str = "https://iothubs.azure.net";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
