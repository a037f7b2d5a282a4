use std::sync::Arc;

use azure_core::{Error, Result, error::ErrorKind};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::CryptoProvider, version};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::DialOptions;

/// A version of TLS. Older ones than 1.2 are never spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    #[default]
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

/// The TLS side of every connection: roots and versions.
pub(super) fn client_config(options: &DialOptions) -> Result<ClientConfig> {
    // Always with a provider by name: with two of them in one program `ClientConfig::builder` panics.
    let config = ClientConfig::builder_with_provider(provider()?)
        .with_protocol_versions(versions(options.min_tls))
        .map_err(|error| {
            Error::with_error(
                ErrorKind::Other,
                error,
                "the crypto provider speaks none of the TLS versions asked for",
            )
        })?
        .with_root_certificates(roots(options)?)
        .with_no_client_auth();
    Ok(config)
}

/// Whether TLS itself refused the peer, so that another try would end the same way. What is left are the peer's own
/// failures and a connection that broke.
pub(super) fn is_permanent(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    !matches!(
        error,
        rustls::Error::AlertReceived(Alert::InternalError | Alert::UserCanceled | Alert::CloseNotify)
            | rustls::Error::FailedToGetRandomBytes
    )
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::Tls12 => rustls::DEFAULT_VERSIONS,
        TlsVersion::Tls13 => ONLY_TLS13,
    }
}

fn roots(options: &DialOptions) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut failures = Vec::new();
    if options.platform_roots {
        let platform = rustls_native_certs::load_native_certs();
        failures = platform.errors;
        // Stores hold certificates that rustls cannot read, so some are expected to be left out.
        roots.add_parsable_certificates(platform.certs);
        if !failures.is_empty() || roots.is_empty() {
            tracing::warn!(
                ?failures,
                loaded = roots.len(),
                "the platform's root certificates could not all be read"
            );
        }
    }
    for (index, bytes) in options.extra_roots.iter().enumerate() {
        add_root(&mut roots, bytes).map_err(|why| {
            Error::with_message(
                ErrorKind::DataConversion,
                format!("extra_roots[{index}] is not a certificate in PEM or DER: {why}"),
            )
        })?;
    }
    if roots.is_empty() {
        let why = failures.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Error::with_message(
            ErrorKind::Other,
            format!(
                "no root certificate to check servers with: the platform has none{why}; set SSL_CERT_FILE or extra_roots"
            ),
        ));
    }
    Ok(roots)
}

fn add_root(roots: &mut RootCertStore, bytes: &[u8]) -> std::result::Result<(), String> {
    let is_pem = bytes.windows(PEM_START.len()).any(|window| window == PEM_START);
    if !is_pem {
        return roots
            .add(CertificateDer::from(bytes))
            .map_err(|error| error.to_string());
    }
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        found = true;
    }
    if found {
        Ok(())
    } else {
        Err("the PEM text holds no CERTIFICATE".to_owned())
    }
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> Result<Arc<CryptoProvider>> {
    Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn provider() -> Result<Arc<CryptoProvider>> {
    Ok(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn provider() -> Result<Arc<CryptoProvider>> {
    Err(Error::with_message(
        ErrorKind::Other,
        "iothub-transport-http was built without a crypto provider: turn on its feature `ring` or `aws-lc-rs`",
    ))
}

static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

const PEM_START: &[u8] = b"-----BEGIN ";
