//! How long a page of a query takes from the transport's answer to typed twins, through everything that stands between.

use std::{hint::black_box, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    Bytes,
    http::{AsyncRawResponse, ClientOptions, HttpClient, Request, StatusCode, Transport, headers::Headers},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt;
use iothub_auth::SharedAccessKey;
use iothub_core::{Result, models::Twin};
use iothub_registry::{RegistryClient, RegistryClientOptions};

const TWIN: &str = include_str!("../../iothub-core/testdata/twins/large.json");

/// A transport that always brings the same page.
#[derive(Debug)]
struct OnePage(Bytes);

#[async_trait]
impl HttpClient for OnePage {
    async fn execute_request(&self, _: &Request) -> Result<AsyncRawResponse> {
        let mut headers = Headers::new();
        headers.insert("content-type", "application/json; charset=utf-8");
        headers.insert("x-ms-item-type", "Twin");
        Ok(AsyncRawResponse::from_bytes(StatusCode::Ok, headers, self.0.clone()))
    }
}

fn page(criterion: &mut Criterion) {
    let body = Bytes::from(format!("[{}]", [TWIN; 100].join(",")));
    let length = body.len() as u64;
    let registry = registry(body);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime needs nothing");
    let query = || {
        let twins = registry
            .query_twins("SELECT * FROM devices", None)
            .expect("the text is one");
        let twins: Result<Vec<Twin>> = runtime.block_on(twins.try_collect());
        twins.expect("the page holds twins")
    };
    assert_eq!(query().len(), 100);
    let allocations = allocation_counter::measure(|| drop(black_box(query())));
    eprintln!("page of 100 twins: {} allocations", allocations.count_total);

    let mut group = criterion.benchmark_group("query");
    group
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .throughput(Throughput::Bytes(length));
    group.bench_function("page of 100 twins", |bencher| bencher.iter(|| black_box(query())));
    group.finish();
}

fn registry(body: Bytes) -> RegistryClient {
    let key = SharedAccessKey::new("service", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").expect("it is base64");
    let options = RegistryClientOptions {
        client_options: ClientOptions {
            transport: Some(Transport::new(Arc::new(OnePage(body)))),
            ..ClientOptions::default()
        },
        ..RegistryClientOptions::default()
    };
    let host = "hub.example".parse().expect("it is a host");
    RegistryClient::new(host, key, Some(options)).expect("it has a transport")
}

criterion_group!(benches, page);
criterion_main!(benches);
