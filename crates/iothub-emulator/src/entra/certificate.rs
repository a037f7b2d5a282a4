use std::{fmt, sync::Arc};

use azure_core::error::{ErrorKind, ResultExt};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use iothub_core::{Error, Result};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rcgen::{CertificateParams, DistinguishedName, DnType};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, pem::PemObject};
use time::{Duration, OffsetDateTime};

use super::{jwt::Jwt, rsa_key::RsaKey};

/// A certificate with which an app may prove who it is.
#[derive(Clone)]
pub(crate) struct AppCertificate(CertificateDer<'static>);

impl AppCertificate {
    /// Reads the first certificate of a PEM text.
    pub(crate) fn from_pem(text: &str) -> Result<Self> {
        let der = CertificateDer::from_pem_slice(text.as_bytes())
            .with_context(ErrorKind::DataConversion, "reading a certificate in PEM")?;
        webpki::EndEntityCert::try_from(&der)
            .with_context(ErrorKind::DataConversion, "reading an X.509 certificate")?;
        Ok(Self(der))
    }

    /// Whether the header of a token names this certificate.
    ///
    /// Clients write thumbprints in base64url as RFC 7515 says, or in plain base64 with padding.
    pub(crate) fn is_named_by(&self, token: &Jwt<'_>) -> bool {
        let names = |header, algorithm| {
            let thumbprint = token.header(header).and_then(decode_either);
            thumbprint.is_some_and(|bytes| bytes == digest(algorithm, &self.0).as_ref())
        };
        names("x5t#S256", &SHA256) || names("x5t", &SHA1_FOR_LEGACY_USE_ONLY)
    }

    /// Whether the token is signed with the key of this certificate, by RS256 or PS256.
    pub(crate) fn has_signed(&self, token: &Jwt<'_>) -> bool {
        let algorithm: &dyn SignatureVerificationAlgorithm = match token.header("alg") {
            Some("RS256") => webpki::ring::RSA_PKCS1_2048_8192_SHA256,
            Some("PS256") => webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            _ => return false,
        };
        webpki::EndEntityCert::try_from(&self.0).is_ok_and(|certificate| {
            certificate
                .verify_signature(algorithm, token.signed(), token.signature())
                .is_ok()
        })
    }
}

impl fmt::Debug for AppCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppCertificate")
    }
}

/// A certificate and its key, as an administrator hands them to an app.
#[derive(Clone, Debug)]
pub(crate) struct KeyedCertificate {
    key: Arc<RsaKey>,
    pem: String,
}

impl KeyedCertificate {
    /// Makes a key and a self-signed certificate, valid for two years.
    pub(crate) fn generate(name: &str) -> Result<Self> {
        let key = RsaKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
        params.not_after = params.not_before + Duration::days(730);
        let certificate = params
            .self_signed(key.for_certificate())
            .with_context(ErrorKind::Other, "making a certificate")?;
        Ok(Self {
            key: Arc::new(key),
            pem: certificate.pem(),
        })
    }

    /// Reads a PEM text with a certificate and its key.
    pub(crate) fn from_pem(text: &str) -> Result<Self> {
        AppCertificate::from_pem(text)?;
        let key = Arc::new(RsaKey::from_pem(text)?);
        let (_, rest) = text.split_once(BEGIN).unwrap_or_default();
        let (body, _) = rest.split_once(END).unwrap_or_default();
        let pem = format!("{BEGIN}{body}{END}\n");
        Ok(Self { key, pem })
    }

    /// The certificate without its key.
    pub(crate) fn public(&self) -> Result<AppCertificate> {
        AppCertificate::from_pem(&self.pem)
    }

    /// The key, then the certificate.
    pub(crate) fn to_pem(&self) -> String {
        format!("{}{}", self.key.to_pem(), self.pem)
    }

    /// Both in PKCS#12, encrypted with a password by AES-256 (PBES2).
    pub(crate) fn to_pkcs12(&self, password: &str) -> Result<Vec<u8>> {
        let failed =
            |error: p12_keystore::error::Error| Error::with_error(ErrorKind::Other, error, "writing a PKCS#12 file");
        let key = PrivateKey::from_der(&self.key.to_pkcs8()).map_err(failed)?;
        let certificate = Certificate::from_der(&self.public()?.0).map_err(failed)?;
        let chain = PrivateKeyChain::new("app", key, [certificate]);
        let mut store = KeyStore::new();
        store.add_entry("app", KeyStoreEntry::PrivateKeyChain(chain));
        store.writer(password).write().map_err(failed)
    }
}

fn decode_either(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::URL_SAFE, alphabet::STANDARD]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok())
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
