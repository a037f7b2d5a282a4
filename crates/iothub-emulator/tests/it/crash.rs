//! The binary is killed while clients write, and has to know afterwards whatever it told them.

mod hub;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fe2o3_amqp::Receiver;
use fe2o3_amqp_types::{
    messaging::{Body, Message, MessageId, Outcome, Properties},
    primitives::Value as AmqpValue,
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use self::hub::{Amqp, Hub};
use crate::{client::Client, directory::Directory};

const ROUNDS: usize = 6;

/// How long anything may take that is not about time.
const PATIENCE: Duration = Duration::from_secs(60);

const VERSION: &str = "?api-version=2021-04-12";

/// SplitMix64: the same numbers everywhere, forever.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn of(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}

/// What a writer was told of the devices that it alone makes.
#[derive(Default)]
struct Told {
    /// By device: what its twin says at least.
    twins: BTreeMap<String, u64>,
    deleted: BTreeSet<String>,
    /// `device/modules/module`.
    modules: BTreeSet<String>,
    telemetry: BTreeSet<String>,
    /// The device whose deletion was not answered.
    doubtful: Option<String>,
}

/// Writes over one connection until it breaks, and remembers what was acknowledged.
async fn write(mut client: Client, name: &'static str, mut told: Told, mut random: Random) -> (&'static str, Told) {
    let token = client.token.clone();
    let headers = [("authorization", token.as_str()), ("if-match", "*")];
    loop {
        let fresh = format!("{name}-{}", random.below(1 << 50));
        let nth = random.below(told.twins.len().max(1) as u64) as usize;
        let device = told.twins.iter().nth(nth).map(|(id, count)| (id.clone(), *count));
        let reply = match (random.below(6), device) {
            (0, _) | (_, None) => {
                let path = format!("/devices/{fresh}{VERSION}");
                let reply = client.raw("PUT", &path, &headers[..1], "{}").await;
                if reply.as_ref().is_ok_and(|reply| reply.status == 200) {
                    told.twins.insert(fresh, 0);
                }
                reply
            }
            (1 | 2, Some((id, count))) => {
                let next = count + 1;
                let body = json!({"tags": {"count": next}, "properties": {"desired": {"count": next}}});
                let path = format!("/twins/{id}{VERSION}");
                let reply = client.raw("PATCH", &path, &headers[..1], &body.to_string()).await;
                if reply.as_ref().is_ok_and(|reply| reply.status == 200) {
                    told.twins.insert(id, next);
                }
                reply
            }
            (3, Some((id, _))) => {
                let module = format!("{id}/modules/{fresh}");
                let path = format!("/devices/{module}{VERSION}");
                let reply = client.raw("PUT", &path, &headers[..1], "{}").await;
                if reply.as_ref().is_ok_and(|reply| reply.status == 200) {
                    told.modules.insert(module);
                }
                reply
            }
            (4, Some((id, _))) => {
                let path = format!("/devices/{id}/messages/events{VERSION}");
                let headers = [headers[0], ("iothub-messageid", &fresh)];
                let reply = client.raw("POST", &path, &headers, "x").await;
                if reply.as_ref().is_ok_and(|reply| reply.status == 204) {
                    told.telemetry.insert(fresh);
                }
                reply
            }
            (_, Some((id, _))) => {
                told.doubtful = Some(id.clone());
                let reply = client
                    .raw("DELETE", &format!("/devices/{id}{VERSION}"), &headers, "")
                    .await;
                if reply.as_ref().is_ok_and(|reply| reply.status == 204) {
                    told.doubtful = None;
                    told.twins.remove(&id);
                    told.deleted.insert(id);
                }
                reply
            }
        };
        match reply {
            Ok(reply) => assert!(reply.status.is_success(), "{reply:?}"),
            Err(_) => return (name, told),
        }
    }
}

/// Compares what a writer was told with what is there.
async fn check(client: &mut Client, told: &mut Told) {
    let doubtful = told.doubtful.take();
    for (id, count) in &mut told.twins {
        let reply = client.get(&format!("/twins/{id}")).await;
        if reply.status == 404 {
            assert_eq!(doubtful.as_ref(), Some(id), "{id} was made");
            told.deleted.insert(id.clone());
            continue;
        }
        let twin = reply.json();
        let stored = twin["tags"]["count"].as_u64().unwrap_or(0);
        let desired = twin["properties"]["desired"]["count"].as_u64().unwrap_or(0);
        assert_eq!(stored, desired, "{id} was changed as a whole");
        // One more change may have come that was not answered any more.
        assert!(
            (*count..=*count + 1).contains(&stored),
            "{id} has {stored} after {count}"
        );
        *count = stored;
    }
    for id in &told.deleted {
        told.twins.remove(id);
        assert_eq!(
            client.get(&format!("/twins/{id}")).await.status,
            404,
            "{id} was deleted"
        );
    }
    for module in &told.modules {
        let (device, _) = module.split_once('/').unwrap();
        let reply = client.get(&format!("/devices/{module}")).await;
        let is_there = !told.deleted.contains(device);
        assert_eq!(reply.status == 200, is_there, "{module}: {reply:?}");
    }
}

/// Receives until all of these messages have come.
async fn await_events(mut events: Receiver, mut expected: BTreeSet<String>) {
    while !expected.is_empty() {
        let delivery = events.recv::<Body<AmqpValue>>().await.unwrap();
        let properties = delivery.message().properties.as_ref().unwrap();
        if let Some(MessageId::String(id)) = &properties.message_id {
            expected.remove(id);
        }
        events.accept(&delivery).await.unwrap();
    }
}

/// What the one that sends to the device `box` and receives from there was told.
#[derive(Default)]
struct Boxed {
    accepted: BTreeSet<String>,
    /// Those whose completion was asked for.
    ended: BTreeSet<String>,
    completed: BTreeSet<String>,
}

/// Sends messages and completes some of them, until the hub is gone.
async fn send(mut amqp: Amqp, mut device: Client, mut random: Random, mut gone: watch::Receiver<bool>) -> Boxed {
    let mut sender = amqp.sender().await;
    let mut boxed = Boxed::default();
    let token = device.token.clone();
    let headers = [("authorization", token.as_str())];
    let path = "/devices/box/messages/devicebound";
    loop {
        let id = format!("message-{}", random.below(1 << 50));
        let properties = Properties::builder().to(path).message_id(id.clone()).build();
        let message = Message::builder().properties(properties).data(&b"x"[..]).build();
        let sent = tokio::select! {
            sent = sender.send(message) => sent,
            _ = gone.wait_for(|gone| *gone) => return boxed,
        };
        match sent {
            Ok(outcome) => assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}"),
            Err(_) => return boxed,
        }
        boxed.accepted.insert(id);
        if boxed.accepted.len() - boxed.completed.len() < 20 {
            continue;
        }
        let Ok(taken) = device.raw("GET", &format!("{path}{VERSION}"), &headers, "").await else {
            return boxed;
        };
        let id = taken.header("iothub-messageid").unwrap().to_owned();
        let tag = taken.header("etag").unwrap().trim_matches('"');
        boxed.ended.insert(id.clone());
        match device
            .raw("DELETE", &format!("{path}/{tag}{VERSION}"), &headers, "")
            .await
        {
            Ok(reply) => assert_eq!(reply.status, 204),
            Err(_) => return boxed,
        }
        boxed.completed.insert(id);
    }
}

