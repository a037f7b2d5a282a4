use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, header::HeaderValue};
use iothub_emulator::{Emulator, EmulatorOptions};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use crate::client;

/// A request of a client that speaks AMQP.
fn request(emulator: &Emulator, path: &str) -> Request<()> {
    let url = format!("wss://{}{path}", emulator.host());
    let mut request = url.into_client_request().unwrap();
    let protocol = HeaderValue::from_static("AMQPWSB10");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    request
}

#[tokio::test]
async fn both_paths_lead_to_amqp() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for path in [
        "/$iothub/websocket",
        "/$iothub/websocket/",
        "/$servicebus/websocket/",
        "/$servicebus/websocket?iothub-no-client-cert=true",
        "/$IotHub/WebSocket",
    ] {
        let stream = client::tls(&emulator, b"http/1.1").await;
        let (mut socket, response) = client_async(request(&emulator, path), stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "AMQPWSB10");
        // The header may come in pieces, because message borders mean nothing.
        socket
            .send(Message::Binary(Bytes::from_static(b"AMQP\x03")))
            .await
            .unwrap();
        socket
            .send(Message::Binary(Bytes::from_static(b"\x01\x00\x00")))
            .await
            .unwrap();
        let mut answer = Vec::new();
        while answer.len() < 8 {
            answer.extend(socket.next().await.unwrap().unwrap().into_data());
        }
        assert_eq!(answer[..8], *b"AMQP\x03\x01\x00\x00", "{path}");
    }
}

#[tokio::test]
async fn other_paths_and_protocols_stay_http() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut other = request(&emulator, "/$iothub/websocket");
    other
        .headers_mut()
        .insert("sec-websocket-protocol", HeaderValue::from_static("chat"));
    for (request, expected) in [(request(&emulator, "/websocket"), 401), (other, 400)] {
        let stream = client::tls(&emulator, b"http/1.1").await;
        let Err(Error::Http(response)) = client_async(request, stream).await else {
            panic!("this should not become a WebSocket");
        };
        assert_eq!(response.status(), expected);
    }
}
