use azure_core::{
    error::ErrorKind,
    http::{Body, Method, Request, StatusCode, headers::HeaderName},
    stream::{BytesStream, SeekableStream},
};
use futures::io::AsyncRead;
use http_body_util::{BodyExt, Full};
use hyper::{Response, Version, body::Incoming};
use tokio::io::AsyncWriteExt;

use crate::server::{Authority, Seen, Server, get, ok, read_head, send};

/// Tells the client what its request looked like.
async fn describe(request: hyper::Request<Incoming>) -> Response<Full<bytes::Bytes>> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .map_or("-", |value| value.to_str().unwrap())
            .to_owned()
    };
    let about = format!(
        "{:?} {} {} {} {} ",
        request.version(),
        request.method(),
        request.uri().path_and_query().unwrap(),
        header("content-length"),
        header("transfer-encoding"),
    );
    let body = request.into_body().collect().await.unwrap().to_bytes();
    ok([about.as_bytes(), &body].concat())
}

#[tokio::test]
async fn requests_arrive_as_they_were_made() {
    let authority = Authority::new();
    let server = Server::answering(authority.server("localhost").offering(&["http/1.1"]), describe).await;
    let transport = authority.transport();
    for (method, body, expected) in [
        (Method::Get, Body::from(""), "HTTP/1.1 GET /a%2Fb?c=%20 - - "),
        (Method::Delete, Body::from(""), "HTTP/1.1 DELETE /a%2Fb?c=%20 - - "),
        (Method::Post, Body::from(""), "HTTP/1.1 POST /a%2Fb?c=%20 0 - "),
        (Method::Patch, Body::from("{}"), "HTTP/1.1 PATCH /a%2Fb?c=%20 2 - {}"),
        (
            Method::Put,
            stream(BytesStream::new("stream")),
            "HTTP/1.1 PUT /a%2Fb?c=%20 6 - stream",
        ),
        (
            Method::Put,
            stream(Endless::new("chunks")),
            "HTTP/1.1 PUT /a%2Fb?c=%20 - chunked chunks",
        ),
    ] {
        let mut request = Request::new(server.url("/a%2Fb?c=%20").parse().unwrap(), method);
        request.set_body(body);
        let response = send(&transport, request).await.unwrap();
        assert_eq!(str::from_utf8(response.body()).unwrap(), expected);
    }
}

#[tokio::test]
async fn http2_is_spoken_where_the_server_takes_it() {
    let authority = Authority::new();
    for (offered, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let server = Server::answering(authority.server("localhost").offering(offered), describe).await;
        let response = get(&authority.transport(), &server.url("/")).await.unwrap();
        assert!(
            str::from_utf8(response.body())
                .unwrap()
                .starts_with(&format!("{version:?} GET"))
        );
    }
}

#[tokio::test]
async fn many_requests_at_once_are_answered_each() {
    let authority = Authority::new();
    for protocol in ["h2", "http/1.1"] {
        let server = Server::answering(authority.server("localhost").offering(&[protocol]), describe).await;
        let transport = authority.transport();
        let paths: Vec<_> = (0..50).map(|n| server.url(&format!("/{n}"))).collect();
        let answers = futures::future::join_all(paths.iter().map(|url| get(&transport, url))).await;
        for (n, answer) in answers.into_iter().enumerate() {
            assert!(
                str::from_utf8(answer.unwrap().body())
                    .unwrap()
                    .contains(&format!(" /{n} "))
            );
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let authority = Authority::new();
    let mut target = Server::answering(authority.server("localhost"), |_| async { ok("") }).await;
    let location = target.url("/");
    let server = Server::answering(authority.server("localhost"), move |_| {
        let redirect = Response::builder().status(307).header("location", location.clone());
        async move { redirect.body(Full::default()).unwrap() }
    })
    .await;
    let response = get(&authority.transport(), &server.url("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::TemporaryRedirect);
    assert!(target.has_seen_nothing());
}

#[tokio::test]
async fn a_body_stays_compressed() {
    let authority = Authority::new();
    let server = Server::answering(authority.server("localhost"), |request| async move {
        assert!(!request.headers().contains_key("accept-encoding"));
        Response::builder()
            .header("content-encoding", "gzip")
            .body(Full::from("\u{1f}"))
            .unwrap()
    })
    .await;
    let response = get(&authority.transport(), &server.url("/")).await.unwrap();
    assert_eq!(&**response.body(), b"\x1f");
    assert_eq!(
        response
            .headers()
            .get_optional_str(&HeaderName::from_static("content-encoding")),
        Some("gzip")
    );
}

#[tokio::test]
async fn plain_http_is_spoken_on_loopback_and_refused_elsewhere() {
    let server = Server::tcp(|mut tcp| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain")
            .await
            .unwrap();
        Seen::Done
    })
    .await;
    let transport = Authority::new().transport();
    let response = get(&transport, &format!("http://localhost:{}/", server.port))
        .await
        .unwrap();
    assert_eq!(&**response.body(), b"plain");

    let error = get(&transport, "http://hub.example/").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Other);
    assert!(
        error
            .to_string()
            .starts_with("plain http to hub.example is refused: use https"),
        "{error}"
    );
}

fn stream(stream: impl SeekableStream + 'static) -> Body {
    let stream: Box<dyn SeekableStream> = Box::new(stream);
    stream.into()
}

/// A stream that does not know its length.
#[derive(Clone, Debug)]
struct Endless(BytesStream);

impl Endless {
    fn new(bytes: &'static str) -> Self {
        Self(BytesStream::new(bytes))
    }
}

#[async_trait::async_trait]
impl SeekableStream for Endless {
    async fn reset(&mut self) -> azure_core::Result<()> {
        self.0.reset().await
    }

    fn len(&self) -> Option<u64> {
        None
    }
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}
