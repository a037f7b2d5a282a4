//! Queries: twins page by page, rows of your own shape, and a place to go on from later.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use azure_core::http::pager::PagerOptions;
use examples::{Failure, Stage, new_id};
use futures::{StreamExt, TryStreamExt, stream};
use iothub::{
    DeviceId, IfMatch,
    models::{Device, TwinContent},
    registry::{BulkOperation, QueryOptions, QueryToken},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Hall {
    hall: u32,
    lamps: u32,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let hub = Stage::open().await?;
    let registry = hub.registry()?;
    let name = new_id("query");
    let ids = (0..30)
        .map(|number| format!("{name}-{number}").parse())
        .collect::<Result<Vec<DeviceId>, _>>()?;
    let create = stream::iter(ids.clone())
        .enumerate()
        .map(|(number, id)| BulkOperation::CreateDevice {
            device: Box::new(Device::new(id)),
            twin: TwinContent::new().set_tag("hall", number % 3),
        });
    registry.bulk(create, None)?.count().await;

    let options = QueryOptions {
        page_size: Some(4),
        ..Default::default()
    };
    let mut pages = registry
        .query_twins("SELECT * FROM devices WHERE tags.hall = 1", Some(options))?
        .into_pages();
    pages.try_next().await?;
    println!("one page of four is read");

    // The place where a query stands is a text that can be kept, and that knows the query too.
    let place = pages.continuation().ok_or("there is only one page")?;
    let token = QueryToken::try_from(place)?;
    let options = QueryOptions {
        method_options: PagerOptions {
            continuation: Some(token.clone().into()),
            ..Default::default()
        },
        ..Default::default()
    };
    let mut twins = registry.query_twins(token.query(), Some(options))?;
    while let Some(twin) = twins.try_next().await? {
        println!("{} is in hall {:?}", twin.device_id(), twin.tags().get::<u32>("hall")?);
    }

    let text = "SELECT tags.hall AS hall, COUNT() AS lamps FROM devices WHERE tags.hall >= 0 GROUP BY tags.hall";
    let halls: Vec<Hall> = registry.query(text, None)?.try_collect().await?;
    for Hall { hall, lamps } in halls {
        println!("{lamps} lamps are in hall {hall}");
    }

    let delete = stream::iter(ids).map(|id| BulkOperation::DeleteDevice {
        id,
        if_match: IfMatch::Any,
    });
    registry.bulk(delete, None)?.count().await;
    Ok(())
}
