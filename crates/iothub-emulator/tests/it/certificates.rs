//! Devices that show who they are with a certificate.

use std::time::Duration;

use iothub_emulator::{Emulator, EmulatorOptions, Event, Principal};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use time::OffsetDateTime;

use crate::client::{Client, Identity};

/// An authority of devices: its certificate, and what it signs with.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// Itself and those above it but the root, to be presented.
    above: Vec<rustls_pki_types::CertificateDer<'static>>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let above = Vec::new();
        Self { pem, issuer, above }
    }

    fn below(&self, name: &str) -> Self {
        let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            above: vec![certificate.der().clone()],
        }
    }

    pub(crate) fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name).signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend_from_slice(&self.above);
        Identity {
            chain,
            key: pkcs8(&key),
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }
}

pub(crate) fn self_signed(name: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = params(name).self_signed(&key).unwrap();
    Identity {
        chain: vec![certificate.der().clone()],
        key: pkcs8(&key),
    }
}

pub(crate) fn thumbprint(identity: &Identity, algorithm: &'static Algorithm) -> String {
    let digest = digest(algorithm, &identity.chain[0]);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(60);
    params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(3600);
    params
}

fn pkcs8(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))
}

/// Makes a device or module that comes with a certificate.
pub(crate) async fn create(owner: &mut Client, path: &str, authentication: serde_json::Value) {
    let ids: Vec<&str> = path.split('/').collect();
    let body = match ids[..] {
        ["", "devices", device] => json!({"deviceId": device, "authentication": authentication}),
        ["", "devices", device, "modules", module] => {
            json!({"deviceId": device, "moduleId": module, "authentication": authentication})
        }
        _ => panic!("{path}"),
    };
    let created = owner.put(path, None, &body.to_string()).await;
    assert_eq!(created.outcome(), "200");
}

/// What happens when the device sends a message.
async fn send(client: &mut Client, device: &str) -> String {
    let path = format!("/devices/{device}/messages/events");
    client.call("POST", &path, &[], "on").await.outcome()
}

#[tokio::test]
async fn a_certificate_with_one_of_the_thumbprints_lets_a_device_in() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let [first, second, other] = ["a", "b", "c"].map(self_signed);
    for (device, algorithm) in [("sha1", &SHA1_FOR_LEGACY_USE_ONLY), ("sha256", &SHA256)] {
        let [primary, secondary] = [&first, &second].map(|identity| thumbprint(identity, algorithm));
        let thumbprints = json!({"primaryThumbprint": primary, "secondaryThumbprint": secondary.to_lowercase()});
        let authentication = json!({"type": "selfSigned", "x509Thumbprint": thumbprints});
        create(&mut owner, &format!("/devices/{device}"), authentication).await;
        for (identity, expected) in [
            (&first, "204"),
            (&second, "204"),
            (&other, "401 IotHubUnauthorizedAccess"),
        ] {
            let mut client = Client::with_certificate(&emulator, identity).await;
            assert_eq!(send(&mut client, device).await, expected, "{device}");
        }
    }
    let came = |event: &Event| matches!(event, Event::Authorized { principal: Principal::Device(target) } if target.device() == "sha256");
    assert_eq!(emulator.journal().count(came), 2);
    let mut bare = Client::new(&emulator, "device").await;
    bare.token.clear();
    assert_eq!(send(&mut bare, "sha1").await, "401 IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_lets_in_whom_it_is_made_out_to() {
    let authority = Authority::new("fleet");
    let emulator = Emulator::start(EmulatorOptions {
        device_authorities: vec![authority.pem.clone()],
        ..Default::default()
    })
    .await
    .unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    create(&mut owner, "/devices/lamp", json!({"type": "certificateAuthority"})).await;
    emulator.add_device("keyed").unwrap();
    let stranger = Authority::new("stranger");
    for (identity, device, expected) in [
        (authority.issue("lamp"), "lamp", "204"),
        (authority.below("plant").issue("lamp"), "lamp", "204"),
        (authority.issue("door"), "lamp", "401 IotHubUnauthorizedAccess"),
        (authority.issue("keyed"), "keyed", "401 IotHubUnauthorizedAccess"),
        (authority.issue("nobody"), "nobody", "401 IotHubUnauthorizedAccess"),
        (stranger.issue("lamp"), "lamp", "401 IotHubUnauthorizedAccess"),
        (self_signed("lamp"), "lamp", "401 IotHubUnauthorizedAccess"),
    ] {
        let mut client = Client::with_certificate(&emulator, &identity).await;
        assert_eq!(send(&mut client, device).await, expected, "{device}");
    }
    emulator.trust_device_authority(&stranger.pem).unwrap();
    let mut client = Client::with_certificate(&emulator, &stranger.issue("lamp")).await;
    assert_eq!(send(&mut client, "lamp").await, "204");
}

#[tokio::test]
async fn a_certificate_opens_nothing_but_the_device_and_not_for_longer_than_it_holds() {
    let authority = Authority::new("fleet");
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.trust_device_authority(&authority.pem).unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    create(&mut owner, "/devices/lamp", json!({"type": "certificateAuthority"})).await;
    let mut lamp = Client::with_certificate(&emulator, &authority.issue("lamp")).await;
    for path in ["/devices/lamp", "/devices", "/twins/lamp", "/statistics/devices"] {
        assert_eq!(lamp.get(path).await.status, 401, "{path}");
    }
    assert_eq!(send(&mut lamp, "lamp").await, "204");
    emulator.clock().advance(Duration::from_secs(3601));
    assert_eq!(send(&mut lamp, "lamp").await, "401 IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn an_authority_that_is_none_is_refused() {
    for (pem, why) in [
        ("", "there is none"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "reading the certificate",
        ),
    ] {
        let options = EmulatorOptions {
            device_authorities: vec![pem.to_owned()],
            ..Default::default()
        };
        let error = Emulator::start(options).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
