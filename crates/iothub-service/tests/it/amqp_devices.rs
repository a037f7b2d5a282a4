//! Devices that speak AMQP, at the other end of the service client.

use std::collections::BTreeMap;

use fe2o3_amqp::Delivery;
use fe2o3_amqp_types::{
    messaging::{ApplicationProperties, Body, Message, Properties},
    primitives::Value,
};
use iothub_core::{
    Result,
    models::{DirectMethodRequest, FeedbackStatus},
};
use iothub_service::{Ack, CloudToDeviceMessage};

use crate::{
    amqp_device::{Peer, text},
    feedback::read,
    hub::{Hub, soon},
};

#[tokio::test]
async fn the_hub_tells_what_a_device_did_and_gives_again_what_it_gave_back() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let mut lamp = Peer::connect(&hub.emulator, "device").await;
    let mut messages = lamp.receiver("/devices/lamp/messages/deviceBound").await;
    for id in ["completed", "rejected", "given back"] {
        let message = CloudToDeviceMessage {
            message_id: Some(id.to_owned()),
            ack: Ack::Full,
            ..CloudToDeviceMessage::new(id)
        };
        hub.service.send(&hub.lamp, message, None).await?;
    }
    let mut held = Vec::new();
    for id in ["completed", "rejected", "given back"] {
        let delivery: Delivery<Body<Value>> = messages.recv().await.unwrap();
        assert_eq!(text(&delivery), id);
        held.push(delivery);
    }
    // Not in the order in which they came.
    messages.reject(&held[1], None).await.unwrap();
    messages.release(&held[2]).await.unwrap();
    messages.accept(&held[0]).await.unwrap();
    for round in 0..3 {
        let again: Delivery<Body<Value>> = messages.recv().await.unwrap();
        assert_eq!(text(&again), "given back");
        match round {
            2 => messages.accept(&again).await.unwrap(),
            _ => messages.release(&again).await.unwrap(),
        }
    }
    settled(&hub, 6).await;
    hub.close_batch();
    let records = read(&mut hub.service.feedback(None), 3).await?;
    let expected = [
        ("completed".to_owned(), FeedbackStatus::Success),
        ("given back".to_owned(), FeedbackStatus::Success),
        ("rejected".to_owned(), FeedbackStatus::Rejected),
    ];
    assert_eq!(records, BTreeMap::from(expected));
    Ok(())
}

/// Returns when the device has said so often what became of a message.
async fn settled(hub: &Hub, count: usize) {
    let journal = hub.emulator.journal();
    let seen = std::cell::Cell::new(0);
    let nth = journal.wait_for(|event| {
        seen.set(seen.get() + usize::from(matches!(event, iothub_emulator::Event::Settled { .. })));
        seen.get() == count
    });
    soon("settlements", nth).await;
}

#[tokio::test]
async fn a_device_answers_methods() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let mut lamp = Peer::connect(&hub.emulator, "device").await;
    let address = "/devices/lamp/methods/deviceBound";
    let mut answers = lamp.sender(address).await;
    let mut requests = lamp.receiver(address).await;
    let method = DirectMethodRequest::new("blink");
    let device = async {
        let request: Delivery<Body<Value>> = requests.recv().await.unwrap();
        requests.accept(&request).await.unwrap();
        let id = request
            .message()
            .properties
            .as_ref()
            .unwrap()
            .correlation_id
            .clone()
            .unwrap();
        let answer = Message::builder()
            .properties(Properties::builder().correlation_id(id).build())
            .application_properties(
                ApplicationProperties::builder()
                    .insert("IoThub-status", 207_i32)
                    .build(),
            )
            .data(&b"[1.50]"[..])
            .build();
        answers.send(answer).await.unwrap().accepted_or("refused").unwrap();
    };
    let (answer, ()) = tokio::join!(hub.service.invoke_method(&hub.lamp, &method, None), device);
    let answer = answer?.into_model()?;
    assert_eq!(answer.status, 207);
    assert_eq!(answer.payload.expect("a payload").as_str(), "[1.50]");
    Ok(())
}

#[tokio::test]
async fn what_a_device_sends_reaches_the_reader_and_its_answer_the_sender() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let mut lamp = Peer::connect(&hub.emulator, "device").await;
    let mut events = lamp.sender("/devices/lamp/messages/events").await;
    let mut messages = lamp.receiver("/devices/lamp/messages/deviceBound").await;
    let mut backend = Peer::connect(&hub.emulator, "service").await;

    // The device says something, and the backend answers it by its id.
    let event = Message::builder()
        .properties(Properties::builder().message_id("reading 1".to_owned()).build())
        .data(&b"21.5"[..])
        .build();
    events.send(event).await.unwrap().accepted_or("refused").unwrap();
    let partition = hub.emulator.telemetry()[0].partition;
    let path = format!("iothub-ehub-localhost/ConsumerGroups/$Default/Partitions/{partition}");
    let mut reader = backend.receiver(&path).await;
    let event: Delivery<Body<Value>> = reader.recv().await.unwrap();
    reader.accept(&event).await.unwrap();
    assert_eq!(text(&event), "21.5");
    let message = CloudToDeviceMessage {
        message_id: Some("answer to reading 1".to_owned()),
        ..CloudToDeviceMessage::new("cool")
    };
    let device = async {
        let delivery: Delivery<Body<Value>> = messages.recv().await.unwrap();
        assert_eq!(text(&delivery), "cool");
        messages.accept(&delivery).await.unwrap();
        settled(&hub, 1).await;
        hub.close_batch();
    };
    let (confirmed, ()) = tokio::join!(hub.service.send_and_confirm(&hub.lamp, message, None), device);
    let record = confirmed?.record;
    assert_eq!(
        (record.original_message_id.as_str(), record.status),
        ("answer to reading 1", FeedbackStatus::Success)
    );
    Ok(())
}
