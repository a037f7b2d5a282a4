use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use azure_core::{
    error::ErrorKind,
    http::{
        AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport,
        headers::Headers,
        pager::{PagerContinuation, PagerOptions},
    },
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, channel::oneshot};
use iothub_auth::SharedAccessKey;
use iothub_core::{
    CallFacts, HubErrorCode,
    models::Twin,
    testing::{HttpAnswer, ScriptedHttp},
};
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::{
    QueryToken, RegistryClientOptions,
    scripted::{body, code, refusal, registry},
};

#[derive(Debug, PartialEq, Deserialize)]
struct Row {
    n: u32,
}

#[tokio::test]
async fn rows_come_in_order_over_all_pages() -> Result<()> {
    let http = ScriptedHttp::new([page(&[1, 2], Some("a")), page(&[3], Some("b")), page(&[4], None)]);
    let options = QueryOptions {
        page_size: Some(2),
        ..QueryOptions::default()
    };
    let rows: Vec<Row> = registry(&http).query(TEXT, Some(options))?.try_collect().await?;

    assert_eq!(rows.iter().map(|row| row.n).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(http.seen(), ["POST /devices/query?api-version=2021-04-12"; 3]);
    for (at, place) in [(0, None), (1, Some("a")), (2, Some("b"))] {
        let request = &http.requests()[at];
        assert_eq!(request.header("x-ms-continuation"), place);
        assert_eq!(request.header("x-ms-max-item-count"), Some("2"));
        assert_eq!(body(&http, at), json!({ "query": TEXT }));
    }
    Ok(())
}

#[tokio::test]
async fn a_page_size_is_left_to_the_hub_unless_asked_for() -> Result<()> {
    let http = ScriptedHttp::new([page(&[], None)]);
    let rows: Vec<Row> = registry(&http).query(TEXT, None)?.try_collect().await?;
    assert!(rows.is_empty());
    assert_eq!(http.requests()[0].header("x-ms-max-item-count"), None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_query_is_repeated_like_any_read() -> Result<()> {
    let http = ScriptedHttp::new([
        HttpAnswer::Lost,
        page(&[1], Some("a")),
        HttpAnswer::CutOff(StatusCode::Ok),
        page(&[2], None),
    ]);
    let rows: Vec<Row> = registry(&http).query(TEXT, None)?.try_collect().await?;
    assert_eq!(rows, [Row { n: 1 }, Row { n: 2 }]);
    assert_eq!(http.requests().len(), 4);
    Ok(())
}

#[tokio::test]
async fn one_page_is_asked_for_ahead_and_no_more() -> Result<()> {
    let http = ScriptedHttp::new([page(&[1, 2], Some("a")), page(&[3], Some("b")), page(&[4], None)]);
    let mut rows = registry(&http).query::<Row>(TEXT, None)?;
    settle().await;
    assert_eq!(http.requests().len(), 0, "nothing before it is polled");

    rows.try_next().await?;
    settle().await;
    assert_eq!(http.requests().len(), 2);
    rows.try_next().await?;
    settle().await;
    assert_eq!(http.requests().len(), 2);
    assert_eq!(rows.try_next().await?, Some(Row { n: 3 }));
    settle().await;
    assert_eq!(http.requests().len(), 3);
    assert_eq!(rows.try_collect::<Vec<_>>().await?, [Row { n: 4 }]);
    Ok(())
}

#[tokio::test]
async fn without_reading_ahead_each_page_is_asked_for_when_it_is_wanted() -> Result<()> {
    let http = ScriptedHttp::new([page(&[1], Some("a")), page(&[2], None)]);
    let options = QueryOptions {
        no_read_ahead: true,
        ..QueryOptions::default()
    };
    let mut rows = registry(&http).query::<Row>(TEXT, Some(options))?;
    assert_eq!(rows.try_next().await?, Some(Row { n: 1 }));
    settle().await;
    assert_eq!(http.requests().len(), 1);
    assert_eq!(rows.try_next().await?, Some(Row { n: 2 }));
    Ok(())
}

#[tokio::test]
async fn what_went_wrong_ahead_is_told_in_its_turn_and_can_be_resumed() -> Result<()> {
    let expired = refusal(StatusCode::BadRequest, "ArgumentInvalid");
    let http = ScriptedHttp::new([page(&[1, 2], Some("a")), expired, page(&[3], None)]);
    let registry = registry(&http);
    let mut rows = registry.query::<Row>(TEXT, None)?;
    rows.try_next().await?;
    settle().await;
    assert_eq!(rows.try_next().await?, Some(Row { n: 2 }));
    let error = rows.try_next().await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::ArgumentInvalid));
    assert_eq!(CallFacts::of(&error).map(|facts| facts.attempts), Some(1));

    let rest = registry.query::<Row>(TEXT, Some(resuming(rows.continuation().cloned())))?;
    assert_eq!(rest.try_collect::<Vec<_>>().await?, [Row { n: 3 }]);
    assert_eq!(rows.try_next().await?, None);
    Ok(())
}

#[tokio::test]
async fn dropping_the_rows_gives_up_the_page_ahead() -> Result<()> {
    let (http, mut given_up) = Slow::new();
    let registry = client(http);
    let mut rows = registry.query::<Row>(TEXT, None)?;
    assert_eq!(rows.try_next().await?, Some(Row { n: 1 }));
    settle().await;
    assert_eq!(given_up.try_recv(), Ok(None), "it is under way");
    drop(rows);
    assert!(given_up.await.is_err(), "the request was dropped");
    Ok(())
}

#[tokio::test]
async fn a_hub_that_leads_in_a_circle_is_left() -> Result<()> {
    for (places, expected) in [(["a", "a", "x"], 2), (["a", "b", "a"], 3)] {
        let answers = (1..).zip(places).map(|(n, place)| page(&[n], Some(place)));
        let http = ScriptedHttp::new(answers.take(3)).and_then_always(HttpAnswer::Silence);
        let mut rows = registry(&http).query::<Row>(TEXT, None)?;
        for n in 1..=expected {
            assert_eq!(rows.try_next().await?, Some(Row { n }));
        }
        let error = rows.try_next().await.unwrap_err();
        assert!(error.to_string().contains("a page that it gave before"), "{error}");
        assert_eq!(rows.try_next().await?, None);
        assert_eq!(http.requests().len(), expected as usize);
    }
    Ok(())
}

#[tokio::test]
async fn pages_without_rows_are_passed_over_but_not_for_ever() -> Result<()> {
    let http = ScriptedHttp::new([
        page(&[1], Some("a")),
        page(&[], Some("b")),
        page(&[], Some("c")),
        page(&[2], None),
    ]);
    let rows: Vec<Row> = registry(&http).query(TEXT, None)?.try_collect().await?;
    assert_eq!(rows, [Row { n: 1 }, Row { n: 2 }]);

    let endless = (0..).map(|n: u32| page(&[], Some(&n.to_string())));
    let http = ScriptedHttp::new(endless.take(1100));
    let error = registry(&http).query::<Row>(TEXT, None)?.try_next().await.unwrap_err();
    assert!(
        error.to_string().contains("1000 pages in a row without a row"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn an_empty_continuation_is_the_end() -> Result<()> {
    let http = ScriptedHttp::new([page(&[1], Some(""))]);
    let rows: Vec<Row> = registry(&http).query(TEXT, None)?.try_collect().await?;
    assert_eq!(rows, [Row { n: 1 }]);
    Ok(())
}

#[tokio::test]
async fn a_kept_token_is_all_that_it_takes_to_resume() -> Result<()> {
    let http = ScriptedHttp::new([page(&[1, 2], Some("a")), page(&[3], None)]);
    let registry = registry(&http);
    let options = QueryOptions {
        page_size: Some(2),
        no_read_ahead: true,
        ..QueryOptions::default()
    };
    let mut pages = registry.query::<Row>(TEXT, Some(options))?.into_pages();
    let first = pages.try_next().await?.expect("there is a page").into_model()?;
    assert_eq!(first.rows.len(), 2);
    let kept = String::from(pages.into_continuation().expect("there is more"));

    let token: QueryToken = kept.parse()?;
    let rest = registry.query::<Row>(token.query(), Some(resuming(Some(token.clone().into()))))?;
    assert_eq!(rest.try_collect::<Vec<_>>().await?, [Row { n: 3 }]);
    let resumed = &http.requests()[1];
    assert_eq!(resumed.header("x-ms-continuation"), Some("a"));
    assert_eq!(resumed.header("x-ms-max-item-count"), Some("2"));
    assert_eq!(body(&http, 1), json!({ "query": TEXT }));
    Ok(())
}

#[tokio::test]
async fn a_token_of_another_query_is_refused_without_a_request() -> Result<()> {
    let http = ScriptedHttp::new([page(&[1], Some("a"))]);
    let registry = registry(&http);
    let mut rows = registry.query::<Row>(TEXT, None)?.into_pages();
    rows.next().await.expect("there is a page")?;
    let token = rows.into_continuation();

    let error = registry
        .query::<Row>("SELECT * FROM devices.modules", Some(resuming(token)))
        .unwrap_err();
    assert!(
        error.to_string().contains(&format!("belongs to the query `{TEXT}`")),
        "{error}"
    );
    let foreign = PagerContinuation::Token("a".to_owned());
    let error = registry.query::<Row>(TEXT, Some(resuming(Some(foreign)))).unwrap_err();
    assert!(error.to_string().contains("no continuation token"), "{error}");
    Ok(())
}

#[tokio::test]
async fn items_can_become_pages_on_the_way() -> Result<()> {
    let answers = [
        page(&[1], Some("a")),
        page(&[2, 3], Some("b")),
        page(&[4], None),
        page(&[2, 3], Some("b")),
        page(&[4], None),
    ];
    let http = ScriptedHttp::new(answers);
    let mut rows = registry(&http).query::<Row>(TEXT, None)?;
    rows.try_next().await?;
    rows.try_next().await?;
    settle().await;
    // The page that has been begun comes again, as azure_core says; that is no circle.
    let mut pages = rows.into_pages();
    let mut lengths = Vec::new();
    while let Some(page) = pages.try_next().await? {
        lengths.push(page.into_model()?.rows.len());
    }
    assert_eq!(lengths, [2, 1]);
    Ok(())
}

#[tokio::test]
async fn what_is_no_query_is_refused_without_a_request() {
    let registry = registry(&ScriptedHttp::default());
    let long = "x".repeat(8193);
    for (text, page_size, expected) in [
        (" ", None, "a query has a text"),
        (&*long, None, "at most 8192 characters, and this one has 8193"),
        (TEXT, Some(0), "at least one row"),
    ] {
        let options = QueryOptions {
            page_size,
            ..QueryOptions::default()
        };
        let error = registry.query_twins(text, Some(options)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn rows_that_are_no_twins_are_named() -> Result<()> {
    let raw = page(&[1], None).with_header("x-ms-item-type", "Raw");
    let http = ScriptedHttp::new([raw]);
    let error = registry(&http).query_twins(TEXT, None)?.try_next().await.unwrap_err();
    assert!(error.to_string().contains("are of the kind Raw, not Twin"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_row_of_another_shape_is_an_error() -> Result<()> {
    let http = ScriptedHttp::answering(StatusCode::Ok, r#"[{"n":"x"}]"#);
    let error = registry(&http).query::<Row>(TEXT, None)?.try_next().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::DataConversion);
    Ok(())
}

#[tokio::test]
async fn devices_are_listed_as_twins() -> Result<()> {
    let answer = HttpAnswer::new(StatusCode::Ok, r#"[{"deviceId":"a"},{"deviceId":"b"}]"#);
    let http = ScriptedHttp::new([answer.with_header("x-ms-item-type", "Twin")]);
    let twins: Vec<Twin> = registry(&http).list_devices(None)?.try_collect().await?;
    assert_eq!(twins.iter().map(Twin::device_id).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(body(&http, 0), json!({ "query": "SELECT * FROM devices" }));
    Ok(())
}

/// Gives one row and a place, and never answers again. Says when it is no longer waited for.
#[derive(Debug)]
struct Slow(Mutex<Option<oneshot::Sender<()>>>, AtomicBool);

impl Slow {
    fn new() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Mutex::new(Some(sender)), false.into()), receiver)
    }
}

#[async_trait]
impl HttpClient for Slow {
    async fn execute_request(&self, _: &Request) -> Result<AsyncRawResponse> {
        if self.1.swap(true, Ordering::Relaxed) {
            let _held = self.0.lock().unwrap().take();
            std::future::pending::<()>().await;
        }
        let mut headers = Headers::new();
        headers.insert("x-ms-continuation", "a");
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, headers, r#"[{"n":1}]"#))
    }
}

fn page(rows: &[u32], next: Option<&str>) -> HttpAnswer {
    let rows: Vec<_> = rows.iter().map(|n| json!({ "n": n })).collect();
    let answer = HttpAnswer::new(StatusCode::Ok, json!(rows).to_string());
    match next {
        Some(next) => answer.with_header("x-ms-continuation", next.to_owned()),
        None => answer,
    }
}

fn resuming(continuation: Option<PagerContinuation>) -> QueryOptions<'static> {
    QueryOptions {
        method_options: PagerOptions {
            continuation,
            ..PagerOptions::default()
        },
        ..QueryOptions::default()
    }
}

/// Lets everything that can go on go on: a script answers without waiting.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

const TEXT: &str = "SELECT n FROM devices";

/// A transport that always brings the same page, and keeps nothing.
#[derive(Debug)]
struct OnePage(Bytes);

#[async_trait]
impl HttpClient for OnePage {
    async fn execute_request(&self, _: &Request) -> Result<AsyncRawResponse> {
        let headers = Headers::new();
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, headers, self.0.clone()))
    }
}

/// A million twins are ten thousand pages; an allocation too many for each shows here first.
#[test]
fn a_page_costs_little_more_than_its_twins() -> Result<()> {
    let twin = include_str!("../../../../iothub-core/testdata/twins/large.json");
    let body = Bytes::from(format!("[{}]", [twin; 100].join(",")));
    let registry = client(OnePage(body));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let query = || -> Result<Vec<Twin>> { runtime.block_on(registry.query_twins(TEXT, None)?.try_collect()) };
    assert_eq!(query()?.len(), 100, "and the token is made");
    let cost = allocation_counter::measure(|| drop(query()));
    assert!(cost.count_total <= 150, "{cost:?}");
    Ok(())
}

fn client(http: impl HttpClient + 'static) -> RegistryClient {
    let client_options = ClientOptions {
        transport: Some(Transport::new(Arc::new(http))),
        ..ClientOptions::default()
    };
    let options = RegistryClientOptions {
        client_options,
        ..RegistryClientOptions::default()
    };
    let key = SharedAccessKey::new("owner", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").unwrap();
    RegistryClient::new("hub.example".parse().unwrap(), key, Some(options)).unwrap()
}
