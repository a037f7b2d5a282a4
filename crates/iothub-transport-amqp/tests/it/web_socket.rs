use std::io;

use azure_core::error::ErrorKind;
use futures::{FutureExt, SinkExt, StreamExt};
use iothub_core::amqp::{AmqpBody, AmqpError, AmqpScope, Outcome, ReceiverLink};
use iothub_transport_amqp::{AmqpOptions, Carrier, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        self, Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};

use crate::{
    certificates::Authority,
    peer::{Order, Peer, Script},
    sending,
};

/// What the server side of a WebSocket does besides carrying bytes.
#[derive(Clone, Default)]
struct Door {
    /// The subprotocol to answer with, `AMQPWSB10` unless set.
    subprotocol: Option<Option<&'static str>>,
    /// Answer the upgrade with this status.
    status: Option<u16>,
}

/// Accepts a WebSocket. Frames are cut without regard for AMQP's, and a ping goes before each. What comes on `also` is
/// sent as it is.
async fn accept(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    door: Door,
    mut also: mpsc::UnboundedReceiver<Message>,
) -> Result<DuplexStream, tungstenite::Error> {
    let tls = acceptor.accept(tcp).await?;
    #[expect(clippy::result_large_err, reason = "the shape of tungstenite's callback")]
    let upgrade = move |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        if let Some(status) = door.status {
            return Err(Response::builder().status(status).body(None).unwrap());
        }
        assert_eq!(request.uri().path(), "/$iothub/websocket");
        assert_eq!(request.headers()["sec-websocket-protocol"], "AMQPWSB10");
        assert!(request.headers()["host"].to_str().unwrap().starts_with("localhost:"));
        if let Some(protocol) = door.subprotocol.unwrap_or(Some("AMQPWSB10")) {
            response
                .headers_mut()
                .insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(tls, upgrade).await?;
    let (ours, mut theirs) = duplex(64 * 1024);
    tokio::spawn(async move {
        let mut buffer = [0; 7];
        loop {
            tokio::select! {
                read = theirs.read(&mut buffer) => match read {
                    Ok(1..) => {
                        socket.feed(Message::Ping("?".into())).await?;
                        socket.send(Message::binary(buffer[..read.unwrap()].to_vec())).await?;
                    }
                    _ => {
                        socket.close(None).await?;
                        // A socket closed with something unread is reset, and takes with it what the client has not read.
                        while socket.next().await.is_some() {}
                        return Ok::<_, tungstenite::Error>(());
                    }
                },
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => theirs.write_all(&bytes).await.map_err(tungstenite::Error::Io)?,
                    Some(Ok(Message::Pong(_))) => {}
                    _ => return Ok(()),
                },
                Some(message) = also.recv() => socket.send(message).await?,
            }
        }
    });
    Ok(ours)
}

async fn peer_behind(door: Door) -> (Peer, mpsc::UnboundedSender<Message>) {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost");
    let (say, also) = mpsc::unbounded_channel();
    let also = std::sync::Mutex::new(Some(also));
    let carrier = move |tcp| {
        let also = also
            .lock()
            .unwrap()
            .take()
            .unwrap_or_else(|| mpsc::unbounded_channel().1);
        accept(acceptor.clone(), tcp, door.clone(), also).map(Result::ok)
    };
    let peer = Peer::start_on(authority.root(), Script::default(), carrier).await;
    (peer, say)
}

fn over_web_socket(peer: &Peer) -> AmqpOptions {
    AmqpOptions {
        carrier: Carrier::WebSocket,
        ..peer.options()
    }
}

#[tokio::test]
async fn messages_go_both_ways() {
    let (mut peer, _say) = peer_behind(Door::default()).await;
    let connection = peer.connect_with(over_web_socket(&peer)).await.unwrap();
    let sender = connection.sender(sending::link()).await.unwrap();
    let body = "y".repeat(200_000);
    let receipt = sender.send(sending::message(&body)).await.unwrap();
    assert!(peer.message().await.ends_with(body.as_bytes()));
    assert!(matches!(receipt.await.unwrap(), Outcome::Accepted));
    let link = ReceiverLink {
        address: "feedback".to_owned(),
        credit: 1,
        properties: Vec::new(),
    };
    let mut receiver = connection.receiver(link).await.unwrap();
    peer.order(Order::Deliver(vec![1], b"\x00\x53\x75\xa0\x02hi".to_vec(), 3));
    assert_eq!(receiver.recv().await.unwrap().message.body, AmqpBody::Data("hi".into()));
    connection.close().await.unwrap();
    peer.gone().await;
}

