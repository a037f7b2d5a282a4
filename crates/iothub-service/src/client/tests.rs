use std::{num::NonZeroUsize, time::Duration};

use azure_core::http::ClientMethodOptions;
use futures::{StreamExt, stream};
use iothub_auth::SharedAccessKey;
use iothub_core::{
    CallFacts, HubError, HubErrorCode,
    amqp::{self, AmqpBody, AmqpError, AmqpScope, Outcome},
    models::DirectMethodRequest,
    testing::{ScriptedAmqp, ScriptedHttp, SendAnswer, TokenAnswer},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::*;
use crate::{CloudToDeviceMessage, SendAllOptions, SendOptions, Sent, Target};

mod confirming;
mod methods;
mod receiving;

fn client(hub: &ScriptedAmqp, options: ServiceClientOptions) -> ServiceClient {
    let key = SharedAccessKey::new("service", "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=").unwrap();
    let options = ServiceClientOptions {
        amqp_transport: Some(Arc::new(hub.clone())),
        client_options: match options.client_options.transport {
            Some(_) => options.client_options,
            None => ScriptedHttp::default().client_options(),
        },
        ..options
    };
    ServiceClient::new("my-hub.azure-devices.net".parse().unwrap(), key, Some(options)).unwrap()
}

fn service(hub: &ScriptedAmqp) -> ServiceClient {
    client(hub, ServiceClientOptions::default())
}

/// A client that speaks HTTP only.
fn over_http(http: &ScriptedHttp) -> ServiceClient {
    let options = ServiceClientOptions {
        client_options: http.client_options(),
        ..ServiceClientOptions::default()
    };
    client(&ScriptedAmqp::new(), options)
}

/// Compiles or not.
#[test]
fn clients_are_shared_and_calls_are_sent_between_threads() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    fn is_sent<T: Send>(_: T) {}
    is_shared::<ServiceClient>();
    is_shared::<crate::ReceiverWatch>();
    let hub = ScriptedAmqp::new();
    let (service, lamp) = (service(&hub), lamp());
    is_sent(service.send(&lamp, on(), None));
    is_sent(service.send_all(stream::iter([(lamp.clone(), on())]), None));
    is_sent(service.send_and_confirm(&lamp, on(), None));
    is_sent(service.feedback(None));
    is_sent(service.file_notifications(None));
    is_sent(service.receive_feedback(None));
    is_sent(service.invoke_method(&lamp, &DirectMethodRequest::new("blink"), None));
    is_sent(service.close());
}

fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

fn lamp() -> Target {
    Target::Device("lamp".parse().unwrap())
}

fn on() -> CloudToDeviceMessage {
    CloudToDeviceMessage::new("on")
}

fn within(deadline: Duration) -> CallLimits {
    CallLimits {
        deadline: Some(deadline),
        ..CallLimits::default()
    }
}

