use p12_keystore::{Certificate, Pkcs12Archive, error::Error};
use zeroize::Zeroizing;

use super::{Contents, Key};

pub(super) fn read(bytes: &[u8], password: &str) -> Result<Contents, String> {
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        Error::MacError(_) => match password {
            "" => "it has a password and none was given".to_owned(),
            _ => "the password is wrong".to_owned(),
        },
        Error::DerError(_) => "it is neither PEM nor PKCS#12".to_owned(),
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => {
            format!("{error}; `openssl pkcs12 -in … -out … -export` writes one with AES")
        }
        error => error.to_string(),
    })?;
    let mut keys = archive.keys.into_iter().map(|bag| bag.key);
    let key = match (keys.next(), keys.next()) {
        (Some(key), None) => Key::Pkcs8(Zeroizing::new(key.as_der().to_vec())),
        (Some(_), Some(_)) => return Err("there are two keys in it".to_owned()),
        (None, _) => return Err("there is no key in it".to_owned()),
    };
    let certificates = archive.certs.into_iter().map(|bag| bag.cert).collect();
    Ok(Contents {
        key,
        certificates: upwards(certificates),
    })
}

/// The bags of an archive have no order; put each certificate before its issuer. The key's own is moved to the front
/// afterwards.
fn upwards(mut certificates: Vec<Certificate>) -> Vec<Vec<u8>> {
    let mut sorted: Vec<Certificate> = Vec::with_capacity(certificates.len());
    while !certificates.is_empty() {
        let issues_another = |candidate: &Certificate| {
            certificates
                .iter()
                .any(|other| other != candidate && other.issuer() == candidate.subject())
        };
        // In a circle everybody issues another; any of them may then be next.
        let next = certificates.iter().position(|it| !issues_another(it)).unwrap_or(0);
        sorted.push(certificates.remove(next));
    }
    sorted.iter().map(|it| it.as_der().to_vec()).collect()
}
