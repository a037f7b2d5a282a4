use std::time::Duration;

use iothub_auth::{Credential, CredentialError};
use iothub_core::{
    HubErrorCode, ModuleId, Result,
    models::{DirectMethodRequest, DirectMethodResponse, JsonText},
};
use iothub_emulator::Event;
use iothub_service::Target;
use iothub_transport_amqp::Carrier;

use crate::hub::{Hub, client, code, credential, maybe_applied, soon, transport};

async fn invoke(hub: &Hub, target: &Target, method: &DirectMethodRequest) -> Result<DirectMethodResponse> {
    let invoked = hub.service.invoke_method(target, method, None);
    soon("the answer", invoked).await?.into_model()
}

fn times(hub: &Hub) -> usize {
    hub.emulator
        .journal()
        .count(|event| matches!(event, Event::MethodInvoked { .. }))
}

#[tokio::test]
async fn devices_and_modules_answer() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    hub.create_module("dimmer").await?;
    let lamp = hub.device();
    lamp.on_method(|name, _| (200, format!("\"lamp did {name}\"")))?;
    let dimmer = hub.emulator.module("lamp", "dimmer")?;
    dimmer.on_method(|name, _| (201, format!("\"dimmer did {name}\"")))?;

    let method = DirectMethodRequest::new("blink");
    let answer = invoke(&hub, &hub.lamp, &method).await?;
    let payload: String = answer.payload.expect("a payload").parse()?;
    assert_eq!((answer.status, payload.as_str()), (200, "lamp did blink"));
    let target = Target::Module(ModuleId::new("lamp".parse()?, "dimmer")?);
    let answer = invoke(&hub, &target, &method).await?;
    let payload: String = answer.payload.expect("a payload").parse()?;
    assert_eq!((answer.status, payload.as_str()), (201, "dimmer did blink"));
    Ok(())
}

#[tokio::test]
async fn every_kind_of_payload_comes_back_byte_for_byte() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    lamp.on_method(|_, payload| (200, payload.to_owned()))?;
    for json in [
        "true",
        "-0.10e+5",
        "12345678901234567890123",
        r#""größer \u00fc""#,
        "[ 1, [ ] ]",
        r#"{ "z": 1, "a": { } }"#,
        r#""2030-01-01T00:00:00.100+02:00""#,
    ] {
        let method = DirectMethodRequest::new("echo").with_payload(json.parse::<JsonText>()?);
        let answer = invoke(&hub, &hub.lamp, &method).await?;
        assert_eq!(answer.payload.as_ref().map(JsonText::as_str), Some(json));
    }
    for nothing in [
        DirectMethodRequest::new("echo"),
        DirectMethodRequest::new("echo").with_payload("null".parse::<JsonText>()?),
    ] {
        assert_eq!(invoke(&hub, &hub.lamp, &nothing).await?.payload, None);
    }
    Ok(())
}

#[tokio::test]
async fn who_is_unknown_is_not_who_is_away() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let method = DirectMethodRequest::new("blink");
    let ghost = Target::Device("ghost".parse()?);
    let error = invoke(&hub, &ghost, &method).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    let error = invoke(&hub, &hub.lamp, &method).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotOnline));
    assert!(!maybe_applied(&error));

    let lamp = hub.device();
    drop(lamp.methods()?);
    let error = invoke(&hub, &hub.lamp, &method).await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotOnline), "it listens no more");
    Ok(())
}

#[tokio::test]
async fn a_device_that_is_on_its_way_is_waited_for() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    let method = DirectMethodRequest::new("blink").with_connect_timeout(Duration::from_secs(20));
    let (invoked, ()) = futures::join!(invoke(&hub, &hub.lamp, &method), async {
        let waits = |event: &Event| matches!(event, Event::MethodWaits { .. });
        hub.emulator.journal().wait_for(waits).await;
        lamp.on_method(|_, _| (200, String::new())).unwrap();
    });
    assert_eq!(invoked?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_device_that_does_not_answer_may_have_run_it_and_answers_the_next() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    let mut methods = lamp.methods()?;
    let method = DirectMethodRequest::new("blink").with_response_timeout(Duration::from_secs(5));
    let (error, taken) = futures::join!(invoke(&hub, &hub.lamp, &method), async {
        let taken = methods.recv().await;
        hub.emulator.clock().advance(Duration::from_secs(6));
        taken
    });
    let error = error.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::GatewayTimeout));
    assert!(maybe_applied(&error), "{error}");
    assert_eq!(times(&hub), 1);
    drop(taken);

    let (answer, ()) = futures::join!(invoke(&hub, &hub.lamp, &method), async {
        let method = methods.recv().await.expect("a method");
        method.answer(200, "7").expect("the service waits");
    });
    assert_eq!(answer?.payload.as_ref().map(JsonText::as_str), Some("7"));
    Ok(())
}

