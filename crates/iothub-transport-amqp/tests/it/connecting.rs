use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use azure_core::error::ErrorKind;
use iothub_core::{HubHost, amqp::AmqpTransport};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport, Proxy, TlsVersion};
use rustls::version::TLS12;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    certificates::Authority,
    peer::{Event, Peer, Script},
};

/// A server of TLS that counts what clients say inside of it, and where it listens.
async fn counting(acceptor: TlsAcceptor) -> (HubHost, Arc<AtomicUsize>, tokio::task::JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(AtomicUsize::new(0));
    let count = said.clone();
    let served = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        let mut tls = acceptor.accept(tcp).await?;
        let mut buffer = [0; 1024];
        loop {
            match tls.read(&mut buffer).await? {
                0 => return Ok(()),
                more => count.fetch_add(more, Ordering::SeqCst),
            };
        }
    });
    let host: HubHost = "localhost".parse().unwrap();
    (host.with_amqps_port(port), said, served)
}

fn trusting(root: bytes::Bytes) -> AmqpOptions {
    AmqpOptions {
        extra_roots: vec![root],
        platform_roots: false,
        proxy: Proxy::Direct,
        ..Default::default()
    }
}

async fn refused(options: AmqpOptions, acceptor: TlsAcceptor) -> azure_core::Error {
    let (host, said, served) = counting(acceptor).await;
    let error = Fe2o3Transport::new(options).unwrap().connect(&host).await.unwrap_err();
    served.await.unwrap().unwrap_err();
    assert_eq!(said.load(Ordering::SeqCst), 0, "nothing is said before TLS is verified");
    error
}

#[tokio::test]
async fn an_unknown_authority_is_refused_for_good() {
    let error = refused(
        trusting(Authority::new().root()),
        Authority::new().acceptor("localhost"),
    )
    .await;
    assert_eq!(*error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn a_wrong_name_is_refused_for_good() {
    let authority = Authority::new();
    let error = refused(trusting(authority.root()), authority.acceptor("elsewhere.example")).await;
    assert_eq!(*error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_version_below_the_lowest_is_refused_for_good() {
    let authority = Authority::new();
    let options = AmqpOptions {
        min_tls: TlsVersion::Tls13,
        ..trusting(authority.root())
    };
    let error = refused(options, authority.acceptor_speaking("localhost", &[&TLS12])).await;
    assert_eq!(*error.kind(), ErrorKind::Other, "{error}");
}

#[tokio::test]
async fn a_port_that_nobody_serves_may_be_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let host: HubHost = "localhost".parse().unwrap();
    let transport = Fe2o3Transport::new(trusting(Authority::new().root())).unwrap();
    let error = transport.connect(&host.with_amqps_port(port)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
    let nowhere: HubHost = "no-such-hub.invalid".parse().unwrap();
    let error = transport.connect(&nowhere).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_during_tls_may_be_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hung_up = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let host: HubHost = "localhost".parse().unwrap();
    let transport = Fe2o3Transport::new(trusting(Authority::new().root())).unwrap();
    let error = transport.connect(&host.with_amqps_port(port)).await.unwrap_err();
    hung_up.await.unwrap();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_given_up() {
    let limit = Duration::from_millis(50);
    // Nobody accepts, so the handshake gets no answer.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host: HubHost = "localhost".parse().unwrap();
    let host = host.with_amqps_port(listener.local_addr().unwrap().port());
    let options = AmqpOptions {
        tls_timeout: limit,
        ..trusting(Authority::new().root())
    };
    let error = Fe2o3Transport::new(options).unwrap().connect(&host).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection);
    let expected = format!(
        "a TLS handshake with localhost:{} took longer than 50ms",
        host.amqps_port()
    );
    assert!(error.to_string().contains(&expected), "{error}");
    // TLS works, and then nobody answers.
    let authority = Authority::new();
    let (host, said, _served) = counting(authority.acceptor("localhost")).await;
    let options = AmqpOptions {
        open_timeout: limit,
        ..trusting(authority.root())
    };
    let error = Fe2o3Transport::new(options).unwrap().connect(&host).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection);
    assert!(
        error.to_string().contains("the opening of AMQP by localhost"),
        "{error}"
    );
    assert_eq!(said.load(Ordering::SeqCst), 8, "the protocol header");
}

#[tokio::test]
async fn a_peer_that_does_not_speak_amqp_is_refused_for_good() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut tls = acceptor.accept(tcp).await.unwrap();
        tls.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Kept open until the other side has made up its mind.
        drop(tls.read_to_end(&mut Vec::new()).await);
    });
    let host: HubHost = "localhost".parse().unwrap();
    let transport = Fe2o3Transport::new(trusting(authority.root())).unwrap();
    let error = transport.connect(&host.with_amqps_port(port)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Other, "{error}");
    assert!(error.to_string().contains("does not speak AMQP 1.0"), "{error}");
}

#[tokio::test]
async fn the_hub_is_told_its_name_and_our_limits() {
    let mut peer = Peer::start(Script::default()).await;
    let _connection = peer.connect().await;
    let open = peer
        .until(|event| match event {
            Event::Open(open) => Some(open),
            _ => None,
        })
        .await;
    assert_eq!(open.hostname.as_deref(), Some("localhost"));
    assert_eq!(
        (open.max_frame_size.0, open.channel_max.0, open.idle_time_out),
        (65_536, 8191, Some(60_000))
    );
}

#[tokio::test]
async fn roots_that_cannot_be_read_are_named() {
    for (root, part) in [
        ("", "DER"),
        ("-----BEGIN KEY-----\n", "extra_roots[0]"),
        ("garbage", "extra_roots[0]"),
    ] {
        let error = Fe2o3Transport::new(trusting(root.into())).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let none = AmqpOptions {
        platform_roots: false,
        ..Default::default()
    };
    assert!(
        Fe2o3Transport::new(none)
            .unwrap_err()
            .to_string()
            .contains("no root certificate")
    );
}
