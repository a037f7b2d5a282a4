use std::collections::BTreeSet;

use futures::StreamExt;
use iothub_core::Result;
use iothub_transport_amqp::Carrier;

use crate::hub::{Hub, soon};

#[tokio::test]
async fn the_hub_tells_of_every_file() -> Result<()> {
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let hub = Hub::over(carrier).await;
        let mut files = hub.service.file_notifications(None);
        for round in 0..3 {
            let names = [format!("{round}/a.txt"), format!("{round}/b & c.txt")];
            for name in &names {
                hub.device().upload(name, "12345")?;
            }
            // What was received when the connection broke comes again, and cannot be completed before.
            let mut left: BTreeSet<_> = names.iter().map(|name| format!("lamp/{name}")).collect();
            while !left.is_empty() {
                let file = soon("a notification", files.next()).await.expect("goes on")?;
                assert_eq!((file.device_id.as_str(), file.blob_size), ("lamp", 5));
                assert!(
                    file.enqueued_time.is_some() && file.blob_uri.starts_with("http"),
                    "{file:?}"
                );
                let name = file.blob_name.clone();
                if file.complete().await.is_ok() {
                    left.remove(&name);
                }
            }
            hub.faults().drop_connections();
        }
    }
    Ok(())
}
