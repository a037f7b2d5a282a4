mod pem;
#[cfg(feature = "pkcs12")]
mod pkcs12;

use std::{fmt, path::Path, sync::Arc};

use azure_core::{
    Error, Result, Uuid,
    credentials::Secret,
    time::{Duration, OffsetDateTime},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64URL},
};
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PSS_SHA256},
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::credential_error::CredentialError;

/// A certificate with its RSA key and the chain above it, from a PEM or PKCS#12 file.
///
/// The certificate is the one whose public key is the key's; others in the file are its chain.
///
/// Not every file will do: the key has to be RSA of 2048 to 4096 bits (Entra takes no other kind for this purpose), and in
/// PEM it has to be unencrypted, as PKCS#8 (`PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
///
/// # Examples
///
/// ```no_run
/// use iothub_auth::ClientCertificate;
///
/// # fn example() -> iothub_core::Result<()> {
/// let pem = ClientCertificate::from_file("app.pem", None)?;
/// let pfx = ClientCertificate::from_file("app.pfx", Some("password".into()))?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[doc(alias = "X509Certificate2")]
pub struct ClientCertificate {
    key: Arc<KeyPair>,
    /// DER, the certificate of the key first.
    chain: Arc<[Vec<u8>]>,
}

impl ClientCertificate {
    /// Reads a file of either kind, told apart by what is in it.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Certificate`] with the name of the file, whatever is wrong with it or with the password.
    pub fn from_file(path: impl AsRef<Path>, password: Option<Secret>) -> Result<Self> {
        let path = path.as_ref();
        let source = format!("`{}`", path.display());
        let bytes = std::fs::read(path).map_err(|error| refused(&source, format!("it cannot be read: {error}")))?;
        Self::read(&source, &Zeroizing::new(bytes), password.as_ref())
    }

    /// Reads the contents of a file of either kind.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Certificate`], whatever is wrong with it or with the password.
    pub fn from_bytes(bytes: &[u8], password: Option<Secret>) -> Result<Self> {
        Self::read("the given bytes", bytes, password.as_ref())
    }

    fn read(source: &str, bytes: &[u8], password: Option<&Secret>) -> Result<Self> {
        Self::build(bytes, password).map_err(|reason| refused(source, reason))
    }

    fn build(bytes: &[u8], password: Option<&Secret>) -> std::result::Result<Self, String> {
        let Contents { key, certificates } = match pem::is_pem(bytes) {
            true => pem::read(bytes)?,
            false => read_pkcs12(bytes, password)?,
        };
        let key = match &key {
            Key::Pkcs8(der) => KeyPair::from_pkcs8(der),
            Key::Pkcs1(der) => KeyPair::from_der(der),
        }
        .map_err(|rejected| match is_elliptic(key.der()) {
            true => "its key is elliptic, and Entra takes RSA keys only".to_owned(),
            false => format!("its key is not an RSA key of 2048 to 4096 bits ({rejected})"),
        })?;
        Ok(Self {
            chain: chain(&key, certificates)?.into(),
            key: Arc::new(key),
        })
    }

    /// The assertion that stands for a password in a request for a token.
    /// <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        now: OffsetDateTime,
        send_chain: bool,
    ) -> Result<String> {
        let certificate = &self.chain[0];
        let header = Header {
            alg: "PS256",
            typ: "JWT",
            x5t: BASE64URL.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate)),
            x5t_s256: BASE64URL.encode(digest(&SHA256, certificate)),
            x5c: send_chain.then(|| self.chain.iter().map(|der| BASE64.encode(der)).collect()),
        };
        let claims = Claims {
            aud: audience,
            iss: client_id,
            sub: client_id,
            jti: Uuid::new_v4().to_string(),
            iat: now.unix_timestamp(),
            nbf: now.unix_timestamp(),
            exp: (now + LIFETIME).unix_timestamp(),
        };
        let text = format!("{}.{}", part(&header)?, part(&claims)?);
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| refused("memory", "its key could not sign".to_owned()))?;
        Ok(format!("{text}.{}", BASE64URL.encode(signature)))
    }
}

