//! Against tokens and keys that PyJWT and OpenSSL made: `testdata/entra/make.py`.

use std::{fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Entra, EntraOptions, Role, jwt};
use crate::hub::{DataAction, Hub, Principal, VerifyBearer};

/// The tenant of the test data.
fn entra() -> Entra {
    let directory = std::env::temp_dir().join(format!("iothub-emulator-test-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&directory).unwrap();
    for file in ["entra.json", "entra.key", "app.pem"] {
        fs::copy(test_data().join(file), directory.join(file)).unwrap();
    }
    let hub = Hub::new(vec!["localhost".to_owned()], Vec::new());
    let doors = (8444, SocketAddr::from(([127, 0, 0, 1], 8445)));
    let entra = Entra::new(EntraOptions::default(), &hub, doors, Some(&directory)).unwrap();
    fs::remove_dir_all(directory).unwrap();
    entra
}

fn test_data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/entra"))
}

fn tokens(kind: &str) -> impl Fn(&str) -> String {
    let mut all: Value = serde_json::from_slice(&fs::read(test_data().join("tokens.json")).unwrap()).unwrap();
    let kind = all[kind].take();
    move |name| {
        kind[name]
            .as_str()
            .unwrap_or_else(|| panic!("no token {name:?}"))
            .to_owned()
    }
}

/// The code that refuses an assertion, or 0 if it is taken.
fn code(entra: &Entra, assertion: &str) -> u64 {
    match entra.check_assertion(&entra.application(), assertion) {
        Ok(()) => 0,
        Err(refusal) => refusal.to_json(OffsetDateTime::UNIX_EPOCH, None)["error_codes"][0]
            .as_u64()
            .unwrap(),
    }
}

#[test]
fn an_app_proves_itself_with_its_certificate() {
    let (entra, token) = (entra(), tokens("assertion"));
    for (name, expected) in [
        ("RS256, x5t in base64url", 0),
        ("RS256, x5t in padded base64", 0),
        ("PS256, x5t#S256", 0),
        ("audience is the issuer", 0),
        ("audience by address", 0),
        ("another audience", 700_023),
        ("another subject", 700_021),
        ("expired", 700_024),
        ("not yet valid", 700_024),
        ("without expiry", 700_024),
        ("signed with another key", 700_027),
        ("unknown certificate", 700_027),
        ("no certificate named", 700_027),
        ("RS512", 700_027),
        ("HS256", 700_027),
        ("unsigned", 700_027),
    ] {
        assert_eq!(code(&entra, &token(name)), expected, "{name}");
    }
    assert_eq!(code(&entra, "no.token"), 50_027);
}

#[test]
fn a_workload_proves_itself_with_a_token_of_an_issuer_that_its_app_trusts() {
    let (entra, token) = (entra(), tokens("federated"));
    for (name, expected) in [
        ("good", 0),
        ("another issuer", 700_211),
        ("another audience", 700_212),
        ("another subject", 700_213),
        ("expired", 700_024),
        ("signed with another key", 5_000_224),
    ] {
        assert_eq!(code(&entra, &token(name)), expected, "{name}");
    }
    let own = entra
        .federated_token(&entra.application(), std::time::Duration::from_secs(60))
        .unwrap();
    assert_eq!(code(&entra, &own), 0);
    entra.clock().advance(std::time::Duration::from_secs(61));
    assert_eq!(code(&entra, &own), 700_024);
}

#[test]
fn the_hub_takes_tokens_of_its_issuer_only() {
    let (entra, token) = (entra(), tokens("access"));
    let now = entra.clock().now();
    for (name, reason) in [
        ("expired", "it has expired"),
        ("without expiry", "it has no expiry"),
        ("not yet valid", "it is not valid yet"),
        ("another issuer", "its issuer is not trusted"),
        ("another audience", "its audience is another resource"),
        ("signed with another key", "it is not signed by a key of the issuer"),
        ("unsigned", "it is not signed by a key of the issuer"),
    ] {
        let failure = entra.verify(&token(name), now).unwrap_err();
        assert_eq!(
            failure.message,
            format!("the bearer token is refused: {reason}"),
            "{name}"
        );
    }

    let grant = entra.verify(&token("good"), now).unwrap();
    assert_eq!(
        *grant.principal(),
        Principal::App("c3a1be0f-2f2d-4f0e-8d43-51a7f1f2b0aa".to_owned())
    );
    assert_eq!(grant.expires().unix_timestamp(), 4_102_444_800);
    assert!(grant.may(DataAction::SendMessages) && !grant.may(DataAction::Connect));
}

#[test]
fn what_a_token_allows_follows_from_the_roles_of_the_moment() {
    let (entra, token) = (entra(), tokens("access"));
    let may = |name: &str, action| entra.verify(&token(name), entra.clock().now()).unwrap().may(action);
    assert!(may("good", DataAction::WriteDevices));
    entra
        .application()
        .set_roles(&[Role::DataReader, Role::TwinContributor]);
    assert!(!may("good", DataAction::WriteDevices));
    assert!(may("good", DataAction::ReadDevices) && may("good", DataAction::WriteTwins));
    entra.application().set_roles(&[]);
    assert!(!may("good", DataAction::ReadDevices));
    assert!(may("for the identity", DataAction::ReadDevices));
    assert!(!may("of somebody who is gone", DataAction::ReadDevices));
}

#[test]
fn the_emulator_signs_byte_for_byte_as_another_implementation_does() {
    let entra = entra();
    let claims = json!({
        "aud": "https://iothubs.azure.net",
        "exp": 4_102_444_800_u32,
        "iss": "https://localhost:8444/5d2f6ec2-9a43-4d2c-8d8a-6a9d0d0d7c11/v2.0",
        "nbf": 1_600_000_000,
        "oid": "c3a1be0f-2f2d-4f0e-8d43-51a7f1f2b0aa",
    });
    let key = entra.key().get().unwrap();
    assert_eq!(jwt::sign(&claims, &key).unwrap(), tokens("access")("good"));
}

#[test]
fn a_secret_is_compared_whole() {
    let app = entra().application();
    assert!(app.has_secret("a client secret"));
    for wrong in [
        "",
        "a client secre",
        "a client secret ",
        "a client secret\0",
        "A client secret",
    ] {
        assert!(!app.has_secret(wrong), "{wrong:?}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let entra = entra();
    let app = entra.application();
    let shown = format!("{entra:?} {app:?} {:?}", entra.key());
    for secret in [
        app.client_secret(),
        app.certificate_password(),
        entra.identity_header(),
        "PRIVATE KEY",
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
