//! The built-in devices, as a service sees them.

use std::time::Duration;

use iothub_emulator::{Emulator, EmulatorOptions, Event};
use serde_json::{Value, json};

use crate::client::Client;

#[tokio::test]
async fn simulated_devices_send_answer_and_follow() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let mut service = Client::new(&emulator, "iothubowner").await;
    let simulation = emulator.simulate(20, Duration::from_millis(50)).unwrap();
    simulation.all_connected().await;
    assert_eq!((simulation.devices(), simulation.connected()), (20, 20));

    let method = r#"{"methodName":"blink","payload":[1],"connectTimeoutInSeconds":30}"#;
    let answer = service.call("POST", "/twins/simulated-0007/methods", &[], method).await;
    assert_eq!(
        answer.json(),
        json!({"status": 200, "payload": {"ran": "blink", "with": [1]}})
    );

    // What is desired before it looks, and after.
    for colour in ["red", "blue"] {
        let patch = json!({"properties": {"desired": {"colour": colour, "telemetryInterval": 0.02}}}).to_string();
        let path = "/twins/simulated-0007";
        assert_eq!(service.call("PATCH", path, &[], &patch).await.status, 200);
        while service.get(path).await.json()["properties"]["reported"]["colour"] != colour {
            tokio::task::yield_now().await;
        }
    }

    let sent = |event: &Event| matches!(event, Event::Telemetry { source, sequence_number: 5.., .. } if source.device() == "simulated-0007");
    emulator.journal().wait_for(sent).await;
    let events = emulator.telemetry();
    let event = events
        .iter()
        .find(|event| event.source.device() == "simulated-0001")
        .unwrap();
    assert_eq!(event.message.content_type.as_deref(), Some("application/json"));
    let measured: Value = serde_json::from_slice(&event.message.body).unwrap();
    assert_eq!(measured["count"], 1);
    assert!(
        (17.0..=25.0).contains(&measured["temperature"].as_f64().unwrap()),
        "{measured}"
    );

    drop(simulation);
    let gone =
        |event: &Event| matches!(event, Event::Disconnected { target, .. } if target.device() == "simulated-0020");
    emulator.journal().wait_for(gone).await;
}

#[tokio::test]
async fn simulated_devices_come_back() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let simulation = emulator.simulate(1, Duration::from_secs(10)).unwrap();
    simulation.all_connected().await;
    // Somebody else takes over, and then the device again.
    emulator.device("simulated-0001").unwrap().go_online().unwrap();
    let again = |event: &Event| {
        matches!(
            event,
            Event::Disconnected {
                door: iothub_emulator::Door::InProcess,
                ..
            }
        )
    };
    emulator.journal().wait_for(again).await;
    simulation.all_connected().await;
    assert!(emulator.simulate(1, Duration::ZERO).is_err());
}
