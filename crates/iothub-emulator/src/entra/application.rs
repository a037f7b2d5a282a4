use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use iothub_core::Result;
use uuid::Uuid;

use super::{
    certificate::{AppCertificate, KeyedCertificate},
    jwt::Jwt,
    options::ApplicationOptions,
    role::Role,
};
use crate::{
    hub::{Failure, Rights, authentication::Key},
    secret::is_same,
};

/// An app registration, or a managed identity: somebody who gets tokens for the hub.
///
/// Clones are handles to the same registration.
#[derive(Clone)]
pub struct Application(Arc<Inner>);

struct Inner {
    registration: Registration,
    certificates: Mutex<Certificates>,
    roles: RwLock<Vec<Role>>,
}

/// What a registration is made of; it stays the same over a restart.
#[derive(Clone, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registration {
    pub(crate) name: String,
    pub(crate) client_id: String,
    pub(crate) object_id: String,
    pub(crate) client_secret: String,
    pub(crate) certificate_password: String,
}

#[derive(Default)]
struct Certificates {
    own: Option<KeyedCertificate>,
    registered: Vec<AppCertificate>,
}

impl Registration {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let secret = || Ok::<_, Failure>(Key::generated()?.to_base64());
        Ok(Self {
            name: name.to_owned(),
            client_id: Uuid::new_v4().to_string(),
            object_id: Uuid::new_v4().to_string(),
            client_secret: secret()?,
            certificate_password: secret()?,
        })
    }

    /// Takes over what is given.
    pub(crate) fn apply(&mut self, options: &ApplicationOptions) {
        if let Some(id) = &options.client_id {
            self.client_id.clone_from(id);
        }
        if let Some(secret) = &options.client_secret {
            self.client_secret = secret.secret().to_owned();
        }
    }
}

impl Application {
    pub(crate) fn new(registration: Registration) -> Self {
        Self(Arc::new(Inner {
            registration,
            certificates: Mutex::default(),
            roles: RwLock::new(vec![Role::DataContributor]),
        }))
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        &self.0.registration.name
    }

    /// The id by which it asks for tokens: `AZURE_CLIENT_ID`.
    pub fn client_id(&self) -> &str {
        &self.0.registration.client_id
    }

    /// The id of its service principal: what the hub's journal and messages name.
    pub fn object_id(&self) -> &str {
        &self.0.registration.object_id
    }

    /// Its client secret: `AZURE_CLIENT_SECRET`.
    pub fn client_secret(&self) -> &str {
        &self.0.registration.client_secret
    }

    /// A key and a certificate of its own in PEM, for `AZURE_CLIENT_CERTIFICATE_PATH`.
    ///
    /// The key is made at the first call, which takes a good part of a second.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn certificate_pem(&self) -> Result<String> {
        Ok(self.own_certificate()?.to_pem())
    }

    /// The same key and certificate in PKCS#12, encrypted with [`certificate_password`](Self::certificate_password).
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn certificate_pkcs12(&self) -> Result<Vec<u8>> {
        self.own_certificate()?.to_pkcs12(self.certificate_password())
    }

    /// The password of [`certificate_pkcs12`](Self::certificate_pkcs12).
    pub fn certificate_password(&self) -> &str {
        &self.0.registration.certificate_password
    }

    /// Registers one more certificate, made elsewhere, given in PEM without its key.
    ///
    /// # Errors
    ///
    /// The text holds no X.509 certificate of version 3.
    pub fn add_certificate(&self, pem: &str) -> Result<()> {
        let certificate = AppCertificate::from_pem(pem)?;
        self.certificates().registered.push(certificate);
        Ok(())
    }

    /// Gives it these roles at the hub and takes away those that it had: at first,
    /// [`DataContributor`](Role::DataContributor). It counts from the next request on, also for tokens that are out.
    pub fn set_roles(&self, roles: &[Role]) {
        *self.0.roles.write().unwrap_or_else(PoisonError::into_inner) = roles.to_vec();
    }

    /// The subject that federated tokens for it carry, in the form of a Kubernetes service account.
    pub fn federated_subject(&self) -> String {
        format!("system:serviceaccount:default:{}", self.name())
    }

    /// Whether it has this role now.
    pub fn has_role(&self, role: Role) -> bool {
        let roles = self.0.roles.read().unwrap_or_else(PoisonError::into_inner);
        roles.contains(&role)
    }

    pub(crate) fn rights(&self) -> Rights {
        let roles = self.0.roles.read().unwrap_or_else(PoisonError::into_inner);
        roles
            .iter()
            .fold(Rights::NONE, |rights, role| rights.and(role.rights()))
    }

    pub(crate) fn has_secret(&self, presented: &str) -> bool {
        is_same(self.client_secret(), presented)
    }

    /// The registered certificate that a token's header names.
    pub(crate) fn certificate_named_by(&self, token: &Jwt<'_>) -> Option<AppCertificate> {
        let certificates = self.certificates();
        certificates
            .registered
            .iter()
            .find(|certificate| certificate.is_named_by(token))
            .cloned()
    }

    /// Makes `certificate` its own unless it has one by now, and returns the one that it has.
    pub(crate) fn set_own_certificate(&self, certificate: KeyedCertificate) -> Result<KeyedCertificate> {
        let public = certificate.public()?;
        let mut certificates = self.certificates();
        if let Some(own) = &certificates.own {
            return Ok(own.clone());
        }
        certificates.registered.push(public);
        Ok(certificates.own.insert(certificate).clone())
    }

    fn own_certificate(&self) -> Result<KeyedCertificate> {
        if let Some(own) = &self.certificates().own {
            return Ok(own.clone());
        }
        // Made outside of the lock, for which requests must not wait.
        let new = KeyedCertificate::generate(self.name())?;
        self.set_own_certificate(new)
    }

    fn certificates(&self) -> MutexGuard<'_, Certificates> {
        self.0.certificates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application")
            .field("name", &self.name())
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}
