use rustls_pki_types::pem::{self, SectionKind};
use zeroize::Zeroizing;

use super::{Contents, Key};

pub(super) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

pub(super) fn read(bytes: &[u8]) -> Result<Contents, String> {
    if is_encrypted(bytes) {
        return Err("its key is encrypted; `openssl pkey -in … -out …` writes one that is not".to_owned());
    }
    let mut key = None;
    let mut certificates = Vec::new();
    let mut rest = bytes;
    while let Some((kind, der)) =
        pem::from_buf(&mut rest).map_err(|_| "a section of its PEM is broken off or not base64".to_owned())?
    {
        let found = match kind {
            SectionKind::Certificate => {
                certificates.push(der);
                continue;
            }
            SectionKind::PrivateKey => Key::Pkcs8(Zeroizing::new(der)),
            SectionKind::RsaPrivateKey => Key::Pkcs1(Zeroizing::new(der)),
            SectionKind::EcPrivateKey => return Err("its key is elliptic, and Entra takes RSA keys only".to_owned()),
            _ => continue,
        };
        if key.replace(found).is_some() {
            return Err("there are two keys in it".to_owned());
        }
    }
    match key {
        Some(key) => Ok(Contents { key, certificates }),
        None => Err("there is no key in it: certificate and key belong in one file".to_owned()),
    }
}

fn is_encrypted(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

const BEGIN: &[u8] = b"-----BEGIN ";