#[tokio::test]
async fn a_method_whose_answer_is_lost_has_run_once() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    lamp.on_method(|_, _| (200, String::new()))?;
    hub.emulator.faults().lose_next_answers(1);
    let error = invoke(&hub, &hub.lamp, &DirectMethodRequest::new("blink"))
        .await
        .unwrap_err();
    assert!(maybe_applied(&error), "{error}");
    assert_eq!(times(&hub), 1);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_takes_minutes_is_awaited() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    let mut methods = lamp.methods()?;
    let method = DirectMethodRequest::new("blink").with_response_timeout(Duration::from_secs(300));
    let (answer, ()) = futures::join!(hub.service.invoke_method(&hub.lamp, &method, None), async {
        let method = methods.recv().await.expect("a method");
        // For all timers of the client. The hub has a clock of its own.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(299)).await;
        tokio::time::resume();
        method.answer(200, "7").expect("the service waits");
    });
    assert_eq!(answer?.into_model()?.status, 200);
    assert_eq!(times(&hub), 1);
    Ok(())
}

#[tokio::test]
async fn methods_go_on_when_a_signature_is_renewed() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    lamp.on_method(|_, _| (200, String::new()))?;
    let signed = |seconds| {
        let Credential::SharedAccessKey(key) = credential(&hub.emulator, "service") else {
            panic!("a policy has a key")
        };
        let expires_on = hub.emulator.clock().now() + Duration::from_secs(seconds);
        key.sign(hub.emulator.host().name(), expires_on)
    };
    let signature = signed(600);
    let service = client(&hub.emulator, signature.clone(), transport(&hub.emulator, Carrier::Tls));
    let method = DirectMethodRequest::new("blink");
    let invoke = || async { service.invoke_method(&hub.lamp, &method, None).await?.into_model() };
    assert_eq!(invoke().await?.status, 200);

    hub.emulator.clock().advance(Duration::from_secs(3600));
    let error = invoke().await.unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::IotHubUnauthorizedAccess), "{error}");
    assert!(!maybe_applied(&error));

    signature.update(signed(600));
    assert_eq!(invoke().await?.status, 200);
    assert_eq!(times(&hub), 2);
    Ok(())
}

#[tokio::test]
async fn a_hub_whose_clock_is_ahead_teaches_the_time() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let lamp = hub.device();
    lamp.on_method(|_, _| (200, String::new()))?;
    let service = hub.service_of("service");
    let method = DirectMethodRequest::new("blink");
    let invoke = || async { service.invoke_method(&hub.lamp, &method, None).await?.into_model() };
    assert_eq!(invoke().await?.status, 200);

    // More than a token is good for: the hub refuses what was signed by the client's clock.
    hub.emulator.clock().advance(Duration::from_secs(2 * 3600));
    assert_eq!(invoke().await?.status, 200);
    assert_eq!(times(&hub), 2);

    // What nobody's clock is off by is more likely a mistake of the hub's.
    hub.emulator.clock().advance(Duration::from_secs(23 * 3600));
    let error = invoke().await.unwrap_err();
    assert!(
        matches!(CredentialError::of(&error), Some(CredentialError::ClockSkew { .. })),
        "{error}"
    );
    assert_eq!(times(&hub), 2);
    Ok(())
}

#[tokio::test]
async fn a_queue_is_purged() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    for _ in 0..3 {
        hub.switch_on().await?;
    }
    let purged = hub
        .service
        .purge_message_queue(&"lamp".parse()?, None)
        .await?
        .into_model()?;
    assert_eq!((purged.device_id.as_str(), purged.total_messages_purged), ("lamp", 3));
    assert!(hub.device().try_recv().is_none());
    let error = hub
        .service
        .purge_message_queue(&"ghost".parse()?, None)
        .await
        .unwrap_err();
    assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
    Ok(())
}

#[tokio::test]
async fn connected_devices_are_counted() -> Result<()> {
    let hub = Hub::with_a_lamp().await;
    let count = async || -> Result<u64> {
        let statistics = hub.service.get_service_statistics(None).await?;
        Ok(statistics.into_model()?.connected_device_count)
    };
    assert_eq!(count().await?, 0);
    let lamp = hub.device();
    lamp.go_online()?;
    assert_eq!(count().await?, 1);
    Ok(())
}
