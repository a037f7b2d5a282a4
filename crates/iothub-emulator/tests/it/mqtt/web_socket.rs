use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::header::HeaderValue;
use iothub_emulator::{Door, Event};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{hub, raw};
use crate::client;

#[tokio::test]
async fn devices_come_over_web_sockets_too() {
    let emulator = hub().await;
    for query in ["", "?iothub-no-client-cert=true"] {
        let url = format!("wss://{}/$iothub/websocket{query}", emulator.host());
        let mut request = url.into_client_request().unwrap();
        let protocol = HeaderValue::from_static("mqtt");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let stream = client::tls(&emulator, b"http/1.1").await;
        let (mut socket, response) = client_async(request, stream).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");

        // The border of a message is none of a packet.
        let connect = raw::connect(&emulator, "lamp", true);
        let (head, tail) = connect.split_at(5);
        for part in [head, tail, &[0xC0, 0]] {
            let message = Message::Binary(Bytes::copy_from_slice(part));
            socket.send(message).await.unwrap();
        }
        let mut answer = Vec::new();
        while answer.len() < 6 {
            answer.extend(socket.next().await.unwrap().unwrap().into_data());
        }
        assert_eq!(answer, [0x20, 2, 0, 0, 0xD0, 0]);
    }
    let came = |event: &Event| {
        matches!(
            event,
            Event::Connected {
                door: Door::MqttWebSocket,
                ..
            }
        )
    };
    assert_eq!(emulator.journal().count(came), 2);
}
