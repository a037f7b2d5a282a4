use azure_core::error::ErrorKind;
use iothub_transport_http::{HyperOptions, HyperTransport, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::server::{Authority, Seen, Server, get, ok, read_head};

fn through(proxy: String, except: &[&str], authority: &Authority) -> HyperTransport {
    let url = proxy.parse().unwrap();
    let except = except.iter().map(|&host| host.to_owned()).collect();
    HyperTransport::new(HyperOptions {
        proxy: Proxy::Via { url, except },
        ..authority.options()
    })
    .unwrap()
}

/// A proxy that leads every tunnel for the right user to `port`.
async fn relay<S>(mut client: S, port: u16)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let asked = read_head(&mut client).await;
    assert!(
        asked.starts_with("CONNECT hub.example:443 HTTP/1.1\r\nHost: hub.example:443\r\n"),
        "{asked}"
    );
    // base64 of `user:pass word`, made with coreutils.
    if !asked.contains("Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n") {
        client
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            .await
            .unwrap();
        return;
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_tunnel_leads_to_the_hub_and_tls_is_checked_end_to_end() {
    let authority = Authority::new();
    let hub = Server::answering(authority.server("hub.example"), |_| async { ok("through") }).await;
    let port = hub.port;
    let proxy = Server::tcp(move |client| async move {
        relay(client, port).await;
        Seen::Done
    })
    .await;
    let transport = through(
        format!("http://user:pass%20word@127.0.0.1:{}", proxy.port),
        &[],
        &authority,
    );
    let response = get(&transport, "https://hub.example/").await.unwrap();
    assert_eq!(&**response.body(), b"through");
}

#[tokio::test]
async fn a_proxy_may_speak_tls_itself() {
    let authority = Authority::new();
    let hub = Server::answering(authority.server("hub.example").offering(&["h2"]), |_| async {
        ok("twice")
    })
    .await;
    let port = hub.port;
    let identity = authority.server("localhost").offering(&["http/1.1"]);
    let proxy = Server::scripted(identity, move |client| relay(client, port)).await;
    let transport = through(
        format!("https://user:pass%20word@localhost:{}", proxy.port),
        &[],
        &authority,
    );
    let response = get(&transport, "https://hub.example/").await.unwrap();
    assert_eq!(&**response.body(), b"twice");
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_named() {
    let authority = Authority::new();
    let proxy = Server::tcp(|client| async move {
        relay(client, 0).await;
        Seen::Done
    })
    .await;
    let transport = through(format!("http://user:secret@127.0.0.1:{}", proxy.port), &[], &authority);
    let error = get(&transport, "https://hub.example/").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Other);
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("407") && text.contains(&format!("127.0.0.1:{}", proxy.port)),
        "{text}"
    );
    assert!(!text.contains("secret") && !text.contains("dXNlcjpzZWNyZXQ"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_is_away_or_hangs_up_is_worth_another_try() {
    let authority = Authority::new();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = through(format!("http://{free}"), &[], &authority);
    let error = get(&away, "https://hub.example/").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");

    let proxy = Server::tcp(|mut client| async move {
        read_head(&mut client).await;
        Seen::Done
    })
    .await;
    let hangs_up = through(format!("http://127.0.0.1:{}", proxy.port), &[], &authority);
    let error = get(&hangs_up, "https://hub.example/").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Connection, "{error}");
}

#[tokio::test]
async fn excepted_hosts_and_plain_http_do_not_pass_the_proxy() {
    let authority = Authority::new();
    let mut proxy = Server::tcp(|mut client| async move {
        let _ = client.read_to_end(&mut Vec::new()).await;
        Seen::Done
    })
    .await;
    let hub = Server::answering(authority.server("localhost"), |_| async { ok("direct") }).await;
    let transport = through(format!("http://127.0.0.1:{}", proxy.port), &["localhost"], &authority);
    assert_eq!(&**get(&transport, &hub.url("/")).await.unwrap().body(), b"direct");

    let identity = Server::tcp(|mut tcp| async move {
        read_head(&mut tcp).await;
        tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain")
            .await
            .unwrap();
        Seen::Done
    })
    .await;
    assert_eq!(
        &**get(&transport, &format!("http://127.0.0.1:{}/", identity.port))
            .await
            .unwrap()
            .body(),
        b"plain"
    );
    assert!(proxy.has_seen_nothing());
}
