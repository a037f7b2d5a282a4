use azure_core::http::pager::{PagerContinuation, PagerOptions};
use futures::TryStreamExt;
use iothub_core::{
    HubErrorCode, Result,
    models::{Device, Twin, TwinContent},
};
use iothub_emulator::{Event, Fault, When};
use iothub_registry::{ListDevicesOptions, QueryOptions, QueryToken};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hub::{Hub, code};

#[tokio::test]
async fn a_query_finds_the_devices_that_fit() -> Result<()> {
    let hub = lamps(10).await?;
    let text = "SELECT * FROM devices WHERE tags.floor = 1 AND properties.desired.n > 3";
    let found: Vec<Twin> = hub.registry.query_twins(text, None)?.try_collect().await?;

    assert_eq!(ids(&found), ["d0005", "d0007", "d0009"]);
    assert_eq!(found[0], hub.twin("d0005").await?, "a row is the twin itself");
    Ok(())
}

#[tokio::test]
async fn rows_come_over_pages_of_the_size_that_was_asked_for() -> Result<()> {
    let hub = lamps(10).await?;
    let all: Vec<Twin> = hub.registry.list_devices(None)?.try_collect().await?;
    for (size, expected) in [(3, vec![3, 3, 3, 1]), (5, vec![5, 5]), (100, vec![10])] {
        let by_item: Vec<Twin> = hub.registry.query_twins(EVERYTHING, sized(size))?.try_collect().await?;
        assert_eq!(ids(&by_item), ids(&all));

        let mut pages = hub.registry.query_twins(EVERYTHING, sized(size))?.into_pages();
        let (mut lengths, mut by_page) = (Vec::new(), Vec::new());
        while let Some(page) = pages.try_next().await? {
            let twins = page.into_model()?.twins;
            lengths.push(twins.len());
            by_page.extend(twins);
        }
        assert_eq!(lengths, expected);
        assert_eq!(ids(&by_page), ids(&all));
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_page_is_passed_over_and_every_row_comes_once() -> Result<()> {
    let hub = lamps(10).await?;
    hub.emulator.faults().inject(Fault::EmptyPage, When::Next(2))?;
    let found: Vec<Twin> = hub.registry.query_twins(EVERYTHING, sized(3))?.try_collect().await?;
    let expected: Vec<Twin> = hub.registry.list_devices(None)?.try_collect().await?;
    assert_eq!((ids(&found), found.len()), (ids(&expected), 10));
    assert!(hub.emulator.faults().scheduled().is_empty(), "there were two");
    Ok(())
}

#[tokio::test]
async fn a_hub_that_leads_to_the_same_page_again_is_left() -> Result<()> {
    let hub = lamps(10).await?;
    hub.emulator
        .faults()
        .inject(Fault::RepeatContinuation, When::Next(1000))?;
    let mut found = hub.registry.query_twins(EVERYTHING, sized(3))?;
    let mut count = 0;
    let error = loop {
        match found.try_next().await {
            Ok(Some(_)) => count += 1,
            Ok(None) => panic!("there were ten rows, and {count} came"),
            Err(error) => break error,
        }
    };
    assert!(count <= 6, "each page once: {count}");
    let asked = hub
        .emulator
        .journal()
        .count(|event| matches!(event, Event::Request { operation, .. } if operation == "POST /devices/query"));
    assert!(asked <= 4, "{asked} requests before {error}");
    Ok(())
}

#[tokio::test]
async fn devices_are_listed_past_the_thousandth() -> Result<()> {
    let hub = lamps(1100).await?;
    let options = ListDevicesOptions {
        page_size: Some(300),
        ..ListDevicesOptions::default()
    };
    let listed: Vec<Twin> = hub.registry.list_devices(Some(options))?.try_collect().await?;
    let expected: Vec<String> = (0..1100).map(|n| format!("d{n:04}")).collect();
    assert_eq!(ids(&listed), expected);

    hub.registry.delete_device(&"d0007".parse()?, None).await?;
    let listed: Vec<Twin> = hub.registry.list_devices(None)?.try_collect().await?;
    assert_eq!(listed.len(), 1099);
    Ok(())
}

#[tokio::test]
async fn projections_and_aggregates_are_read_as_types() -> Result<()> {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Floor {
        floor: u8,
        lamps: u32,
        most: f64,
    }

    let hub = lamps(10).await?;
    let text = "SELECT tags.floor AS floor, COUNT() AS lamps, MAX(properties.desired.n) AS most FROM devices \
                GROUP BY tags.floor";
    let mut floors: Vec<Floor> = hub.registry.query(text, sized(1))?.try_collect().await?;
    floors.sort_by_key(|row| row.floor);
    let floor = |floor, most| Floor { floor, lamps: 5, most };
    assert_eq!(floors, [floor(0, 8.0), floor(1, 9.0)]);

    let text = "SELECT deviceId AS id FROM devices WHERE properties.desired.n = 3";
    let rows: Vec<Value> = hub.registry.query(text, None)?.try_collect().await?;
    assert_eq!(rows, [json!({ "id": "d0003" })]);
    let error = hub.registry.query_twins(text, None)?.try_next().await.unwrap_err();
    assert!(error.to_string().contains("are of the kind Raw"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_saved_token_resumes_where_the_pages_ended() -> Result<()> {
    let hub = lamps(10).await?;
    let mut pages = hub.registry.query_twins(EVERYTHING, sized(4))?.into_pages();
    let mut found = pages.try_next().await?.expect("there is a page").into_model()?.twins;
    let saved = String::from(pages.into_continuation().expect("there is more"));

    let token: QueryToken = saved.parse()?;
    let rest = hub.registry.query_twins(token.query(), resuming(&saved))?;
    found.extend(rest.try_collect::<Vec<Twin>>().await?);
    let all: Vec<Twin> = hub.registry.list_devices(None)?.try_collect().await?;
    assert_eq!(ids(&found), ids(&all));

    let other = hub
        .registry
        .query_twins("SELECT * FROM devices WHERE tags.floor = 1", resuming(&saved));
    let error = other.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("belongs to the query `SELECT * FROM devices`"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn changes_between_pages_make_no_twin_come_twice() -> Result<()> {
    let hub = lamps(10).await?;
    let options = QueryOptions {
        no_read_ahead: true,
        ..sized(4).unwrap_or_default()
    };
    let mut rows = hub.registry.query_twins(EVERYTHING, Some(options))?;
    let mut found = Vec::new();
    while let Some(twin) = rows.try_next().await? {
        if twin.device_id() == "d0001" {
            hub.registry.delete_device(&"d0000".parse()?, None).await?;
            hub.registry.delete_device(&"d0004".parse()?, None).await?;
        }
        found.push(twin);
    }
    let expected: Vec<String> = (0..10).filter(|n| *n != 4).map(|n| format!("d{n:04}")).collect();
    assert_eq!(ids(&found), expected);
    Ok(())
}

#[tokio::test]
async fn a_query_that_is_dropped_asks_for_nothing_more() -> Result<()> {
    let hub = lamps(10).await?;
    let mut rows = hub.registry.query_twins(EVERYTHING, sized(1))?;
    rows.try_next().await?;
    rows.try_next().await?;
    drop(rows);
    // What else was under way would be there by now.
    hub.registry
        .query_twins(EVERYTHING, sized(100))?
        .try_collect::<Vec<Twin>>()
        .await?;
    assert!(queries(&hub) <= 4, "two pages, one ahead, and the query after");
    Ok(())
}

#[tokio::test]
async fn a_query_survives_what_any_read_survives() -> Result<()> {
    let hub = lamps(4).await?;
    let mut rows = hub.registry.query_twins(EVERYTHING, sized(2))?;
    hub.emulator.faults().lose_next_answers(1);
    let first = rows.try_next().await?.expect("there is one");
    hub.emulator.faults().lose_next_requests(1);
    let mut found = vec![first];
    found.extend(rows.try_collect::<Vec<Twin>>().await?);
    assert_eq!(ids(&found), ["d0000", "d0001", "d0002", "d0003"]);
    Ok(())
}

#[tokio::test]
async fn a_query_that_the_hub_does_not_understand_is_an_error() -> Result<()> {
    let hub = Hub::empty().await;
    for text in ["SELECT", "SELECT * FROM lamps", "DELETE FROM devices"] {
        let error = hub.registry.query_twins(text, None)?.try_next().await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::ArgumentInvalid), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_of_the_registry_does_not_open_queries() -> Result<()> {
    let hub = Hub::empty().await;
    let registry = hub.registry_of("registryReadWrite");
    let error = registry.list_devices(None)?.try_next().await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess));
    Ok(())
}

/// A hub with devices `d0000` and so on, which are on two floors and want to be their number.
async fn lamps(count: usize) -> Result<Hub> {
    let hub = Hub::empty().await;
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(100) {
        let lamp = |n: &usize| {
            let twin = TwinContent::new().set_tag("floor", n % 2).set_desired("n", *n);
            let device = Device::new(format!("d{n:04}").parse()?);
            Ok(iothub_registry::BulkOperation::create_device_with_twin(device, twin))
        };
        let operations = numbers.iter().map(lamp).collect::<Result<Vec<_>>>()?;
        assert!(hub.registry.bulk_call(&operations, None).await?.is_successful());
    }
    Ok(hub)
}

fn ids(twins: &[Twin]) -> Vec<&str> {
    twins.iter().map(Twin::device_id).collect()
}

fn sized(rows: u32) -> Option<QueryOptions<'static>> {
    Some(QueryOptions {
        page_size: Some(rows),
        ..QueryOptions::default()
    })
}

fn resuming(token: &str) -> Option<QueryOptions<'static>> {
    Some(QueryOptions {
        method_options: PagerOptions {
            continuation: Some(PagerContinuation::Token(token.to_owned())),
            ..PagerOptions::default()
        },
        ..QueryOptions::default()
    })
}

fn queries(hub: &Hub) -> usize {
    let is_query =
        |event: &Event| matches!(event, Event::Request { operation, .. } if operation == "POST /devices/query");
    hub.emulator.journal().count(is_query)
}

const EVERYTHING: &str = "SELECT * FROM devices";