/// The thumbprint is how a certificate is listed in the portal.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.chain[0]);
        let thumbprint: String = thumbprint.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        f.debug_struct("ClientCertificate")
            .field("thumbprint", &thumbprint)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Header {
    alg: &'static str,
    typ: &'static str,
    x5t: String,
    #[serde(rename = "x5t#S256")]
    x5t_s256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// What a file of either kind holds.
struct Contents {
    key: Key,
    certificates: Vec<Vec<u8>>,
}

enum Key {
    Pkcs8(Zeroizing<Vec<u8>>),
    Pkcs1(Zeroizing<Vec<u8>>),
}

impl Key {
    fn der(&self) -> &[u8] {
        match self {
            Self::Pkcs8(der) | Self::Pkcs1(der) => der,
        }
    }
}

/// The certificates of a file with the key's own in front.
fn chain(key: &KeyPair, mut certificates: Vec<Vec<u8>>) -> std::result::Result<Vec<Vec<u8>>, String> {
    if certificates.is_empty() {
        return Err("there is a key in it and no certificate".to_owned());
    }
    // A certificate holds its public key in the same DER that ring gives, byte for byte, so that no parser is needed.
    let public = key.public_key().as_ref();
    let own = certificates
        .iter()
        .position(|der| der.windows(public.len()).any(|window| window == public))
        .ok_or("none of its certificates belongs to its key")?;
    certificates[..=own].rotate_right(1);
    Ok(certificates)
}

fn is_elliptic(der: &[u8]) -> bool {
    der.windows(EC_PUBLIC_KEY_OID.len())
        .any(|window| window == EC_PUBLIC_KEY_OID)
}

#[cfg(feature = "pkcs12")]
fn read_pkcs12(bytes: &[u8], password: Option<&Secret>) -> std::result::Result<Contents, String> {
    pkcs12::read(bytes, password.map_or("", Secret::secret))
}

#[cfg(not(feature = "pkcs12"))]
fn read_pkcs12(_: &[u8], _: Option<&Secret>) -> std::result::Result<Contents, String> {
    Err("it is not PEM, and the feature `pkcs12` of iothub-auth is off".to_owned())
}

fn part(value: &impl Serialize) -> Result<String> {
    Ok(BASE64URL.encode(serde_json::to_vec(value)?))
}

fn refused(source: &str, reason: String) -> Error {
    let source = source.to_owned();
    CredentialError::Certificate { source, reason }.into()
}

/// 1.2.840.10045.2.1, as RFC 5480 has it.
const EC_PUBLIC_KEY_OID: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const LIFETIME: Duration = Duration::minutes(10);

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, process::Command};

    use serde_json::{Value, json};

    use super::*;

    fn file(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata")).join(name)
    }

    fn load(name: &str, password: &str) -> Result<ClientCertificate> {
        let password = (!password.is_empty()).then(|| Secret::new(password.to_owned()));
        ClientCertificate::from_file(file(name), password)
    }

    fn assertion(certificate: &ClientCertificate, send_chain: bool) -> [String; 3] {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let text = certificate.assertion(
            "the-client",
            "https://login.example/t/oauth2/v2.0/token",
            now,
            send_chain,
        );
        let parts: Vec<String> = text.unwrap().split('.').map(str::to_owned).collect();
        parts.try_into().unwrap()
    }

    fn decode(part: &str) -> Value {
        serde_json::from_slice(&BASE64URL.decode(part).unwrap()).unwrap()
    }

    /// As OpenSSL computed it.
    fn thumbprint(algorithm: &str) -> String {
        let lines = include_str!("../testdata/thumbprints.txt").lines();
        let standard = lines
            .filter_map(|line| line.split_once(' '))
            .find(|it| it.0 == algorithm)
            .unwrap()
            .1;
        standard.replace('+', "-").replace('/', "_").replace('=', "")
    }

    const FORMS: &[(&str, &str)] = &[
        ("app.pem", ""),
        ("app-reversed-pkcs1.pem", ""),
        #[cfg(feature = "pkcs12")]
        ("app.p12", "test-password"),
        #[cfg(feature = "pkcs12")]
        ("app-no-password.p12", ""),
        #[cfg(feature = "pkcs12")]
        ("app-3des.p12", "test-password"),
        #[cfg(feature = "pkcs12")]
        ("app-rc2.p12", "test-password"),
    ];

    #[test]
    fn every_form_of_the_file_gives_the_same_assertion() {
        for (name, password) in FORMS {
            let certificate = load(name, password).unwrap();
            let [header, claims, _] = assertion(&certificate, false);
            let expected = json!({
                "alg": "PS256",
                "typ": "JWT",
                "x5t": thumbprint("sha1"),
                "x5t#S256": thumbprint("sha256"),
            });
            assert_eq!(decode(&header), expected, "{name}");
            let mut claims = decode(&claims);
            let jti = claims["jti"].take();
            assert!(jti.as_str().unwrap().len() == 36, "{jti}");
            let expected = json!({
                "aud": "https://login.example/t/oauth2/v2.0/token",
                "iss": "the-client",
                "sub": "the-client",
                "jti": null,
                "iat": 1_700_000_000,
                "nbf": 1_700_000_000,
                "exp": 1_700_000_600,
            });
            assert_eq!(claims, expected, "{name}");
        }
    }

    #[test]
    fn the_chain_is_sent_as_der_with_the_own_certificate_first() {
        let base64 = |pem: &str| {
            pem.lines()
                .filter(|line| !line.starts_with("-----"))
                .collect::<String>()
        };
        let leaf = base64(include_str!("../testdata/leaf.pem"));
        let authority = base64(include_str!("../testdata/ca.pem"));
        for (name, password) in FORMS {
            let certificate = load(name, password).unwrap();
            let [header, ..] = assertion(&certificate, true);
            assert_eq!(decode(&header)["x5c"], json!([leaf, authority]), "{name}");
        }
    }

    #[test]
    fn openssl_takes_the_signature() {
        let directory = std::env::temp_dir().join(format!("assertion-{}", Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        let [header, claims, signature] = assertion(&load("app.pem", "").unwrap(), false);
        std::fs::write(directory.join("text"), format!("{header}.{claims}")).unwrap();
        std::fs::write(directory.join("signature"), BASE64URL.decode(signature).unwrap()).unwrap();

        let openssl = Command::new("openssl")
            .args([
                "dgst",
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:32",
            ])
            .arg("-verify")
            .arg(file("app.pub"))
            .arg("-signature")
            .arg(directory.join("signature"))
            .arg(directory.join("text"))
            .output();

        std::fs::remove_dir_all(&directory).unwrap();
        match openssl {
            Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "Verified OK"),
            Err(error) => println!("not checked, there is no openssl here: {error}"),
        }
    }

    #[test]
    fn each_assertion_has_an_id_of_its_own() {
        let certificate = load("app.pem", "").unwrap();
        let id = || decode(&assertion(&certificate, false)[1])["jti"].clone();
        assert_ne!(id(), id());
    }

    #[test]
    fn a_file_that_will_not_do_is_named_with_what_is_wrong() {
        let check = |name: &str, password: &str, expected: &str| {
            let error = load(name, password).unwrap_err();
            assert!(
                matches!(CredentialError::of(&error), Some(CredentialError::Certificate { .. })),
                "{name}"
            );
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains(name), "{name}: {text}");
            assert!(!format!("{error:?}").contains("test-password"));
        };
        check("there-is-none.pem", "", "cannot be read");
        check("leaf.pem", "", "there is no key in it");
        check("app-of-another.pem", "", "none of its certificates belongs to its key");
        check("app-encrypted.pem", "", "its key is encrypted");
        check("app-encrypted-pkcs1.pem", "", "its key is encrypted");
        check("small.pem", "", "2048 to 4096 bits");
        check("ec.pem", "", "elliptic");
        check("ec-sec1.pem", "", "elliptic");
        check("app.pub", "", "there is no key in it");
        if cfg!(feature = "pkcs12") {
            check("app.p12", "wrong", "the password is wrong");
            check("app.p12", "", "it has a password and none was given");
            check("app-rc2.p12", "wrong", "the password is wrong");
            check("ec.p12", "test-password", "elliptic");
            check("no-key.p12", "test-password", "there is no key in it");
            check("make.sh", "", "neither PEM nor PKCS#12");
        } else {
            check("app.p12", "test-password", "the feature `pkcs12` of iothub-auth is off");
        }
    }

    #[test]
    fn broken_files_are_refused_without_a_panic() {
        for name in ["app.pem", "app.p12"] {
            let whole = std::fs::read(file(name)).unwrap();
            for length in (0..whole.len()).step_by(97) {
                let password = Some(Secret::new("test-password"));
                let cut = ClientCertificate::from_bytes(&whole[..length], password);
                assert!(cut.is_err() || name == "app.pem", "{name} {length}");
            }
        }
    }
}
