//! Requests per second against a server in the same process: one at a time, and 64 at once.

#[path = "../tests/it/server.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests' server, of which a benchmark needs a part"
)]
mod server;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, stream};

use crate::server::{Authority, Server, get, ok};

fn round_trips(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let authority = Authority::new();
    for protocol in ["http/1.1", "h2"] {
        let identity = authority.server("localhost").offering(&[protocol]);
        let server = runtime.block_on(Server::answering(identity, |_| async { ok(r#"{"deviceId":"lamp"}"#) }));
        let (transport, url) = (
            authority.transport(),
            server.url("/devices/lamp?api-version=2021-04-12"),
        );

        let mut group = criterion.benchmark_group(protocol.replace('/', " "));
        group.throughput(Throughput::Elements(1));
        group.bench_function("one at a time", |bencher| {
            bencher.to_async(&runtime).iter(|| get(&transport, &url));
        });
        group.throughput(Throughput::Elements(AT_ONCE as u64));
        group.bench_function("64 at once", |bencher| {
            bencher.to_async(&runtime).iter(|| {
                let requests = stream::iter(0..AT_ONCE).map(|_| get(&transport, &url));
                requests
                    .buffer_unordered(AT_ONCE)
                    .for_each(|answer| async move { drop(answer.expect("an answer")) })
            });
        });
        group.finish();
    }
}

const AT_ONCE: usize = 64;

criterion_group!(benches, round_trips);
criterion_main!(benches);
