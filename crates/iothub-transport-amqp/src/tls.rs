use std::{sync::Arc, time::Duration};

use azure_core::{Error, Result, error::ErrorKind};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::CryptoProvider, version};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::TlsConnector;

use crate::{AmqpOptions, TlsVersion, byte_stream::ByteStream, within::within};

/// The TLS side of every connection: roots, versions, and a limit for the handshake.
pub(crate) struct Tls {
    connector: TlsConnector,
    timeout: Duration,
}

impl Tls {
    pub(crate) fn new(options: &AmqpOptions) -> Result<Self> {
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
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            timeout: options.tls_timeout,
        })
    }

    /// Verifies that `stream` leads to `host`. Nothing but TLS's own greeting is sent before that.
    pub(crate) async fn handshake(&self, host: &str, stream: Box<dyn ByteStream>) -> Result<Box<dyn ByteStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Error::with_error(ErrorKind::Other, error, format!("no certificate can be for {host}")))?;
        let shaking = self.connector.connect(name, stream);
        let shaken = within(self.timeout, || format!("a TLS handshake with {host}"), shaking).await?;
        match shaken {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                let kind = if cause.is_some_and(is_permanent) {
                    ErrorKind::Other
                } else {
                    ErrorKind::Connection
                };
                let message = format!("no TLS with {host}: {error}");
                Err(Error::with_error(kind, error, message))
            }
        }
    }
}

/// Whether TLS itself refused the peer, so that another try would end the same way. What is left are the peer's own
/// failures and a connection that broke.
pub(crate) fn is_permanent(error: &rustls::Error) -> bool {
    use rustls::AlertDescription as Alert;
    !matches!(
        error,
        rustls::Error::AlertReceived(Alert::InternalError | Alert::UserCanceled | Alert::CloseNotify)
            | rustls::Error::FailedToGetRandomBytes
    )
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    match min {
        TlsVersion::Tls12 => FROM_TLS12,
        TlsVersion::Tls13 => FROM_TLS13,
    }
}

fn roots(options: &AmqpOptions) -> Result<RootCertStore> {
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
        "iothub-transport-amqp was built without a crypto provider: turn on its feature `ring` or `aws-lc-rs`",
    ))
}

const PEM_START: &[u8] = b"-----BEGIN ";
static FROM_TLS12: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
static FROM_TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
