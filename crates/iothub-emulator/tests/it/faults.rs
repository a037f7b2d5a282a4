use std::time::Duration;

use iothub_emulator::{Emulator, EmulatorOptions, Event, Operation};

use crate::client::Client;

fn creations(emulator: &Emulator) -> usize {
    emulator.journal().count(|event| {
        matches!(
            event,
            Event::Executed {
                operation: Operation::Create,
                ..
            }
        )
    })
}

#[tokio::test]
async fn throttling_does_nothing_and_says_so() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.faults().throttle_next(2);
    for (expected, count) in [
        ("429 ThrottlingException", 0),
        ("429 ThrottlingException", 0),
        ("200", 1),
    ] {
        // The hub closes the connection with the refusal.
        let mut client = Client::new(&emulator, "iothubowner").await;
        let reply = client.put("/devices/lamp", None, "{}").await;
        assert_eq!(reply.outcome(), expected);
        assert_eq!(reply.header("retry-after"), None);
        assert_eq!(creations(&emulator), count);
    }
}

#[tokio::test]
async fn a_lost_answer_was_carried_out_and_a_lost_request_was_not() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for (id, executed) in [("kept", 1), ("lost", 1)] {
        match id {
            "kept" => emulator.faults().lose_next_answers(1),
            _ => emulator.faults().lose_next_requests(1),
        }
        let mut client = Client::new(&emulator, "iothubowner").await;
        let token = client.token.clone();
        let path = format!("/devices/{id}?api-version=2021-04-12");
        let lost = client.raw("PUT", &path, &[("authorization", &token)], "{}").await;
        assert!(lost.is_err(), "{id}");
        assert_eq!(creations(&emulator), executed, "{id}");
    }
}

#[tokio::test]
async fn a_turned_clock_ends_tokens() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut client = Client::new(&emulator, "iothubowner").await;
    assert_eq!(client.get("/devices").await.outcome(), "200");
    emulator.clock().advance(Duration::from_secs(100 * 366 * 24 * 3600));
    assert_eq!(client.get("/devices").await.outcome(), "401 IotHubUnauthorizedAccess");
}

#[tokio::test]
async fn root_and_keys_move_into_the_data_directory() {
    let directory = std::env::temp_dir().join(format!("iothub-emulator-{}", std::process::id()));
    let options = EmulatorOptions {
        data_dir: Some(directory.clone()),
        ..Default::default()
    };
    let first = Emulator::start(options.clone()).await.unwrap();
    let root = first.root_certificate().to_owned();
    let key = |emulator: &Emulator| {
        let text = emulator.connection_string("service").unwrap();
        text.split_once(";").unwrap().1.to_owned()
    };
    let keys = key(&first);
    first.shutdown().await;

    let second = Emulator::start(options).await.unwrap();
    assert_eq!(second.root_certificate(), root);
    assert_eq!(key(&second), keys);
    // The handshake shows that the kept root signs for the new certificate.
    let mut client = Client::new(&second, "iothubowner").await;
    assert_eq!(client.get("/devices").await.outcome(), "200");
    std::fs::remove_dir_all(directory).unwrap();
}
