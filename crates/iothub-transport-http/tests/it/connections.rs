use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use azure_core::http::{Method, Request};
use azure_core::{error::ErrorKind, http::HttpClient};
use iothub_transport_http::{HyperOptions, HyperTransport};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::server::{Authority, Seen, Server, answer_raw, get, ok, read_head};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn requests_one_after_another_share_a_connection() {
    let authority = Authority::new();
    for protocol in ["http/1.1", "h2"] {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let identity = authority.server("localhost").offering(&[protocol]);
        let server = Server::scripted(identity, move |stream| {
            count.fetch_add(1, Ordering::SeqCst);
            let service = hyper::service::service_fn(|_| async { Ok::<_, std::convert::Infallible>(ok("ok")) });
            async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            }
        })
        .await;
        let transport = authority.transport();
        for _ in 0..5 {
            get(&transport, &server.url("/")).await.unwrap();
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{protocol}");
    }
}

#[tokio::test]
async fn a_refused_port_is_not_sent() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = get(
        &Authority::new().transport(),
        &format!("https://localhost:{}/", free.port()),
    )
    .await
    .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection);
    assert!(
        error
            .to_string()
            .contains(&format!("cannot connect to localhost:{}", free.port())),
        "{error}"
    );
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_not_sent() {
    let error = get(&Authority::new().transport(), "https://no-such-hub.invalid/")
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
    assert!(error.to_string().contains("no-such-hub.invalid:443"), "{error}");
}

#[tokio::test]
async fn a_connection_lost_after_the_request_leaves_the_outcome_unknown() {
    let authority = Authority::new();
    let server = Server::scripted(authority.server("localhost"), |mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let error = get(&authority.transport(), &server.url("/")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Io, "{error}");
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_replaced() {
    let authority = Authority::new();
    let mut server = Server::scripted(authority.server("localhost"), |mut stream| async move {
        answer_raw(&mut stream, OK).await;
        stream.shutdown().await.unwrap();
        // The client has noticed once it hangs up as well.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let transport = authority.transport();
    for _ in 0..3 {
        assert_eq!(&**get(&transport, &server.url("/")).await.unwrap().body(), b"ok");
        assert_eq!(server.seen().await, Seen::Done);
    }
}

#[tokio::test]
async fn a_dropped_request_hangs_up() {
    let authority = Authority::new();
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let mut server = Server::scripted(authority.server("localhost"), move |mut stream| {
        let asked = asked.clone();
        async move {
            read_head(&mut stream).await;
            asked.send(()).unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let transport = authority.transport();
    let url = server.url("/");
    tokio::select! {
        _ = get(&transport, &url) => panic!("there is no answer"),
        _ = was_asked.recv() => {}
    }
    assert_eq!(server.seen().await, Seen::Done);
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let authority = Authority::new();
    let server = Server::scripted(authority.server("localhost"), |mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let impatient = authority
        .transport()
        .with_response_head_timeout(Some(Duration::from_millis(200)));
    let error = get(&impatient, &server.url("/")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Io);
    assert_eq!(error.to_string(), "localhost did not answer within 200ms");
}

#[tokio::test]
async fn time_that_ran_out_before_there_was_a_connection_is_not_sent() {
    let server = Server::tcp(|tcp| async move {
        std::future::pending::<()>().await;
        drop(tcp);
        Seen::NoHandshake
    })
    .await;
    let limit = Some(Duration::from_millis(100));
    let options = HyperOptions {
        response_head_timeout: limit,
        ..Authority::new().options()
    };
    let error = get(&HyperTransport::new(options).unwrap(), &server.url("/"))
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
}

/// An HTTP/2 server that answers the first request with `frames`, then hangs up if told so.
async fn http2_answering(authority: &Authority, frames: &'static [u8], hang_up: bool) -> Server {
    Server::scripted(
        authority.server("localhost").offering(&["h2"]),
        move |mut stream| async move {
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            stream.write_all(&settings).await.unwrap();
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            loop {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                stream.read_exact(&mut vec![0; length as usize]).await.unwrap();
                const HEADERS: u8 = 1;
                if head[3] == HEADERS {
                    break;
                }
            }
            stream.write_all(frames).await.unwrap();
            if !hang_up {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        },
    )
    .await
}

#[tokio::test]
async fn http2_says_what_was_not_processed() {
    // RFC 9113 section 6: RST_STREAM (type 3) of stream 1 with a code; GOAWAY (type 7) with last stream and code.
    const REFUSED_STREAM: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    const INTERNAL_ERROR: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    const GOAWAY_BELOW: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const GOAWAY_AT: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let authority = Authority::new();
    for (frames, hang_up, kind) in [
        (REFUSED_STREAM, false, ErrorKind::Connection),
        (GOAWAY_BELOW, false, ErrorKind::Connection),
        (INTERNAL_ERROR, false, ErrorKind::Io),
        (GOAWAY_AT, true, ErrorKind::Io),
    ] {
        let server = http2_answering(&authority, frames, hang_up).await;
        let request = Request::new(server.url("/").parse().unwrap(), Method::Post);
        let error = authority.transport().execute_request(&request).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{frames:?}: {error}");
    }
}
