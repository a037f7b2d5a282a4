use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::Result;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    application::{Application, Registration},
    options::ApplicationOptions,
    role::Role,
};
use crate::tls::{self, Secrecy};

/// A tenant: who is registered in it.
pub(crate) struct Directory {
    tenant_id: String,
    applications: RwLock<Vec<Application>>,
    managed_identity: Application,
}

/// What lives on in the data directory.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    tenant_id: String,
    application: Registration,
    managed_identity: Registration,
}

impl Directory {
    /// The tenant that lives in a data directory, with these apps; a new one moves in if there is none.
    pub(crate) fn open(data_dir: Option<&Path>, applications: &[ApplicationOptions]) -> Result<Self> {
        let mut stored = Stored::load_or_generate(data_dir)?;
        if let Some(options) = applications.iter().find(|app| app.name == stored.application.name) {
            stored.application.apply(options);
        }
        let directory = Self::new(stored);
        for options in applications {
            let application = match directory.by_name(&options.name) {
                Some(known) => known,
                None => {
                    let mut registration = Registration::new(&options.name)?;
                    registration.apply(options);
                    directory.add(registration)
                }
            };
            if let Some(roles) = &options.roles {
                application.set_roles(roles);
            }
        }
        Ok(directory)
    }

    fn new(stored: Stored) -> Self {
        let managed_identity = Application::new(stored.managed_identity);
        managed_identity.set_roles(&[Role::DataContributor, Role::StorageBlobDataContributor]);
        Self {
            tenant_id: stored.tenant_id,
            applications: RwLock::new(vec![Application::new(stored.application)]),
            managed_identity,
        }
    }

    pub(crate) fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    pub(crate) fn managed_identity(&self) -> &Application {
        &self.managed_identity
    }

    /// The app that every tenant is born with.
    pub(crate) fn first(&self) -> Application {
        self.all()[0].clone()
    }

    pub(crate) fn register(&self, name: &str) -> Result<Application> {
        Ok(self.add(Registration::new(name)?))
    }

    fn add(&self, registration: Registration) -> Application {
        let new = Application::new(registration);
        self.applications
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(new.clone());
        new
    }

    pub(crate) fn by_client_id(&self, id: &str) -> Option<Application> {
        self.all()
            .into_iter()
            .find(|app| app.client_id().eq_ignore_ascii_case(id))
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Application> {
        self.all().into_iter().find(|app| app.name().eq_ignore_ascii_case(name))
    }

    /// An app or managed identity.
    pub(crate) fn by_object_id(&self, id: &str) -> Option<Application> {
        let mut everybody = self.all();
        everybody.push(self.managed_identity.clone());
        everybody
            .into_iter()
            .find(|app| app.object_id().eq_ignore_ascii_case(id))
    }

    fn all(&self) -> Vec<Application> {
        self.applications.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Stored {
    fn load_or_generate(data_dir: Option<&Path>) -> Result<Self> {
        let Some(file) = data_dir.map(|directory| directory.join("entra.json")) else {
            return Self::new();
        };
        let stored = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Self::new()?;
                let text =
                    serde_json::to_string_pretty(&new).with_context(ErrorKind::DataConversion, "writing JSON")?;
                tls::write(&file, &text, Secrecy::Secret)?;
                new
            }
            read => {
                let bytes = read.with_context_fn(ErrorKind::Io, || format!("reading {}", file.display()))?;
                serde_json::from_slice(&bytes).with_context_fn(ErrorKind::DataConversion, || {
                    format!(
                        "{} is not what an emulator wrote: delete it for a new tenant",
                        file.display()
                    )
                })?
            }
        };
        Ok(stored)
    }

    fn new() -> Result<Self> {
        Ok(Self {
            tenant_id: Uuid::new_v4().to_string(),
            application: Registration::new("app")?,
            managed_identity: Registration::new("managed-identity")?,
        })
    }
}

/// Files that clients read, in the data directory.
#[derive(Clone, Debug)]
pub(crate) struct ClientFiles {
    pub(crate) pem: PathBuf,
    pub(crate) pkcs12: PathBuf,
    pub(crate) federated_token: PathBuf,
}

impl ClientFiles {
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let [pem, pkcs12, federated_token] = ["app.pem", "app.pfx", "app.token"].map(|name| directory.join(name));
        Self {
            pem,
            pkcs12,
            federated_token,
        }
    }
}
