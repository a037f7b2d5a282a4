//! Devices and modules that show who they are with a certificate.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use azure_core::error::{ErrorKind, ResultExt};
use iothub_core::Error;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use time::OffsetDateTime;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::{Certificate, der::Decode, ext::pkix::name::DirectoryString};

use super::{Failure, Grant, Hub, Principal, Target, authentication::Authentication, policy::DEVICE_CONNECT};

/// What a client presented in the TLS handshake, its own certificate first, of which it has proved to hold the key.
/// Empty if it presented none.
#[derive(Clone, Debug, Default)]
pub(crate) struct CertificateChain(Arc<[CertificateDer<'static>]>);

/// The authorities whose certificates devices may have.
#[derive(Default)]
pub(super) struct DeviceAuthorities(RwLock<Vec<CertificateDer<'static>>>);

impl CertificateChain {
    pub(crate) fn new(certificates: &[CertificateDer<'static>]) -> Self {
        Self(certificates.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Hub {
    /// Trusts every certificate in a PEM text as an authority of devices.
    pub(crate) fn trust_device_authority(&self, pem: &str) -> iothub_core::Result<()> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .with_context(ErrorKind::DataConversion, "reading a device authority in PEM")?;
        if certificates.is_empty() {
            let text = "a device authority is a text in PEM with a certificate in it, and there is none";
            return Err(Error::with_message(ErrorKind::DataConversion, text));
        }
        for certificate in &certificates {
            anchor_from_trusted_cert(certificate).with_context(
                ErrorKind::DataConversion,
                "reading the certificate of a device authority",
            )?;
        }
        let mut trusted = self
            .0
            .device_authorities
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        trusted.extend(certificates);
        Ok(())
    }

    /// Whether a chain is that of the device or module: its own certificate has one of the thumbprints of the identity,
    /// or leads to an authority that the hub trusts and is made out to the identity, as the registry has it.
    ///
    /// The grant holds as long as the certificate does.
    pub(crate) fn authenticate_certificate(&self, target: &Target, chain: &CertificateChain) -> Result<Grant, Failure> {
        self.remember(self.judge(target, chain))
    }

    fn judge(&self, target: &Target, chain: &CertificateChain) -> Result<Grant, Failure> {
        let (own, intermediates) = chain
            .0
            .split_first()
            .ok_or_else(|| Failure::unauthorized(format!("{target} presented no certificate")))?;
        let certificate = Certificate::from_der(own)
            .map_err(|error| Failure::unauthorized(format!("the certificate of {target} cannot be read: {error}")))?;
        let expires = self.valid_until(&certificate)?;
        match self.registry().enabled_authentication(target) {
            Some(Authentication::SelfSigned(thumbprints)) => check_thumbprint(own, thumbprints.each_ref())?,
            Some(Authentication::Authority) => {
                self.check_authority(own, intermediates)?;
                check_name(&certificate, target)?;
            }
            _ => {
                let text = format!("{target} has no certificate, or does not exist");
                return Err(Failure::unauthorized(text));
            }
        }
        let principal = Principal::Device(target.clone());
        Ok(Grant::new(principal, DEVICE_CONNECT, target.resource(), expires))
    }

    /// Whether self-signed certificates may be too old is not documented; here they may not.
    fn valid_until(&self, certificate: &Certificate) -> Result<OffsetDateTime, Failure> {
        let validity = certificate.tbs_certificate().validity();
        let (begins, ends) = (instant(validity.not_before), instant(validity.not_after));
        let now = self.clock().now();
        if begins <= now && now < ends {
            return Ok(ends);
        }
        let text = format!("the certificate is valid from {begins} to {ends}, and it is {now}");
        Err(Failure::unauthorized(text))
    }

    fn check_authority(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'static>],
    ) -> Result<(), Failure> {
        let wrong = |error: webpki::Error| {
            let text = format!("the certificate leads to no authority that this hub trusts: {error}");
            Failure::unauthorized(text)
        };
        let trusted = self
            .0
            .device_authorities
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let anchors: Vec<_> = trusted
            .iter()
            .filter_map(|authority| anchor_from_trusted_cert(authority).ok())
            .collect();
        let now = u64::try_from(self.clock().now().unix_timestamp()).unwrap_or_default();
        EndEntityCert::try_from(own)
            .and_then(|certificate| {
                let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
                let usage = KeyUsage::client_auth();
                certificate
                    .verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, intermediates, now, usage, None, None)
                    .map(drop)
            })
            .map_err(wrong)
    }
}

fn check_thumbprint(certificate: &[u8], known: [&Option<Box<str>>; 2]) -> Result<(), Failure> {
    let thumbprints = [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].map(|algorithm| {
        let digest = digest(algorithm, certificate);
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    let mut known = known.into_iter().flatten();
    if known.any(|known| thumbprints.iter().any(|found| found.eq_ignore_ascii_case(known))) {
        return Ok(());
    }
    let [_, sha256] = thumbprints;
    let text = format!("the certificate with the SHA-256 thumbprint {sha256} is none that the identity names");
    Err(Failure::unauthorized(text))
}

/// The common name of the subject is the id of the device, or those of device and module with a slash between.
fn check_name(certificate: &Certificate, target: &Target) -> Result<(), Failure> {
    let name = match certificate.tbs_certificate().subject().common_name() {
        Ok(Some(DirectoryString::PrintableString(name))) => name.to_string(),
        Ok(Some(DirectoryString::TeletexString(name))) => name.to_string(),
        Ok(Some(DirectoryString::Utf8String(name))) => name,
        Ok(Some(DirectoryString::BmpString(name))) => name.to_string(),
        Ok(None) | Err(_) => String::new(),
    };
    if name == target.to_string() {
        return Ok(());
    }
    let text = format!("the certificate is made out to {name:?}, and not to {target}");
    Err(Failure::unauthorized(text))
}

fn instant(time: x509_cert::time::Time) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH
        .saturating_add(time::Duration::try_from(time.to_unix_duration()).unwrap_or(time::Duration::MAX))
}
