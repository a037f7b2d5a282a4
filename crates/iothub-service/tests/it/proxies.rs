use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use azure_core::error::ErrorKind;
use iothub_core::{CallLimits, Result, models::DirectMethodRequest};
use iothub_service::{CloudToDeviceMessage, ServiceClient, ServiceClientOptions};
use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport, Proxy};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::hub::{Hub, client_by, credential, http, maybe_applied, over, soon};

/// A proxy that leads to whatever it is asked for.
struct TunnelProxy {
    url: String,
    tunnels: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl TunnelProxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let tunnels = Arc::<AtomicUsize>::default();
        let opened = Arc::clone(&tunnels);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, Arc::clone(&opened)));
            }
        });
        Self { url, tunnels, serving }
    }

    fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

impl Drop for TunnelProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn tunnel(client: TcpStream, opened: Arc<AtomicUsize>) {
    let mut client = BufReader::new(client);
    let mut asked = String::new();
    while !asked.ends_with("\r\n\r\n") {
        client.read_line(&mut asked).await.unwrap();
    }
    let target = asked.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    let mut hub = TcpStream::connect(target).await.unwrap();
    opened.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // How it ends is the business of those at its ends.
    drop(copy_bidirectional(&mut client, &mut hub).await);
}

fn via(url: &str) -> Proxy {
    Proxy::Via {
        url: url.parse().unwrap(),
        except: Vec::new(),
    }
}

/// A client with an authority of its own and a proxy, for all that it does.
fn service(hub: &Hub, proxy: &str) -> ServiceClient {
    let amqp = AmqpOptions {
        carrier: Carrier::WebSocket,
        extra_roots: vec![hub.emulator.root_certificate().to_owned().into()],
        proxy: via(proxy),
        ..AmqpOptions::default()
    };
    client_by(
        hub.emulator.host().clone(),
        credential(&hub.emulator, "service"),
        Fe2o3Transport::new(amqp).unwrap(),
        http(&hub.emulator, via(proxy)),
    )
}

#[tokio::test]
async fn methods_and_messages_go_through_a_proxy() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    lamp.on_method(|_, _| (200, String::new()))?;
    let proxy = TunnelProxy::start().await;
    let service = service(&hub, &proxy.url);
    for method in [
        DirectMethodRequest::new("blink"),
        DirectMethodRequest::new("blink")
            .with_connect_timeout(Duration::from_secs(20))
            .with_response_timeout(Duration::from_secs(200)),
    ] {
        let answer = soon("the answer", service.invoke_method(&hub.lamp, &method, None)).await?;
        assert_eq!(answer.into_model()?.status, 200);
    }
    assert_eq!(proxy.tunnels(), 1);
    service.send(&hub.lamp, CloudToDeviceMessage::new("on"), None).await?;
    assert_eq!((proxy.tunnels(), hub.queued()), (2, 1));
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_is_away_is_an_error_and_nothing_goes_around_it() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    lamp.on_method(|_, _| (200, String::new()))?;
    let gone = TunnelProxy::start().await.url.clone();
    let amqp = AmqpOptions {
        carrier: Carrier::WebSocket,
        extra_roots: vec![hub.emulator.root_certificate().to_owned().into()],
        proxy: via(&gone),
        ..AmqpOptions::default()
    };
    let options = ServiceClientOptions {
        limits: CallLimits {
            deadline: Some(Duration::from_secs(1)),
            ..CallLimits::default()
        },
        amqp_transport: Some(Arc::new(Fe2o3Transport::new(amqp)?)),
        client_options: over(http(&hub.emulator, via(&gone))),
        ..ServiceClientOptions::default()
    };
    let service = ServiceClient::new(
        hub.emulator.host().clone(),
        credential(&hub.emulator, "service"),
        Some(options),
    )?;
    let sent = service.send(&hub.lamp, CloudToDeviceMessage::new("on"), None).await;
    let read = service.receive_feedback(None).await;
    for error in [sent.map(drop).unwrap_err(), read.map(drop).unwrap_err()] {
        assert_eq!(error.kind(), &ErrorKind::Connection, "{error}");
        assert!(!maybe_applied(&error));
    }
    assert_eq!(hub.queued(), 0);
    Ok(())
}
