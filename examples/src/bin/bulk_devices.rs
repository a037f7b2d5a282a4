//! A thousand devices: the hub takes a hundred in a call, and a stream of any length is cut and paced for it.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use examples::{Failure, Stage, new_id};
use futures::{StreamExt, stream};
use iothub::{
    IfMatch,
    models::{Device, TwinContent},
    registry::BulkOperation,
};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let name = new_id("bulk");
    let ids = (0..1000)
        .map(|number| format!("{name}-{number}").parse())
        .collect::<Result<Vec<_>, _>>()?;

    let create = stream::iter(ids.clone()).map(|id| BulkOperation::CreateDevice {
        device: Box::new(Device::new(id)),
        twin: TwinContent::new().set_tag("hall", 7),
    });
    let mut results = registry.bulk(create, None)?;
    let (mut created, mut failed) = (0, 0);
    while let Some(result) = results.next().await {
        // One result for each item, in order: none is lost, whatever becomes of the call that it was in.
        match result.outcome.is_done() {
            true => created += 1,
            false => failed += 1,
        }
        if (created + failed) % 250 == 0 {
            println!("{created} created, {failed} failed");
        }
    }

    let delete = stream::iter(ids).map(|id| BulkOperation::DeleteDevice {
        id,
        if_match: IfMatch::Any,
    });
    let deleted = registry
        .bulk(delete, None)?
        .filter(|result| std::future::ready(result.outcome.is_done()))
        .count()
        .await;
    println!("{deleted} deleted");
    Ok(())
}
