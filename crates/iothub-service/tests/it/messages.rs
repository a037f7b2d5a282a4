use std::{collections::BTreeMap, num::NonZeroUsize};

use futures::{StreamExt, stream};
use iothub_core::{ModuleId, Result};
use iothub_emulator::{Ack as ReceivedAck, Emulator};
use iothub_service::{Ack, CloudToDeviceMessage, SendAllOptions, Target};
use iothub_transport_amqp::Carrier;
use time::macros::datetime;

use crate::hub::Hub;

#[tokio::test]
async fn a_message_arrives_as_it_was_meant() -> Result<()> {
    for carrier in [Carrier::Tls, Carrier::WebSocket] {
        let hub = Hub::over(carrier).await;
        let message = CloudToDeviceMessage {
            message_id: Some("m-1".to_owned()),
            correlation_id: Some("c-1".to_owned()),
            user_id: Some("operator".to_owned()),
            expiry_time: Some(datetime!(2999-01-02 03:04:05.678 UTC)),
            ack: Ack::Full,
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            creation_time: Some(datetime!(2026-01-02 03:04:05.5 UTC)),
            message_schema: Some("switch".to_owned()),
            properties: BTreeMap::from([("größe".to_owned(), "1 & 2".to_owned())]),
            ..CloudToDeviceMessage::new(r#"{"on":true}"#)
        };
        let sent = hub.service.send(&hub.lamp, message, None).await?;
        assert_eq!((sent.message_id.as_deref(), sent.attempts), (Some("m-1"), 1));

        let received = hub.device().recv().await.complete()?;
        assert_eq!(received.body, r#"{"on":true}"#);
        assert_eq!(received.message_id.as_deref(), Some("m-1"));
        assert_eq!(received.correlation_id.as_deref(), Some("c-1"));
        assert_eq!(received.user_id.as_deref(), Some(&b"operator"[..]));
        assert_eq!(received.expiry, Some(datetime!(2999-01-02 03:04:05.678 UTC)));
        assert_eq!(received.ack, ReceivedAck::Full);
        assert_eq!(received.content_type.as_deref(), Some("application/json"));
        assert_eq!(received.content_encoding.as_deref(), Some("utf-8"));
        assert_eq!(received.creation_time.as_deref(), Some("2026-01-02T03:04:05.5000000Z"));
        assert_eq!(received.message_schema.as_deref(), Some("switch"));
        assert_eq!(received.properties, [("größe".to_owned(), "1 & 2".to_owned())]);
        hub.service.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_message_of_the_largest_size_arrives() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let body: Vec<u8> = (0..64 * 1024 - 34).map(|n: u32| n.to_le_bytes()[0]).collect();
    hub.service
        .send(&hub.lamp, CloudToDeviceMessage::new(body.clone()), None)
        .await?;
    assert_eq!(hub.device().recv().await.complete()?.body, body);
    Ok(())
}

#[tokio::test]
async fn a_message_may_be_empty() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.service.send(&hub.lamp, CloudToDeviceMessage::new(""), None).await?;
    assert_eq!(hub.device().recv().await.complete()?.body, "");
    Ok(())
}

#[tokio::test]
async fn a_message_comes_again_until_the_device_has_done_with_it() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    for body in ["a", "b", "c"] {
        hub.service
            .send(&hub.lamp, CloudToDeviceMessage::new(body), None)
            .await?;
    }
    let lamp = hub.device();
    for again in 0..3 {
        let message = lamp.recv().await;
        assert_eq!((&message.body[..], message.delivery_count()), (&b"a"[..], again));
        message.abandon()?;
    }
    let [a, b, c] = [lamp.recv().await, lamp.recv().await, lamp.recv().await];
    // In whichever order.
    assert_eq!(c.complete()?.body, "c");
    assert_eq!(a.complete()?.body, "a");
    assert_eq!(b.reject()?.body, "b");
    assert!(lamp.try_recv().is_none());
    Ok(())
}

#[tokio::test]
async fn messages_keep_their_order_and_one_link() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let device = hub.device();
    let receiving = tokio::spawn(async move {
        let mut received = Vec::new();
        while received.len() < 200 {
            received.push(device.recv().await.complete()?.body.clone());
        }
        Result::Ok(received)
    });
    // A hub keeps fifty messages for a device, so that this is also how many may be under way to one.
    let options = SendAllOptions {
        window: NonZeroUsize::new(40),
        ..SendAllOptions::default()
    };
    let lamp = hub.lamp.clone();
    let messages = stream::iter(0..200).map(move |n| (lamp.clone(), CloudToDeviceMessage::new(n.to_string())));
    let results: Vec<_> = hub.service.send_all(messages, Some(options)).collect().await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    assert_eq!(receiving.await.expect("no panic")?, expected);
    assert_eq!(hub.opened_and_attached(), (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_module_has_a_queue_of_its_own() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.create_module("dimmer").await?;
    let dimmer = Target::Module(ModuleId::new("lamp".parse()?, "dimmer")?);
    hub.service
        .send(&dimmer, CloudToDeviceMessage::new("50 %"), None)
        .await?;
    assert!(hub.device().try_recv().is_none());
    assert_eq!(hub.queued(), 1);
    Ok(())
}

#[tokio::test]
async fn clones_share_a_connection() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    for _ in 0..2 {
        hub.service.warm_up(None).await?;
    }
    let sends = (0..20).map(|_| {
        let (service, lamp) = (hub.service.clone(), hub.lamp.clone());
        tokio::spawn(async move { service.send(&lamp, CloudToDeviceMessage::new("on"), None).await })
    });
    for sent in sends.collect::<Vec<_>>() {
        sent.await.expect("no panic")?;
    }
    assert_eq!((hub.queued(), hub.opened_and_attached()), (20, (1, 1)));
    Ok(())
}

#[tokio::test]
async fn an_emulator_that_is_gone_is_not_waited_for_by_drop() {
    let hub = Hub::with_a_lamp().await;
    hub.switch_on().await.unwrap();
    let Hub { emulator, service, .. } = hub;
    Emulator::shutdown(emulator).await;
    drop(service);
}
