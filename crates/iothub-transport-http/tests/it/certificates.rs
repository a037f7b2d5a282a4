use azure_core::error::ErrorKind;
use iothub_transport_http::{HyperOptions, HyperTransport, TlsVersion};
use rustls::version::{TLS12, TLS13};
use time::{Duration, OffsetDateTime};
use tokio::io::AsyncWriteExt;

use crate::server::{Authority, Identity, Seen, Server, get, ok};

/// The server is refused for good, and got nothing but a handshake.
async fn check_refused(transport: &HyperTransport, identity: Identity, reason: &str) {
    let mut server = Server::answering(identity, |_| async { ok("") }).await;
    let error = get(transport, &server.url("/")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Other, "{error}");
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(server.seen().await, Seen::NoHandshake);
    assert!(server.has_seen_nothing());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_for_good() {
    let stranger = Authority::new();
    check_refused(
        &Authority::new().transport(),
        stranger.server("localhost"),
        "UnknownIssuer",
    )
    .await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_for_good() {
    let authority = Authority::new();
    check_refused(
        &authority.transport(),
        authority.server("hub.example"),
        "not valid for name",
    )
    .await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_for_good() {
    let authority = Authority::new();
    let now = OffsetDateTime::now_utc();
    let expired = authority.server_valid("localhost", now - Duration::WEEK, now - Duration::DAY);
    check_refused(&authority.transport(), expired, "expired").await;
    let early = authority.server_valid("localhost", now + Duration::DAY, now + Duration::WEEK);
    check_refused(&authority.transport(), early, "not valid yet").await;
}

#[tokio::test]
async fn a_server_without_tls_1_3_is_refused_where_1_3_is_asked_for() {
    let authority = Authority::new();
    let options = HyperOptions {
        min_tls: TlsVersion::Tls13,
        ..authority.options()
    };
    let strict = HyperTransport::new(options).unwrap();
    check_refused(
        &strict,
        authority.server("localhost").speaking(&[&TLS12]),
        "ProtocolVersion",
    )
    .await;

    let modern = Server::answering(authority.server("localhost").speaking(&[&TLS13]), |_| async {
        ok("1.3")
    })
    .await;
    assert_eq!(&**get(&strict, &modern.url("/")).await.unwrap().body(), b"1.3");
    let older = Server::answering(authority.server("localhost").speaking(&[&TLS12]), |_| async {
        ok("1.2")
    })
    .await;
    assert_eq!(
        &**get(&authority.transport(), &older.url("/")).await.unwrap().body(),
        b"1.2"
    );
}

#[tokio::test]
async fn a_server_that_wants_an_older_tls_is_refused_for_good() {
    // A fatal alert `protocol_version` in a TLS 1.0 record, as old servers send it.
    let server = Server::tcp(|mut tcp| async move {
        tcp.write_all(&[21, 3, 1, 0, 2, 2, 70]).await.unwrap();
        Seen::NoHandshake
    })
    .await;
    let error = get(&Authority::new().transport(), &server.url("/")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Other, "{error}");
}

#[tokio::test]
async fn a_handshake_that_breaks_off_may_be_tried_again() {
    let server = Server::tcp(|tcp| async move {
        drop(tcp);
        Seen::NoHandshake
    })
    .await;
    let error = get(&Authority::new().transport(), &server.url("/")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn a_handshake_that_hangs_is_given_up() {
    let server = Server::tcp(|tcp| async move {
        std::future::pending::<()>().await;
        drop(tcp);
        Seen::NoHandshake
    })
    .await;
    let options = HyperOptions {
        tls_timeout: std::time::Duration::from_millis(100),
        ..Authority::new().options()
    };
    let error = get(&HyperTransport::new(options).unwrap(), &server.url("/"))
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
    assert!(error.to_string().contains("a TLS handshake with localhost"), "{error}");
}

#[tokio::test]
async fn an_extra_root_is_pem_or_der_beside_the_platforms() {
    let authority = Authority::new();
    for root in [authority.pem(), authority.der()] {
        let options = HyperOptions {
            extra_roots: vec![root],
            platform_roots: true,
            ..authority.options()
        };
        let server = Server::answering(authority.server("localhost"), |_| async { ok("trusted") }).await;
        let response = get(&HyperTransport::new(options).unwrap(), &server.url("/"))
            .await
            .unwrap();
        assert_eq!(&**response.body(), b"trusted");
    }
}

#[test]
fn a_root_that_is_none_is_named() {
    let authority = Authority::new();
    let key = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
    for bad in [
        "not a certificate",
        key,
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let options = HyperOptions {
            extra_roots: vec![authority.pem(), bad.into()],
            ..authority.options()
        };
        let error = HyperTransport::new(options).unwrap_err();
        assert!(
            error.to_string().starts_with("extra_roots[1] is not a certificate"),
            "{error}"
        );
    }
    let none = HyperOptions {
        extra_roots: vec![],
        ..authority.options()
    };
    let error = HyperTransport::new(none).unwrap_err();
    assert!(error.to_string().starts_with("no root certificate"), "{error}");
}
