//! What `ServiceClient` costs beside fe2o3-amqp alone: messages of 1 KiB sent, and feedback received and settled, to and
//! from the same peer over the same TLS.
//!
//! `cargo bench -p iothub-service --bench beside_fe2o3` runs both in turns, so that whatever else the machine does slows
//! both down, and prints the medians. The peer is a process of its own. For instruction counts,
//! `valgrind --tool=callgrind BINARY send ours 10000` runs one side alone (or `receive`, or `raw`).

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "figures are what it is for, and a benchmark that cannot run has nobody to tell but its console"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use iothub_core::HubHost;
use tokio::runtime::{Builder, Runtime};

mod ours;
mod peer;
mod raw;

use ours::Ours;
use raw::Raw;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [PEER, ..] = arguments[..] {
        return peer::run();
    }
    let peer = Peer::start();
    // One thread, so that its time and its allocations are those of a client.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut sides = Sides {
        ours: runtime.block_on(Ours::new(&peer.host, &peer.root)),
        raw: runtime.block_on(Raw::new(&peer.host, &peer.root)),
        runtime,
    };
    if let [direction, side, messages] = arguments[..] {
        sides.run(direction, side, messages.parse().unwrap());
        return;
    }
    for direction in ["send", "receive"] {
        sides.compare(direction);
    }
}

struct Sides {
    runtime: Runtime,
    ours: Ours,
    raw: Raw,
}

/// What a round took.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    /// Of the thread, as far as the system tells.
    cpu: Duration,
    allocations: u64,
}

impl Sides {
    fn compare(&mut self, direction: &str) {
        let mut costs: [Vec<Cost>; 2] = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (side, name) in ["ours", "raw"].into_iter().enumerate() {
                let cost = self.run(direction, name, MESSAGES);
                // In the first, buffers grow and caches fill.
                if round > 0 {
                    costs[side].push(cost);
                }
            }
        }
        let [ours, raw] = costs;
        let rate = |costs: &[Cost]| MESSAGES as f64 / median(costs, |cost| cost.time.as_secs_f64());
        let cpu = |costs: &[Cost]| median(costs, |cost| cost.cpu.as_secs_f64()) * 1e6 / MESSAGES as f64;
        let allocations = |costs: &[Cost]| median(costs, |cost| cost.allocations as f64) / MESSAGES as f64;
        let (our_rate, raw_rate) = (rate(&ours), rate(&raw));
        println!("{direction}, {ROUNDS} rounds of {MESSAGES} messages, {WINDOW} under way:");
        println!(
            "  messages a second: {our_rate:.0} ours, {raw_rate:.0} raw: {:.3}",
            our_rate / raw_rate
        );
        let (our_cpu, raw_cpu) = (cpu(&ours), cpu(&raw));
        println!(
            "  µs of CPU a message: {our_cpu:.2} ours, {raw_cpu:.2} raw: {:.3}",
            raw_cpu / our_cpu
        );
        println!(
            "  allocations a message: {:.1} ours, {:.1} raw",
            allocations(&ours),
            allocations(&raw)
        );
    }

    fn run(&mut self, direction: &str, side: &str, messages: usize) -> Cost {
        let Self { runtime, ours, raw } = self;
        let (begun, cpu_before) = (Instant::now(), cpu_time());
        let allocated = allocation_counter::measure(|| match (direction, side) {
            ("send", "ours") => runtime.block_on(ours.send(messages)),
            ("send", "raw") => runtime.block_on(raw.send(messages)),
            ("receive", "ours") => runtime.block_on(ours.receive(messages)),
            ("receive", "raw") => runtime.block_on(raw.receive(messages)),
            _ => panic!("`send` or `receive`, `ours` or `raw`, and a number"),
        });
        Cost {
            time: begun.elapsed(),
            cpu: cpu_time() - cpu_before,
            allocations: allocated.count_total,
        }
    }
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What this thread has had of the processor, which Linux tells.
fn cpu_time() -> Duration {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

struct Peer {
    process: Child,
    host: HubHost,
    root: Bytes,
}

impl Peer {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(PEER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        let port: u16 = line().parse().unwrap();
        let root = serde_json::from_str::<Vec<u8>>(&line()).unwrap().into();
        let host: HubHost = "localhost".parse().unwrap();
        Self {
            process,
            host: host.with_amqps_port(port),
            root,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const PEER: &str = "--peer";
const ROUNDS: usize = 31;
const MESSAGES: usize = 5000;
/// Messages unsettled at a time, in either direction.
const WINDOW: usize = 500;
const C2D: &str = "/messages/devicebound";
const FEEDBACK: &str = "/messages/serviceBound/feedback";
