mod any_certificate;
mod encryption;

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use self::any_certificate::AnyCertificate;
pub(crate) use self::encryption::Encryption;
use crate::hub::fault::CertificateFlaw;

/// What is wrong with the TLS of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFlaw {
    Certificate(CertificateFlaw),
    /// It is 1.2, and nothing newer.
    Old,
}

/// The authority that signs the certificates of this emulator.
pub(crate) struct CertificateAuthority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl CertificateAuthority {
    /// Makes a new authority.
    pub(crate) fn generate() -> Result<Self> {
        Self::named(ROOT)
    }

    fn named(name: &str) -> Result<Self> {
        let key = KeyPair::generate().map_err(certificate_error)?;
        let certificate = root(name).self_signed(&key).map_err(certificate_error)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(root(name), key),
        })
    }

    /// The authority that lives in a directory; a new one moves in if there is none.
    pub(crate) fn in_directory(directory: &Path) -> Result<Self> {
        let [certificate_file, key_file] = ["ca.pem", "ca.key"].map(|name| directory.join(name));
        let key = match fs::read_to_string(&key_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Self::generate()?;
                write(&key_file, new.issuer.key().serialize_pem(), Secrecy::Secret)?;
                write(&certificate_file, &new.certificate_pem, Secrecy::Public)?;
                return Ok(new);
            }
            read => read.with_context_fn(ErrorKind::Io, || format!("reading {}", key_file.display()))?,
        };
        let key = KeyPair::from_pem(&key).with_context_fn(ErrorKind::DataConversion, || {
            format!("{} holds no private key in PEM", key_file.display())
        })?;
        let certificate_pem = fs::read_to_string(&certificate_file)
            .with_context_fn(ErrorKind::Io, || format!("reading {}", certificate_file.display()))?;
        // The certificate is a function of the key, so the key alone is enough to sign in its name.
        Ok(Self {
            certificate_pem,
            issuer: Issuer::new(root(ROOT), key),
        })
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What a server presents that goes by `host` and by the names of this machine's loopback. It asks clients for a
    /// certificate, and takes any.
    pub(crate) fn server_config(
        &self,
        host: &str,
        protocols: &[&[u8]],
        flaw: Option<TlsFlaw>,
    ) -> Result<Arc<ServerConfig>> {
        let (versions, flaw): (&[_], _) = match flaw {
            Some(TlsFlaw::Old) => (&[&rustls::version::TLS12], None),
            Some(TlsFlaw::Certificate(flaw)) => (&[&rustls::version::TLS13, &rustls::version::TLS12], Some(flaw)),
            None => (&[&rustls::version::TLS13, &rustls::version::TLS12], None),
        };
        let (chain, key) = match flaw {
            Some(CertificateFlaw::UnknownAuthority) => Self::named(STRANGER)?.server_certificate(host, flaw)?,
            _ => self.server_certificate(host, flaw)?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = Arc::new(AnyCertificate(Arc::clone(&provider)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .and_then(|builder| builder.with_client_cert_verifier(clients).with_single_cert(chain, key))
            .with_context(ErrorKind::Other, "setting up TLS")?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn server_certificate(
        &self,
        host: &str,
        flaw: Option<CertificateFlaw>,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(host);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Some clients refuse a server certificate that is valid for more than 398 days.
        (params.not_before, params.not_after) = validity(Duration::days(365));
        match flaw {
            Some(CertificateFlaw::Expired) => {
                params.not_after = params.not_before;
                params.not_before -= Duration::days(365);
            }
            Some(CertificateFlaw::NotYetValid) => params.not_before += Duration::days(2),
            _ => {}
        }
        params.subject_alt_names = vec![
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        for name in ["localhost", host] {
            if name.parse::<IpAddr>().is_ok() {
                continue;
            }
            let name = SanType::DnsName(name.try_into().map_err(certificate_error)?);
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        if flaw == Some(CertificateFlaw::OtherHost) {
            let other = "other.invalid".try_into().map_err(certificate_error)?;
            params.subject_alt_names = vec![SanType::DnsName(other)];
        }
        let key = KeyPair::generate().map_err(certificate_error)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(certificate_error)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok((vec![certificate.der().clone()], key))
    }
}

/// Whether other users of this machine may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Secrecy {
    Public,
    Secret,
}

/// Writes a file whole or not at all.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>, secrecy: Secrecy) -> Result<()> {
    let partial = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if matches!(secrecy, Secrecy::Secret) {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = secrecy;
    options
        .open(&partial)
        .and_then(|mut file| {
            io::Write::write_all(&mut file, contents.as_ref())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&partial, path))
        .with_context_fn(ErrorKind::Io, || format!("writing {}", path.display()))
}

fn root(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    (params.not_before, params.not_after) = validity(Duration::days(3650));
    params
}

/// From yesterday, because the clocks of containers and virtual machines drift.
fn validity(length: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let start = OffsetDateTime::now_utc() - Duration::days(1);
    (start, start + length)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn certificate_error(error: rcgen::Error) -> Error {
    Error::with_error(ErrorKind::Other, error, "making a certificate")
}

const ROOT: &str = "IoT hub emulator root";

/// The name of an authority that nobody trusts.
const STRANGER: &str = "IoT hub emulator stranger";
