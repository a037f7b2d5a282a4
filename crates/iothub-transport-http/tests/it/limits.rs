use std::time::Duration;

use azure_core::error::ErrorKind;
use http_body_util::Full;
use hyper::Response;
use iothub_transport_http::{HyperOptions, HyperTransport};
use tokio::io::AsyncWriteExt;

use crate::server::{Authority, Server, answer_raw, get, ok};

/// The kind and text of the error that `answer`, sent as it stands, ends in. The connection closes after it.
async fn error_of(options: impl FnOnce(&mut HyperOptions), answer: Vec<u8>) -> (ErrorKind, String) {
    let authority = Authority::new();
    let server = Server::scripted(authority.server("localhost"), move |mut stream| {
        let answer = answer.clone();
        async move {
            answer_raw(&mut stream, &answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let mut changed = authority.options();
    options(&mut changed);
    let error = get(&HyperTransport::new(changed).unwrap(), &server.url("/"))
        .await
        .unwrap_err();
    (error.kind().clone(), error.to_string())
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n",
        "a".repeat(70_000)
    );
    let (kind, text) = error_of(|_| {}, head.into_bytes()).await;
    assert_eq!(kind, ErrorKind::DataConversion, "{text}");

    let many: String = (0..300).map(|n| format!("x-{n}: 1\r\n")).collect();
    let (kind, text) = error_of(|_| {}, format!("HTTP/1.1 200 OK\r\n{many}\r\n").into_bytes()).await;
    assert_eq!(kind, ErrorKind::DataConversion, "{text}");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused_over_http2() {
    let authority = Authority::new();
    for (length, fits) in [(60_000, true), (70_000, false)] {
        let server = Server::answering(authority.server("localhost").offering(&["h2"]), move |_| async move {
            Response::builder()
                .header("x-long", "a".repeat(length))
                .body(Full::default())
                .unwrap()
        })
        .await;
        let outcome = get(&authority.transport(), &server.url("/")).await;
        assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
        if let Err(error) = outcome {
            assert_eq!(*error.kind(), ErrorKind::DataConversion, "{error}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_refused() {
    let (kind, text) = error_of(|_| {}, b"220 mail.example ESMTP\r\n\r\n".to_vec()).await;
    assert_eq!(kind, ErrorKind::DataConversion, "{text}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let known = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world".to_vec();
    let chunked =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n".to_vec();
    for answer in [known, chunked] {
        let (kind, text) = error_of(|options| options.max_body_bytes = 10, answer).await;
        assert_eq!(kind, ErrorKind::DataConversion);
        assert_eq!(text, "the response body of localhost is over the limit of 10 bytes");
    }

    let authority = Authority::new();
    let server = Server::answering(authority.server("localhost"), |_| async { ok("hello world") }).await;
    let options = HyperOptions {
        max_body_bytes: 11,
        ..authority.options()
    };
    let response = get(&HyperTransport::new(options).unwrap(), &server.url("/"))
        .await
        .unwrap();
    assert_eq!(&**response.body(), b"hello world");
}

#[tokio::test]
async fn a_truncated_body_is_never_taken_for_whole() {
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello \r\n".to_vec();
    for answer in [short, chunked] {
        let (kind, text) = error_of(|_| {}, answer).await;
        assert_eq!(kind, ErrorKind::Io, "{text}");
        assert!(text.contains("broke off"), "{text}");
    }
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_needs_the_end_of_tls() {
    // Without a length, only TLS's own farewell tells a whole body from one that an attacker cut.
    let authority = Authority::new();
    let server = Server::scripted(authority.server("localhost"), |mut stream| async move {
        answer_raw(&mut stream, b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello").await;
        // Dropped without close_notify.
    })
    .await;
    let error = get(&authority.transport(), &server.url("/")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Io, "{error}");
}

#[tokio::test]
async fn broken_chunks_are_not_worth_another_try() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n".to_vec();
    let (kind, text) = error_of(|_| {}, answer).await;
    assert_eq!(kind, ErrorKind::DataConversion, "{text}");
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let authority = Authority::new();
    let server = Server::scripted(authority.server("localhost"), |mut stream| async move {
        answer_raw(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello").await;
        std::future::pending::<()>().await;
    })
    .await;
    let options = HyperOptions {
        body_stall_timeout: Duration::from_millis(200),
        ..authority.options()
    };
    let error = get(&HyperTransport::new(options).unwrap(), &server.url("/"))
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("stalled after 5 bytes"), "{error}");
}

#[test]
fn a_head_limit_that_hyper_cannot_keep_is_refused() {
    let options = HyperOptions {
        max_head_bytes: 1000,
        ..Authority::new().options()
    };
    let error = HyperTransport::new(options).unwrap_err();
    assert!(error.to_string().starts_with("max_head_bytes is 1000"), "{error}");
}
