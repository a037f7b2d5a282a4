use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use azure_core::{error::ErrorKind, time::OffsetDateTime};
use iothub_auth::{ConnectionString, Credential, SharedAccessSignature};
use iothub_core::{HubErrorCode, Result, models::JobStatus};
use iothub_jobs::JobClient;
use iothub_transport_http::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::hub::{HOUR, Hub, client, code, options_of};

/// A proxy on this machine that counts its tunnels.
async fn proxy() -> (Proxy, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tunnels);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(tunnel(client, Arc::clone(&counted)));
        }
    });
    (Proxy::Via { url, except: vec![] }, tunnels)
}

async fn tunnel(mut client: TcpStream, tunnels: Arc<AtomicUsize>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let place = head.strip_prefix("CONNECT localhost:").expect("a tunnel to the hub");
    let port: u16 = place.split(' ').next().unwrap().parse().unwrap();
    let mut hub = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    tunnels.fetch_add(1, Ordering::Relaxed);
    let _ = copy_bidirectional(&mut client, &mut hub).await;
}

#[tokio::test]
async fn a_job_goes_through_a_proxy() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let (proxy, tunnels) = proxy().await;
    let hub = Hub {
        jobs: client(&hub.emulator, "service", options_of(&hub.emulator, proxy)),
        ..hub
    };
    hub.schedule_interval("j1", "*", None).await?;
    hub.jobs.wait_for_job("j1", None)?.await?;
    assert_eq!(hub.interval("lamp").await?, Some(60));
    assert_eq!(tunnels.load(Ordering::Relaxed), 1);
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_an_error_of_the_connection() -> Result<()> {
    let hub = Hub::with_devices([]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let proxy = Proxy::Via {
        url: format!("http://{closed}").parse()?,
        except: vec![],
    };
    let mut options = options_of(&hub.emulator, proxy);
    options.limits.tries = Some(1);
    let error = client(&hub.emulator, "service", options)
        .get_job("j1", None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Connection);
    Ok(())
}

#[tokio::test]
async fn a_signature_is_exchanged_between_scheduling_and_waiting() -> Result<()> {
    let hub = Hub::with_devices(["lamp"]).await;
    let signature = signed(&hub, OffsetDateTime::now_utc() + HOUR);
    let options = options_of(&hub.emulator, Proxy::Direct);
    let jobs = JobClient::new(hub.emulator.host().clone(), signature.clone(), Some(options))?;
    let hub = Hub { jobs, ..hub };
    hub.schedule_interval("j1", "*", Some(hub.emulator.clock().now() + HOUR * 2))
        .await?;

    // By the hub's clock the signature has ended when the job is done.
    hub.emulator.clock().advance(HOUR * 3);
    let error = hub.jobs.get_job("j1", None).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess));

    signature.update(signed(&hub, hub.emulator.clock().now() + HOUR));
    let done = hub.jobs.wait_for_job("j1", None)?.await?.into_model()?;
    assert_eq!(done.status, JobStatus::Completed);
    Ok(())
}

/// A signature of the service's key, as somebody else would have made it.
fn signed(hub: &Hub, expires_on: OffsetDateTime) -> SharedAccessSignature {
    let text = hub.emulator.connection_string("service").unwrap();
    let ConnectionString { host, credential, .. } = text.parse().unwrap();
    let Credential::SharedAccessKey(key) = credential else {
        panic!("the connection string holds a key")
    };
    key.sign(host.name(), expires_on)
}
