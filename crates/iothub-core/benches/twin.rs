//! How long twins take to read when nobody looks into their sections, one at a time and a page at a time.

use std::{hint::black_box, time::Duration};

use azure_core::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iothub_core::models::{Twin, TwinPage};

const TWIN: &str = include_str!("../testdata/twins/large.json");

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("twin");
    group
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1));

    let one = Bytes::from_static(TWIN.as_bytes());
    group.throughput(Throughput::Bytes(one.len() as u64));
    group.bench_function("one", |bencher| {
        bencher.iter(|| Twin::from_json(black_box(one.clone())))
    });
    group.bench_function("one by serde", |bencher| {
        bencher.iter(|| serde_json::from_str::<Twin>(black_box(TWIN)))
    });
    group.bench_function("one as a tree of values", |bencher| {
        bencher.iter(|| serde_json::from_str::<serde_json::Value>(black_box(TWIN)));
    });

    let page = Bytes::from(format!("[{}]", [TWIN; 100].join(",")));
    group.throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function("page of 100", |bencher| {
        bencher.iter(|| TwinPage::from_json(black_box(page.clone())))
    });

    let twin = Twin::from_json(one);
    group.throughput(Throughput::Elements(1));
    group.bench_function("one reported property", |bencher| {
        bencher.iter(|| {
            twin.as_ref()
                .map(|twin| twin.reported().get::<f64>(black_box("zone3.temperature")).ok())
        });
    });
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
