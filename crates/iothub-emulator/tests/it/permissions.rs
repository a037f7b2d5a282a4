//! Who may do what: policies as documentation of shared access signatures has them, roles as their definitions have.

use iothub_emulator::{Emulator, EmulatorOptions, Role};

use super::{client::Client, entra};

/// An operation, the policies that allow it besides `iothubowner`, and the roles besides the data contributor's.
struct Row(
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [Role],
);

use Role::{DataReader, RegistryContributor, TwinContributor};

const READ: &[&str] = &["registryRead", "registryReadWrite"];
const WRITE: &[&str] = &["registryReadWrite"];
const SERVICE: &[&str] = &["service"];

const SERVICES: [Row; 16] = [
    Row("GET", "/devices/lamp", "", READ, &[DataReader, RegistryContributor]),
    Row("GET", "/devices?top=1", "", READ, &[DataReader, RegistryContributor]),
    Row("PUT", "/devices/new", "{}", WRITE, &[RegistryContributor]),
    Row("POST", "/devices", "[]", WRITE, &[RegistryContributor]),
    Row("DELETE", "/devices/none", "", WRITE, &[RegistryContributor]),
    Row("GET", "/twins/lamp", "", SERVICE, &[DataReader, TwinContributor]),
    Row("PATCH", "/twins/lamp", "{}", SERVICE, &[TwinContributor]),
    Row(
        "POST",
        "/devices/query",
        r#"{"query":"SELECT * FROM devices"}"#,
        SERVICE,
        &[DataReader, TwinContributor],
    ),
    Row("POST", "/twins/lamp/methods", r#"{"methodName":"m"}"#, SERVICE, &[]),
    Row("GET", "/messages/servicebound/feedback", "", SERVICE, &[]),
    Row("DELETE", "/devices/lamp/commands", "", SERVICE, &[]),
    Row("GET", "/statistics/service", "", SERVICE, &[DataReader]),
    Row("GET", "/statistics/devices", "", READ, &[DataReader]),
    Row("GET", "/configurations", "", READ, &[DataReader]),
    Row("DELETE", "/configurations/none", "", WRITE, &[]),
    Row("GET", "/jobs", "", READ, &[DataReader]),
];

const DEVICES: [Row; 3] = [
    Row("POST", "/devices/lamp/messages/events", "on", &["device"], &[]),
    Row("GET", "/devices/lamp/messages/devicebound", "", &["device"], &[]),
    Row("POST", "/devices/lamp/files", r#"{"blobName":"b"}"#, &["device"], &[]),
];

impl Row {
    async fn is_allowed(&self, client: &mut Client) -> bool {
        let Self(method, path, body, ..) = self;
        let reply = client.call(method, path, &[("if-match", "*")], body).await;
        match reply.outcome().as_str() {
            "401 IotHubUnauthorizedAccess" => false,
            outcome => {
                assert!(reply.status.as_u16() < 500, "{method} {path}: {outcome}");
                true
            }
        }
    }
}

#[tokio::test]
async fn a_policy_allows_what_its_permissions_do() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.add_device("lamp").unwrap();
    for policy in ["iothubowner", "service", "device", "registryRead", "registryReadWrite"] {
        let mut client = Client::new(&emulator, policy).await;
        for row in SERVICES.iter().chain(&DEVICES) {
            let allowed = policy == "iothubowner" || row.3.contains(&policy);
            assert_eq!(
                row.is_allowed(&mut client).await,
                allowed,
                "{policy}: {} {}",
                row.0,
                row.1
            );
        }
    }
}

#[tokio::test]
async fn a_role_allows_what_its_data_actions_do() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    emulator.add_device("lamp").unwrap();
    let app = emulator.entra().application();
    let token = entra::token(&emulator, &app).await;
    let mut client = entra::hub(&emulator, &token).await;
    for role in [
        Role::DataContributor,
        DataReader,
        RegistryContributor,
        TwinContributor,
        Role::StorageBlobDataContributor,
    ] {
        app.set_roles(&[role]);
        for row in &SERVICES {
            let allowed = role == Role::DataContributor || row.4.contains(&role);
            assert_eq!(
                row.is_allowed(&mut client).await,
                allowed,
                "{role:?}: {} {}",
                row.0,
                row.1
            );
        }
        for row in &DEVICES {
            assert!(
                !row.is_allowed(&mut client).await,
                "{role:?}: no role is one of a device: {}",
                row.1
            );
        }
    }
}

#[tokio::test]
async fn a_token_for_a_part_of_the_hub_is_good_for_that_part() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for id in ["lamp", "lamp2"] {
        emulator.add_device(id).unwrap();
    }
    let lamp = emulator.device("lamp").unwrap().target().clone();
    let mut client = Client::new(&emulator, "device").await;
    client.token = crate::amqp_devices::device_token(&emulator, &lamp);
    for (path, outcome) in [
        ("/devices/lamp/messages/devicebound", "204"),
        ("/devices/LAMP/messages/devicebound", "404 DeviceNotFound"),
        ("/devices/lamp2/messages/devicebound", "401 IotHubUnauthorizedAccess"),
        ("/devices/lamp", "401 IotHubUnauthorizedAccess"),
        ("/twins/lamp", "401 IotHubUnauthorizedAccess"),
        ("/devices/query", "401 IotHubUnauthorizedAccess"),
    ] {
        assert_eq!(client.get(path).await.outcome(), outcome, "{path}");
    }
}