fn bodies(hub: &ScriptedAmqp) -> Vec<String> {
    let text = |message: &amqp::AmqpMessage| match &message.body {
        AmqpBody::Data(data) => String::from_utf8_lossy(data).into_owned(),
        other => panic!("{other:?}"),
    };
    hub.sent().iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_to_its_device() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let sent = service(&hub).send(&lamp(), on(), None).await?;
    assert_eq!(
        sent,
        Sent {
            message_id: None,
            attempts: 1
        }
    );
    let [message] = &hub.sent()[..] else {
        panic!("one message")
    };
    assert_eq!(message.to.as_deref(), Some("/devices/lamp/messages/devicebound"));
    assert_eq!(message.message_id, None);
    assert_eq!(hub.attaches("/messages/devicebound"), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ids_are_generated_when_asked_for_and_never_replaced() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let options = ServiceClientOptions {
        message_ids: MessageIds::Generated,
        ..ServiceClientOptions::default()
    };
    let service = client(&hub, options);
    let generated = service.send(&lamp(), on(), None).await?.message_id.expect("an id");
    assert!(Uuid::parse_str(&generated).is_ok());
    let message = CloudToDeviceMessage {
        message_id: Some("mine".to_owned()),
        ..on()
    };
    let given = service.send(&lamp(), message, None).await?.message_id;
    assert_eq!(given.as_deref(), Some("mine"));
    let on_the_wire: Vec<_> = hub
        .sent()
        .into_iter()
        .filter_map(|message| message.message_id)
        .collect();
    assert_eq!(on_the_wire, [AmqpValue::from(generated), "mine".into()]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_that_may_come_twice_has_an_id() -> Result<()> {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([SendAnswer::End(AmqpError::new(AmqpScope::Connection))]);
    let options = SendOptions {
        at_least_once: true,
        ..SendOptions::default()
    };
    let sent = service(&hub).send(&lamp(), on(), Some(options)).await?;
    let id = sent.message_id.expect("an id");
    let ids: Vec<_> = hub
        .sent()
        .into_iter()
        .filter_map(|message| message.message_id)
        .collect();
    assert_eq!((sent.attempts, ids), (2, vec![AmqpValue::from(id); 2]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_lost_message_is_not_sent_twice_unasked() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([SendAnswer::End(AmqpError::new(AmqpScope::Connection))]);
    let error = service(&hub).send(&lamp(), on(), None).await.unwrap_err();
    assert!(CallFacts::of(&error).expect("facts").maybe_applied);
    assert_eq!(hub.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_does_not_open_a_connection() {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    let large = CloudToDeviceMessage::new(vec![0; 65537]);
    let error = service.send(&lamp(), large, None).await.unwrap_err();
    let code = HubError::of(&error).map(|hub| &hub.code);
    assert_eq!(code, Some(&HubErrorCode::MessageTooLarge));

    let options = SendOptions {
        method_options: ClientMethodOptions {
            context: Context::new().with_value(within(Duration::ZERO)),
        },
        ..SendOptions::default()
    };
    let error = service.send(&lamp(), on(), Some(options)).await.unwrap_err();
    assert!(error.to_string().contains("zero"), "{error}");
    assert_eq!(hub.connects(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_call_comes_before_that_of_the_client() {
    let hub = ScriptedAmqp::new();
    hub.refuse_connects(1000);
    let options = ServiceClientOptions {
        limits: within(Duration::from_secs(20)),
        ..ServiceClientOptions::default()
    };
    let service = client(&hub, options);
    let begin = Instant::now();
    let error = service.send(&lamp(), on(), None).await.unwrap_err();
    assert_eq!((begin.elapsed().as_secs(), error.kind()), (20, &ErrorKind::Connection));

    let begin = Instant::now();
    let options = WarmUpOptions {
        method_options: ClientMethodOptions {
            context: Context::new().with_value(within(Duration::from_secs(3))),
        },
    };
    assert!(service.warm_up(Some(options)).await.is_err());
    assert_eq!(begin.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_an_error_of_that_kind() {
    let hub = ScriptedAmqp::new();
    hub.answer_tokens([TokenAnswer::refused(401), TokenAnswer::refused(401)]);
    let error = service(&hub).send(&lamp(), on(), None).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Credential);
    assert!(!CallFacts::of(&error).expect("facts").maybe_applied);
    assert!(hub.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_its_window_full_and_its_order() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends((0..100).map(|_| SendAnswer::Hold));
    let service = service(&hub);
    let options = SendAllOptions {
        window: NonZeroUsize::new(20),
        ..SendAllOptions::default()
    };
    let messages = stream::iter(0..100).map(|n: u32| (lamp(), CloudToDeviceMessage::new(n.to_string())));
    let results = tokio::spawn(service.send_all(messages, Some(options)).collect::<Vec<_>>());
    hub.until(|hub| hub.sent().len() == 20).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(hub.sent().len(), 20, "no more than the window are under way");

    let settling = {
        let hub = hub.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                hub.settle_held(&Outcome::Accepted);
            }
        })
    };
    let results = results.await.expect("no panic");
    settling.abort();
    assert!(results.len() == 100 && results.iter().all(Result::is_ok));
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&hub), expected);
}

#[tokio::test(start_paused = true)]
async fn one_bad_message_does_not_stop_the_stream() {
    let hub = ScriptedAmqp::new();
    hub.answer_sends([
        SendAnswer::Settle(Outcome::Accepted),
        SendAnswer::rejected("amqp:not-found"),
        SendAnswer::Settle(Outcome::Accepted),
        SendAnswer::End(AmqpError::new(AmqpScope::Link)),
    ]);
    let messages = [on(), on(), CloudToDeviceMessage::new(vec![0; 70_000]), on(), on(), on()];
    let messages = stream::iter(messages).map(|message| (lamp(), message));
    let results: Vec<_> = service(&hub).send_all(messages, None).collect().await;
    let shown: Vec<_> = results
        .iter()
        .map(|result| match result {
            Ok(_) => "stored".to_owned(),
            Err(error) => match HubError::of(error) {
                Some(hub) => hub.code.to_string(),
                None if CallFacts::of(error).is_some_and(|facts| facts.maybe_applied) => "perhaps".to_owned(),
                None => error.to_string(),
            },
        })
        .collect();
    assert_eq!(
        shown,
        [
            "stored",
            "DeviceNotFound",
            "MessageTooLarge",
            "stored",
            "perhaps",
            "stored"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_says_so() -> Result<()> {
    let hub = ScriptedAmqp::new();
    let service = service(&hub);
    service.warm_up(None).await?;
    assert_eq!(
        (hub.open_connections(), hub.open_links("/messages/devicebound")),
        (1, 1)
    );
    service.clone().close().await?;
    let error = service.send(&lamp(), on(), None).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    assert_eq!(hub.open_connections(), 0);
    Ok(())
}

#[test]
fn an_application_id_is_one_word() {
    assert_eq!(
        client_version(Some("my-app")).unwrap(),
        format!("my-app {}", client_version(None).unwrap())
    );
    for bad in ["", "my app", "ümlaut", "a234567890123456789012345"] {
        assert!(
            client_version(Some(bad))
                .unwrap_err()
                .to_string()
                .contains("application id")
        );
    }
}

#[test]
fn a_client_is_shared_and_made_without_a_runtime() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let hub = ScriptedAmqp::new();
    is_shared(&service(&hub));
}

#[cfg(not(feature = "fe2o3"))]
#[test]
fn without_a_transport_the_constructor_says_what_is_missing() {
    let text = "HostName=my-hub.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=bm90LWEtcmVhbC1rZXk=";
    let error = ServiceClient::from_connection_string(text, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("ServiceClientOptions::amqp_transport"), "{error}");
}
