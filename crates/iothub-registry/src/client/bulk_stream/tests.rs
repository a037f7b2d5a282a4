use azure_core::http::StatusCode;
use futures::{channel::mpsc, stream};
use iothub_core::{
    CallLimits, HubErrorCode, IfMatch,
    models::{Device, TwinPatch},
    testing::{HttpAnswer, ScriptedHttp},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{RegistryClient, RegistryClientOptions};

#[tokio::test(start_paused = true)]
async fn any_number_of_operations_goes_in_calls_of_a_hundred() -> Result<()> {
    let http = ScriptedHttp::always(done());
    let results = run(&http, creates(250), BulkOptions::default()).await?;

    assert_eq!(calls(&http), [100, 100, 50]);
    assert_eq!(results.len(), 250);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.index, index as u64);
        assert_eq!(result.operation.device_id().as_str(), format!("d{index}"));
        assert!(result.outcome.is_done());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_somebody_asks_or_for_nothing() -> Result<()> {
    let http = ScriptedHttp::always(done());
    drop(client(&http).bulk(stream::iter(creates(5)), None)?);
    assert_eq!(run(&http, Vec::new(), BulkOptions::default()).await?.len(), 0);
    assert!(http.seen().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_are_under_way_as_allowed() -> Result<()> {
    for (calls_in_flight, seconds) in [(1, 10), (3, 4), (10, 1), (100, 1)] {
        let http = ScriptedHttp::always(done().after(SECOND));
        let options = BulkOptions {
            calls_in_flight: Some(calls_in_flight),
            operations_per_call: Some(2),
            ..BulkOptions::default()
        };
        let start = Instant::now();
        let results = run(&http, creates(20), options).await?;
        assert_eq!(
            (results.len(), start.elapsed().as_secs()),
            (20, seconds),
            "{calls_in_flight}"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_device_is_in_one_call_at_a_time() -> Result<()> {
    let http = ScriptedHttp::always(done().after(SECOND));
    let id: DeviceId = "lamp".parse()?;
    let operations = vec![
        create("lamp"),
        create("candle"),
        BulkOperation::UpdateTwin {
            id: (&id).into(),
            patch: TwinPatch::new().set_tag("site", "x"),
            if_match: IfMatch::Any,
        },
        create("torch"),
        BulkOperation::DeleteDevice {
            id,
            if_match: IfMatch::Any,
        },
    ];
    let start = Instant::now();
    let results = run(&http, operations.clone(), BulkOptions::default()).await?;

    assert_eq!(
        ids(&http),
        [vec!["lamp", "candle"], vec!["lamp", "torch"], vec!["lamp"]]
    );
    assert_eq!(start.elapsed().as_secs(), 3, "each waits for the one before");
    let operated: Vec<_> = results.into_iter().map(|result| result.operation).collect();
    assert_eq!(operated, operations);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_source_is_not_waited_for_while_the_hub_has_nothing_to_do() -> Result<()> {
    let http = ScriptedHttp::always(done().after(SECOND));
    let (mut source, operations) = mpsc::channel(10);
    let mut results = client(&http).bulk(operations, None)?;
    for id in ["a", "b"] {
        source.try_send(create(id)).unwrap();
    }
    assert_eq!(results.next().await.unwrap().index, 0);
    assert_eq!(results.next().await.unwrap().index, 1);

    // The first is sent at once. What comes while it is under way goes together.
    source.try_send(create("c")).unwrap();
    assert!(futures::poll!(results.next()).is_pending());
    for id in ["d", "e"] {
        source.try_send(create(id)).unwrap();
        assert!(futures::poll!(results.next()).is_pending());
    }
    drop(source);
    assert_eq!(results.by_ref().count().await, 3);
    assert_eq!(ids(&http), [vec!["a", "b"], vec!["c"], vec!["d", "e"]]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_throttles_gets_what_it_refused_again() -> Result<()> {
    let patient = ScriptedHttp::new([throttled(), throttled()]).and_then_always(done());
    let start = Instant::now();
    let results = run(&patient, creates(3), one_at_a_time()).await?;
    assert!(results.iter().all(|result| result.outcome.is_done()));
    assert_eq!(calls(&patient), [1; 5]);
    assert_eq!(start.elapsed().as_secs(), 5 + 10);

    let told = ScriptedHttp::new([throttled().with_header("retry-after", "90")]).and_then_always(done());
    let start = Instant::now();
    run(&told, creates(1), one_at_a_time()).await?;
    assert!(start.elapsed().as_secs() >= 90, "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_the_operations_have_not_been_carried_out() -> Result<()> {
    let http = ScriptedHttp::always(throttled());
    let options = BulkOptions {
        patience: Some(Duration::from_secs(20)),
        ..one_at_a_time()
    };
    let results = run(&http, creates(2), options).await?;

    assert_eq!(calls(&http), [1; 6], "after 0, 5 and 15 seconds, twice");
    for result in results {
        assert_eq!(result.outcome.code(), Some(&HubErrorCode::ThrottlingException));
        assert!(!result.outcome.maybe_applied());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn throttling_leaves_fewer_calls_under_way() -> Result<()> {
    let http = ScriptedHttp::always(done());
    let options = BulkOptions {
        calls_in_flight: Some(4),
        ..BulkOptions::default()
    };
    let calls = Calls::new(client(&http).hub, options)?;
    let mut bulk = BulkStream::new(stream::empty(), calls);
    for (laboured, window) in [
        (true, 2),
        (true, 1),
        (true, 1),
        (false, 2),
        (false, 3),
        (false, 4),
        (false, 4),
    ] {
        bulk.end(Answered {
            operations: Vec::new(),
            outcomes: Vec::new(),
            laboured,
        });
        assert_eq!(bulk.window, window);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_may_have_been_carried_out_and_is_not_made_again() -> Result<()> {
    for lost in [
        HttpAnswer::Lost,
        HttpAnswer::CutOff(StatusCode::Ok),
        HttpAnswer::new(StatusCode::Ok, "{"),
        HttpAnswer::new(StatusCode::InternalServerError, ""),
        HttpAnswer::new(StatusCode::ServiceUnavailable, ""),
    ] {
        let http = ScriptedHttp::new([lost.clone()]).and_then_always(done());
        let options = BulkOptions {
            operations_per_call: Some(2),
            calls_in_flight: Some(1),
            ..BulkOptions::default()
        };
        let results = run(&http, creates(4), options).await?;
        let doubt: Vec<bool> = results.iter().map(|result| result.outcome.maybe_applied()).collect();
        assert_eq!(doubt, [true, true, false, false], "{lost:?}");
        assert!(results[2].outcome.is_done() && results[3].outcome.is_done());
        assert_eq!(calls(&http), [2, 2]);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_failure_stays_with_its_operation() -> Result<()> {
    let failed = json!({
        "isSuccessful": false,
        "errors": [{"deviceId": "d1", "errorCode": 409001, "errorStatus": "there is one"}],
    });
    let http = ScriptedHttp::new([
        done().after(SECOND),
        HttpAnswer::new(StatusCode::BadRequest, failed.to_string()),
        refused(StatusCode::Forbidden, "IotHubQuotaExceeded"),
    ]);
    let results = run(&http, creates(3), one_at_a_time()).await?;
    let codes: Vec<_> = results.iter().map(|result| result.outcome.code().cloned()).collect();
    assert_eq!(
        codes,
        [
            None,
            Some(HubErrorCode::DeviceAlreadyExists),
            Some(HubErrorCode::IotHubQuotaExceeded)
        ]
    );
    assert!(results.iter().all(|result| !result.outcome.maybe_applied()));
    Ok(())
}

#[test]
fn options_that_cannot_be_are_refused_by_name() {
    let registry = client(&ScriptedHttp::default());
    for (options, expected) in [
        (
            BulkOptions {
                calls_in_flight: Some(0),
                ..BulkOptions::default()
            },
            "`calls_in_flight` is 0",
        ),
        (
            BulkOptions {
                operations_per_call: Some(0),
                ..BulkOptions::default()
            },
            "`operations_per_call` is 0",
        ),
        (
            BulkOptions {
                operations_per_call: Some(101),
                ..BulkOptions::default()
            },
            "`operations_per_call` is 101",
        ),
    ] {
        let outcome = registry.bulk(stream::empty(), Some(options)).map(drop);
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

async fn run(
    http: &ScriptedHttp,
    operations: Vec<BulkOperation>,
    options: BulkOptions<'_>,
) -> Result<Vec<BulkItemResult>> {
    let results = client(http).bulk(stream::iter(operations), Some(options))?;
    Ok(results.collect().await)
}

/// A client whose calls leave all repetition to the stream.
fn client(http: &ScriptedHttp) -> RegistryClient {
    let key = iothub_auth::SharedAccessKey::new("owner", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").unwrap();
    let options = RegistryClientOptions {
        limits: CallLimits {
            tries: Some(1),
            ..CallLimits::default()
        },
        client_options: http.client_options(),
        ..RegistryClientOptions::default()
    };
    RegistryClient::new("hub.example".parse().unwrap(), key, Some(options)).unwrap()
}

fn one_at_a_time() -> BulkOptions<'static> {
    BulkOptions {
        calls_in_flight: Some(1),
        operations_per_call: Some(1),
        ..BulkOptions::default()
    }
}

fn creates(count: usize) -> Vec<BulkOperation> {
    (0..count).map(|at| create(&format!("d{at}"))).collect()
}

fn create(id: &str) -> BulkOperation {
    BulkOperation::create_device(Device::new(id.parse().unwrap()))
}

fn done() -> HttpAnswer {
    HttpAnswer::new(StatusCode::Ok, r#"{"isSuccessful":true,"errors":[],"warnings":[]}"#)
}

fn throttled() -> HttpAnswer {
    refused(StatusCode::TooManyRequests, "ThrottlingException")
}

fn refused(status: StatusCode, code: &'static str) -> HttpAnswer {
    HttpAnswer::new(status, "").with_header("iothub-errorcode", code)
}

/// How many items each call had.
fn calls(http: &ScriptedHttp) -> Vec<usize> {
    ids(http).iter().map(Vec::len).collect()
}

/// The ids in each call.
fn ids(http: &ScriptedHttp) -> Vec<Vec<String>> {
    let items = |body: &[u8]| serde_json::from_slice::<Vec<Value>>(body).unwrap();
    let id = |item: Value| item["id"].as_str().unwrap().to_owned();
    http.requests()
        .iter()
        .map(|request| {
            assert_eq!(request.to_string(), "POST /devices?api-version=2021-04-12");
            items(&request.body).into_iter().map(id).collect()
        })
        .collect()
}

const SECOND: Duration = Duration::from_secs(1);
