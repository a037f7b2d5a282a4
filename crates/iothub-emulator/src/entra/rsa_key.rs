use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use azure_core::error::{ErrorKind, ResultExt};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use iothub_core::{Error, Result};
use ring::{
    digest,
    rand::SystemRandom,
    rsa::{KeyPair, PublicKeyComponents},
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256},
};
use rsa::pkcs8::EncodePrivateKey as _;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};

use crate::tls::{self, Secrecy};

/// An RSA key of 2048 bits: what Entra signs with, and what belongs to the certificate of an app.
pub(crate) struct RsaKey {
    pair: KeyPair,
    public: PublicKeyComponents<Vec<u8>>,
    portable: rcgen::KeyPair,
    id: String,
}

impl RsaKey {
    /// Makes a new key. This takes a good part of a second.
    pub(crate) fn generate() -> Result<Self> {
        let key =
            rsa::PrivateKey::new(&mut getrandom::SysRng, BITS).with_context(ErrorKind::Other, "making an RSA key")?;
        let pkcs8 = key.to_pkcs8_der().with_context(ErrorKind::Other, "making an RSA key")?;
        Self::new(pkcs8.as_bytes())
    }

    /// The key of a PEM file; a new one moves in if there is none.
    pub(crate) fn in_file(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Self::generate()?;
                tls::write(path, new.to_pem(), Secrecy::Secret)?;
                Ok(new)
            }
            read => {
                let text = read.with_context_fn(ErrorKind::Io, || format!("reading {}", path.display()))?;
                Self::from_pem(&text).with_context_fn(ErrorKind::DataConversion, || {
                    format!("{} holds no RSA key as PKCS#8 in PEM", path.display())
                })
            }
        }
    }

    /// Reads the first private key of a PEM text.
    pub(crate) fn from_pem(text: &str) -> Result<Self> {
        use rustls_pki_types::pem::PemObject as _;
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .with_context(ErrorKind::DataConversion, "reading a private key")?;
        Self::new(der.secret_pkcs8_der())
    }

    fn new(pkcs8: &[u8]) -> Result<Self> {
        let rejected = |error: ring::error::KeyRejected| {
            Error::with_message(
                ErrorKind::DataConversion,
                format!("this is no RSA key to sign with: {error}"),
            )
        };
        let pair = KeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
        let portable = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.into(), &rcgen::PKCS_RSA_SHA256)
            .with_context(ErrorKind::DataConversion, "reading a private key")?;
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
        let id = BASE64URL.encode(digest::digest(&digest::SHA256, &public.n).as_ref());
        Ok(Self {
            pair,
            public,
            portable,
            id,
        })
    }

    /// A name that follows from the key, to find it among others.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn to_pem(&self) -> String {
        self.portable.serialize_pem()
    }

    pub(crate) fn to_pkcs8(&self) -> Vec<u8> {
        self.portable.serialize_der()
    }

    /// The same key for rcgen to put into a certificate.
    pub(crate) fn for_certificate(&self) -> &rcgen::KeyPair {
        &self.portable
    }

    /// A signature of RS256.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| Error::with_message(ErrorKind::Other, "signing with an RSA key failed"))?;
        Ok(signature)
    }

    /// Whether this is a signature of RS256 by this key.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok()
    }

    /// The public half as a JSON Web Key (RFC 7517).
    pub(crate) fn to_jwk(&self) -> Value {
        let (n, e) = (BASE64URL.encode(&self.public.n), BASE64URL.encode(&self.public.e));
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "x5t": self.id, "n": n, "e": e })
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RsaKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A key that is made when somebody needs it first, because making one takes long and many tests need none.
#[derive(Clone, Debug, Default)]
pub(crate) struct LazyKey(Arc<Mutex<Option<Arc<RsaKey>>>>);

impl LazyKey {
    /// The key. Blocks the first time.
    pub(crate) fn get(&self) -> Result<Arc<RsaKey>> {
        let mut key = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*key {
            Some(key) => Ok(key.clone()),
            None => Ok(key.insert(Arc::new(RsaKey::generate()?)).clone()),
        }
    }

    /// The key if somebody needed it before.
    pub(crate) fn made(&self) -> Option<Arc<RsaKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key, made on a thread where that disturbs nobody.
    pub(crate) async fn ready(&self) -> Result<Arc<RsaKey>> {
        let lazy = self.clone();
        tokio::task::spawn_blocking(move || lazy.get())
            .await
            .with_context(ErrorKind::Other, "making an RSA key")?
    }
}

impl From<RsaKey> for LazyKey {
    fn from(key: RsaKey) -> Self {
        Self(Arc::new(Mutex::new(Some(Arc::new(key)))))
    }
}

const BITS: usize = 2048;
