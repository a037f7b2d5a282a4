//! Many messages under way at a time, over one link and in order.
//!
//! The queue of a device takes 50, so that they go to a hundred devices. Against Azure it is one message each, since
//! a small hub takes not many more in a minute.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Instant;

use examples::{Failure, Stage, new_id};
use futures::{StreamExt, stream};
use iothub::{
    DeviceId, IfMatch,
    models::{Device, TwinContent},
    registry::BulkOperation,
    service::CloudToDeviceMessage,
};
use iothub_transport_amqp::Carrier;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let (registry, service) = (hub.registry()?, hub.service(Carrier::Tls)?);
    let rounds = if hub.emulator.is_some() { 50 } else { 1 };
    let name = new_id("throughput");
    let ids = (0..100)
        .map(|number| format!("{name}-{number}").parse())
        .collect::<Result<Vec<DeviceId>, _>>()?;
    let create = stream::iter(ids.clone()).map(|id| BulkOperation::CreateDevice {
        device: Box::new(Device::new(id)),
        twin: TwinContent::new(),
    });
    let created = registry.bulk(create, None)?.count().await;
    // What it takes to connect is not to be counted.
    service.warm_up(None).await?;

    let messages = (0..rounds).flat_map(|_| &ids).map(|id| {
        let message = CloudToDeviceMessage::new(vec![b'x'; 1024]);
        (id.clone().into(), message)
    });
    let start = Instant::now();
    let results: Vec<_> = service.send_all(stream::iter(messages), None).collect().await;
    let elapsed = start.elapsed();
    // One result for each message, in order. One that fails does not stop those after it.
    let stored = results.iter().flatten().count();
    for error in results.iter().filter_map(|result| result.as_ref().err()).take(3) {
        println!("{error}");
    }
    let rate = stored as f64 / elapsed.as_secs_f64();
    println!(
        "{stored} of {} messages of 1 KiB to {created} devices in {elapsed:.2?}, {rate:.0} a second",
        results.len()
    );

    let delete = stream::iter(ids).map(|id| BulkOperation::DeleteDevice {
        id,
        if_match: IfMatch::Any,
    });
    println!("{} deleted", registry.bulk(delete, None)?.count().await);
    Ok(())
}