#[tokio::test]
async fn a_subprotocol_that_is_not_agreed_to_is_refused_for_good() {
    for answer in [None, Some("amqp")] {
        let (peer, _say) = peer_behind(Door {
            subprotocol: Some(answer),
            ..Default::default()
        })
        .await;
        let error = peer.connect_with(over_web_socket(&peer)).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Other);
        assert!(error.to_string().contains("AMQPWSB10"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_upgrade_says_with_what_status() {
    for (status, kind) in [
        (404, ErrorKind::Other),
        (503, ErrorKind::Connection),
        (429, ErrorKind::Connection),
    ] {
        let (peer, _say) = peer_behind(Door {
            status: Some(status),
            ..Default::default()
        })
        .await;
        let error = peer.connect_with(over_web_socket(&peer)).await.unwrap_err();
        assert_eq!(*error.kind(), kind);
        assert!(error.to_string().contains(&format!("answers {status}")), "{error}");
    }
}

#[tokio::test]
async fn text_and_close_frames_end_the_connection() {
    let frame = tungstenite::protocol::CloseFrame {
        code: 1011.into(),
        reason: "restarting".into(),
    };
    for (message, part) in [
        (Message::text("hello"), "text frame"),
        (Message::Close(Some(frame)), "1011"),
        (Message::Close(None), "closed the WebSocket"),
    ] {
        let (peer, say) = peer_behind(Door::default()).await;
        let connection = peer.connect_with(over_web_socket(&peer)).await.unwrap();
        say.send(message).unwrap();
        let reason = connection.closed().await;
        assert_eq!(reason.scope, AmqpScope::Connection);
        assert!(reason.to_string().contains(part), "{reason}");
    }
}

/// A proxy for one connection: what it was asked, and the credentials it wants.
async fn proxy(wants: Option<&'static str>) -> (u16, tokio::task::JoinHandle<io::Result<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        if wants.is_some_and(|wants| !head.contains(wants)) {
            client
                .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                .await?;
            return Ok(head);
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let mut server = TcpStream::connect(target).await?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        Ok(head)
    });
    (port, serving)
}

#[tokio::test]
async fn a_proxy_gives_a_tunnel_and_sees_nothing_else() {
    let (mut peer, _say) = peer_behind(Door::default()).await;
    let (port, serving) = proxy(Some("Proxy-Authorization: Basic dXNlcjpwQHNz\r\n")).await;
    let url = format!("http://user:p%40ss@127.0.0.1:{port}").parse().unwrap();
    let options = AmqpOptions {
        proxy: Proxy::Via {
            url,
            except: Vec::new(),
        },
        ..over_web_socket(&peer)
    };
    let connection = peer.connect_with(options).await.unwrap();
    let sender = connection.sender(sending::link()).await.unwrap();
    sender.send(sending::message("through")).await.unwrap().await.unwrap();
    assert!(peer.message().await.ends_with(b"through"));
    connection.close().await.unwrap();
    drop((sender, connection));
    let head = serving.await.unwrap().unwrap();
    assert!(
        head.starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", peer.host.https_port())),
        "{head}"
    );
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_an_error_that_shows_none() {
    let (peer, _say) = peer_behind(Door::default()).await;
    let (port, _serving) = proxy(Some("Basic b3RoZXI=")).await;
    let url = format!("http://user:secret@127.0.0.1:{port}").parse().unwrap();
    let options = AmqpOptions {
        proxy: Proxy::Via {
            url,
            except: Vec::new(),
        },
        ..over_web_socket(&peer)
    };
    let error = peer.connect_with(options.clone()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Other);
    assert!(error.to_string().contains("407"), "{error}");
    assert!(!format!("{error:?}{options:?}").contains("secret"));
    assert!(AmqpError::of(&error).is_none());
}
