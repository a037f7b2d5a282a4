//! Every target on its corpus, and on inputs made from it that are the same in each run.
#![expect(clippy::unwrap_used, reason = "a test that fails panics, and so do its helpers")]

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use iothub_emulator::fuzzing;
use iothub_emulator_fuzz::{Mutation, corpus};

/// One input at a time, so that a panic is the fault of the input under test.
static TURN: Mutex<()> = Mutex::new(());

/// Panics of all threads, because a task's or a helping thread's never reaches the one who waits for it.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// What one input may have on the heap at once. The largest body is 8 MiB, and its largest copy another.
const MOST_BYTES: u64 = 32 << 20;

const MUTATIONS: usize = 500;

#[test]
fn http() {
    check("http", fuzzing::http);
}

#[test]
fn amqp() {
    check("amqp", fuzzing::amqp);
}

#[test]
fn amqp_performatives() {
    check("amqp_performatives", fuzzing::amqp_performatives);
}

#[test]
fn mqtt() {
    check("mqtt", fuzzing::mqtt);
}

#[test]
fn management() {
    check("management", fuzzing::management);
}

#[test]
fn options() {
    check("options", fuzzing::options);
}

#[test]
fn certificate() {
    check("certificate", fuzzing::certificate);
}

#[test]
fn query() {
    check("query", fuzzing::query);
}

#[test]
fn device_lines() {
    check("device_lines", fuzzing::device_lines);
}

#[test]
fn configuration_lines() {
    check("configuration_lines", fuzzing::configuration_lines);
}

#[test]
fn state() {
    check("state", fuzzing::state);
}

/// Else nothing above would mean much.
#[test]
fn the_corpus_gets_past_the_doors() {
    let count = |text: &[u8], word: &[u8]| text.windows(word.len()).filter(|window| *window == word).count();
    let inputs = corpus("http").unwrap();
    let done = inputs
        .iter()
        .map(|(_, input)| count(&fuzzing::http(input), b"HTTP/1.1 20"));
    assert!(done.sum::<usize>() >= 25);
    let inputs = corpus("amqp").unwrap();
    // The descriptor of the outcome accepted: the token's, and that of at least one message.
    let mut done = inputs
        .iter()
        .map(|(_, input)| count(&fuzzing::amqp(input), b"\x00\x53\x24"));
    assert!(done.all(|accepted| accepted >= 2));
    let inputs = corpus("amqp_performatives").unwrap();
    let (_, device) = inputs.iter().find(|(name, _)| name == "device.frames").unwrap();
    // Its twin, that it had asked for.
    assert_eq!(count(&fuzzing::amqp_performatives(device), b"\"desired\":{"), 1);
    let inputs = corpus("mqtt").unwrap();
    let twins = inputs
        .iter()
        .map(|(_, input)| count(&fuzzing::mqtt(input), b"\"desired\":{"));
    assert_eq!(twins.sum::<usize>(), 2);
}

fn check<T>(name: &str, target: fn(&[u8]) -> T) {
    count_panics();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let inputs = corpus(name).unwrap();
    for (file, input) in &inputs {
        survives(name, target, file, input);
    }
    let mut mutation = Mutation::new(1);
    for number in 0..MUTATIONS {
        let (file, input) = mutation.of(&inputs);
        survives(name, target, &format!("{number}-{file}"), &input);
    }
}

fn survives<T>(name: &str, target: fn(&[u8]) -> T, input_name: &str, input: &[u8]) {
    let before = PANICS.load(Ordering::SeqCst);
    let cost = allocation_counter::measure(|| {
        // That there was a panic is in the count.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(target(input))));
    });
    let panics = PANICS.load(Ordering::SeqCst) - before;
    if panics > 0 || cost.bytes_max > MOST_BYTES {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{input_name}"));
        fs::write(&file, input).unwrap();
        panic!(
            "{panics} panics and {} bytes: cargo run -p iothub-emulator-fuzz --bin {name} -- {}",
            cost.bytes_max,
            file.display()
        );
    }
}

fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let show = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            show(what);
        }));
    });
}
