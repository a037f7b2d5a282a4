use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use iothub_core::Result;
use iothub_digitaltwin::{Command, JsonPatch};
use iothub_transport_http::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::hub::Hub;

/// An HTTP proxy that makes tunnels to whom it is asked for, and counts them.
async fn proxy() -> (Proxy, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tunnels = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(tunnel(client, Arc::clone(&count)));
        }
    });
    let proxy = Proxy::Via {
        url: url.parse().unwrap(),
        except: Vec::new(),
    };
    (proxy, tunnels)
}

async fn tunnel(mut client: TcpStream, count: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let mut hub = TcpStream::connect(target.expect("a tunnel is asked for"))
        .await
        .unwrap();
    count.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut hub).await;
}

#[tokio::test]
async fn digital_twins_are_reached_through_a_proxy() -> Result<()> {
    let hub = Hub::with_a_device("dtmi:com:example:Thermostat;1").await;
    hub.device.on_method(|_, payload| (200, payload.to_owned()))?;
    let (proxy, tunnels) = proxy().await;
    let twins = hub.twins_through(proxy);

    let before = twins.get_digital_twin(&hub.id, None).await?;
    let patch = JsonPatch::new().add("/thermostat1/targetTemperature", 20);
    let updated = twins.update_digital_twin(&hub.id, &patch, None).await?;
    assert_ne!(updated.etag, before.etag);
    for command in [Command::new("run"), Command::new("run").on_component("thermostat1")] {
        assert_eq!(twins.invoke_command(&hub.id, &command, None).await?.status, 200);
    }

    assert!(tunnels.load(Ordering::SeqCst) > 0);
    Ok(())
}