/// Takes everything that waits in the box, and compares it with what was told.
async fn check_box(client: &mut Client, boxed: &Boxed) {
    let twin = client.get("/twins/box").await.json();
    let path = "/devices/box/messages/devicebound";
    let mut there = BTreeSet::new();
    loop {
        let taken = client.get(path).await;
        let Some(id) = taken.header("iothub-messageid") else {
            break;
        };
        assert!(there.insert(id.to_owned()), "{id} is there once");
        let tag = taken.header("etag").unwrap().trim_matches('"');
        let done = client.delete(&format!("{path}/{tag}"), None).await;
        assert_eq!(done.status, 204);
    }
    assert_eq!(twin["cloudToDeviceMessageCount"], there.len());
    for id in boxed.accepted.difference(&boxed.ended) {
        assert!(there.contains(id), "{id} was accepted");
    }
    assert!(there.is_disjoint(&boxed.completed), "what was completed comes again");
    // One more may have been accepted that was not answered any more.
    assert!(there.difference(&boxed.accepted).count() <= 1);
}

#[tokio::test]
async fn whatever_was_acknowledged_survives() {
    let directory = Directory::new();
    let mut hub = Hub::start(&directory).await;
    assert_eq!(hub.client().await.put("/devices/box", None, "{}").await.status, 200);
    let mut random = Random(0x5EED);
    let names = ["one", "two", "three", "four"];
    let mut all = Vec::from(names.map(|name| (name, Told::default())));
    let mut sent = 0;
    for _ in 0..ROUNDS {
        let (going, gone) = watch::channel(false);
        let mut writers = JoinSet::new();
        for (name, told) in all {
            writers.spawn(write(hub.client().await, name, told, random.of()));
        }
        let sending = tokio::spawn(send(hub.amqp().await, hub.client().await, random.of(), gone));
        // The only thing that happens at a time of its own: whatever is under way then.
        tokio::time::sleep(Duration::from_millis(100 + random.below(300))).await;
        drop(hub);
        going.send_replace(true);
        all = timeout(PATIENCE, writers.join_all()).await.expect("connections break");
        let boxed = timeout(PATIENCE, sending).await.expect("connections break").unwrap();
        sent += boxed.accepted.len();

        hub = Hub::start(&directory).await;
        let mut client = hub.client().await;
        for (_, told) in &mut all {
            check(&mut client, told).await;
        }
        check_box(&mut client, &boxed).await;
        let expected = all.iter().flat_map(|(_, told)| told.telemetry.clone()).collect();
        let mut amqp = hub.amqp().await;
        let received = timeout(PATIENCE, await_events(amqp.events().await, expected)).await;
        received.expect("what was sent is there to be read");
    }
    let done = |count: fn(&Told) -> usize| all.iter().map(|(_, told)| count(told)).sum::<usize>();
    let made = done(|told| told.twins.len() + told.deleted.len());
    for count in [
        made,
        done(|told| told.modules.len()),
        done(|told| told.telemetry.len()),
        sent,
    ] {
        assert!(count > ROUNDS, "clients had too little time to do anything");
    }
}
