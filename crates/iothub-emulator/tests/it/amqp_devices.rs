//! Devices over AMQP and TLS: who they are, by a token in the security layer or by a certificate.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use fe2o3_amqp::{Connection, Receiver, Sender, Session, connection::ConnectionHandle, connection::OpenError};
use fe2o3_amqp_types::{
    definitions::Fields,
    messaging::{Body, Message},
    primitives::Value,
};
use iothub_emulator::{Emulator, EmulatorOptions, Target};
use ring::{digest::SHA256, hmac};
use serde_json::json;

use crate::{
    amqp::{connect, plain},
    certificates::{Authority, create, self_signed, thumbprint},
    client::{Client, Identity, tls_as},
};

/// A token of a device or module, signed with its own key.
pub(crate) fn device_token(emulator: &Emulator, target: &Target) -> String {
    let text = emulator.device_connection_string(target).unwrap();
    let (_, key) = text.split_once(";SharedAccessKey=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
    let module = target
        .module()
        .map(|id| format!("%2Fmodules%2F{id}"))
        .unwrap_or_default();
    let resource = format!("localhost%2Fdevices%2F{}{module}", target.device());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{resource}\n4102444800").as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se=4102444800")
}

async fn send(connection: &mut ConnectionHandle<()>, address: &str) -> Result<(), String> {
    let mut session = Session::begin(connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "s", address)
        .await
        .map_err(|error| error.to_string())?;
    let message = Message::builder().data(&b"on"[..]).build();
    sender.send(message).await.unwrap().accepted_or("not accepted").unwrap();
    Ok(())
}

#[tokio::test]
async fn devices_and_modules_sign_in_by_name_and_token() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let lamp = emulator.add_device("lamp").unwrap().target().clone();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let body = json!({"deviceId": "lamp", "moduleId": "bulb"}).to_string();
    let created = owner.put("/devices/lamp/modules/bulb", None, &body).await;
    assert_eq!(created.outcome(), "200");
    let bulb = emulator.module("lamp", "bulb").unwrap().target().clone();

    for (target, user, address) in [
        (&lamp, "lamp@sas.localhost", "/devices/lamp/messages/events"),
        (
            &bulb,
            "lamp/modules/bulb@sas.localhost",
            "/devices/lamp/modules/bulb/messages/events",
        ),
    ] {
        let token = device_token(&emulator, target);
        let mut connection = connect(&emulator, plain(user, token)).await.unwrap();
        send(&mut connection, address).await.unwrap();
    }
    let sources: Vec<_> = emulator.telemetry().iter().map(|event| event.source.clone()).collect();
    assert_eq!(sources, [lamp.clone(), bulb.clone()]);

    // The name of another, and the device in the place of its module.
    let refused = connect(&emulator, plain("other@sas.localhost", device_token(&emulator, &lamp))).await;
    assert!(matches!(refused, Err(OpenError::SaslError { .. })), "{refused:?}");
    let mut connection = connect(&emulator, plain("lamp@sas.localhost", device_token(&emulator, &lamp)))
        .await
        .unwrap();
    let refused = send(&mut connection, "/devices/lamp/modules/bulb/messages/events").await;
    assert!(refused.unwrap_err().contains("UnauthorizedAccess"));
}

async fn connect_as(emulator: &Emulator, identity: &Identity) -> ConnectionHandle<()> {
    let stream = tls_as(emulator, emulator.host().amqps_port(), b"", Some(identity)).await;
    Connection::builder()
        .container_id("client")
        .hostname("localhost")
        .scheme("amqp")
        .open_with_stream(stream)
        .await
        .unwrap()
}

#[tokio::test]
async fn devices_come_with_certificates() {
    let authority = Authority::new("plant");
    let options = EmulatorOptions {
        device_authorities: vec![authority.pem.clone()],
        ..EmulatorOptions::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let own = self_signed("whatever");
    let thumbprints = json!({"primaryThumbprint": thumbprint(&own, &SHA256)});
    let by_thumbprint = json!({"type": "selfSigned", "x509Thumbprint": thumbprints});
    create(&mut owner, "/devices/lamp", by_thumbprint).await;
    create(&mut owner, "/devices/hall", json!({"type": "certificateAuthority"})).await;

    let issued = authority.issue("hall");
    for (identity, device, lets_in) in [
        (&own, "lamp", true),
        (&issued, "hall", true),
        (&own, "hall", false),
        (&issued, "lamp", false),
    ] {
        let mut connection = connect_as(&emulator, identity).await;
        let sent = send(&mut connection, &format!("/devices/{device}/messages/events")).await;
        assert_eq!(sent.is_ok(), lets_in, "{device}: {sent:?}");
    }
    assert_eq!(emulator.telemetry().len(), 2);
}

#[tokio::test]
async fn a_device_names_its_model_and_receives_what_a_service_sends() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let lamp = emulator.add_device("lamp").unwrap().target().clone();
    let token = device_token(&emulator, &lamp);
    let mut connection = connect(&emulator, plain("lamp@sas.localhost", token)).await.unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut properties = Fields::default();
    let model = "dtmi:com:example:Lamp;1";
    properties.insert("com.microsoft:model-id".into(), Value::from(model));
    properties.insert("com.microsoft:client-version".into(), Value::from("test/1"));
    let _events = Sender::builder()
        .name("TelemetrySenderLink")
        .target("/devices/lamp/messages/events")
        .properties(properties)
        .attach(&mut session)
        .await
        .unwrap();
    let mut owner = Client::new(&emulator, "iothubowner").await;
    let twin = owner.get("/twins/lamp").await.json();
    assert_eq!(twin["modelId"], model);
    assert_eq!(twin["connectionState"], "Connected");

    let mut messages = Receiver::attach(
        &mut session,
        "TelemetryReceiverLink",
        "/devices/lamp/messages/deviceBound",
    )
    .await
    .unwrap();
    let mut service = crate::amqp::Service::connect(&emulator).await;
    let properties = fe2o3_amqp_types::messaging::Properties::default();
    service.send("lamp", "m1", Some("full"), properties, "on").await;
    let delivery = messages.recv::<Body<Value>>().await.unwrap();
    assert_eq!(delivery.delivery_tag().len(), 16);
    messages.accept(&delivery).await.unwrap();
    service.close().await;
    session.end().await.unwrap();
    connection.close().await.unwrap();
}
