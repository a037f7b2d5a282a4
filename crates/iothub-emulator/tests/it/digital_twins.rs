//! Digital twins. What a document looks like is taken from Microsoft's documentation of Plug and Play.

use iothub_emulator::{DesiredChange, Device, Emulator, EmulatorOptions, Event, Role};
use serde_json::{Value, json};

use crate::{
    client::{Client, Reply},
    entra,
};

const CONTROLLER: &str = "dtmi:com:example:TemperatureController;1";
const TWIN: &str = "/digitaltwins/sample-device";

async fn hub() -> (Emulator, Client, Device) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let device = emulator.add_device("sample-device").unwrap();
    let client = Client::new(&emulator, "service").await;
    (emulator, client, device)
}

async fn patch(client: &mut Client, operations: &Value) -> Reply {
    client.call("PATCH", TWIN, &[], &operations.to_string()).await
}

async fn patched(client: &mut Client, operations: &Value) -> Value {
    let reply = patch(client, operations).await;
    assert_eq!(reply.outcome(), "202", "{operations}: {:?}", reply.body);
    client.get(TWIN).await.json()
}

/// The desired properties without what the hub adds.
async fn desired(client: &mut Client) -> Value {
    let mut twin = client.get("/twins/sample-device").await.json();
    let mut desired = twin["properties"]["desired"].take();
    desired
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !name.starts_with('$'));
    desired
}

/// Takes the times out of a document, and sees that they are times.
fn without_times(document: &mut Value) -> usize {
    let Some(members) = document.as_object_mut() else {
        return 0;
    };
    let time = members.remove("lastUpdateTime");
    if let Some(time) = &time {
        let time = time.as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    usize::from(time.is_some()) + members.values_mut().map(without_times).sum::<usize>()
}

fn message(reply: &Reply) -> String {
    reply.json()["Message"].as_str().unwrap().to_owned()
}

/// The device twin and the digital twin of one device stand side by side in the documentation.
#[tokio::test]
async fn a_digital_twin_is_the_device_twin_in_another_shape() {
    let (_emulator, mut client, device) = hub().await;
    device.announce_model(CONTROLLER).unwrap();
    for version in 2..=4 {
        let value = if version == 4 { 21.8 } else { f64::from(version) };
        let body = json!({"properties": {"desired": {"thermostat1": {"__t": "c", "targetTemperature": value}}}});
        client
            .call("PATCH", "/twins/sample-device", &[], &body.to_string())
            .await;
    }
    device
        .report(
            r#"{"serialNumber":"alwinexlepaho8329","thermostat1":{"maxTempSinceLastReboot":25.3,"__t":"c",
            "targetTemperature":{"value":21.8,"ac":200,"ad":"Successfully executed patch","av":4}}}"#,
        )
        .unwrap();

    let reply = client.get(TWIN).await;
    let mut twin = reply.json();
    assert_eq!(without_times(&mut twin), 3);
    assert_eq!(
        twin,
        json!({
            "$dtId": "sample-device",
            "serialNumber": "alwinexlepaho8329",
            "thermostat1": {
                "maxTempSinceLastReboot": 25.3,
                "targetTemperature": 21.8,
                "$metadata": {
                    "targetTemperature": {
                        "desiredValue": 21.8, "desiredVersion": 4,
                        "ackVersion": 4, "ackCode": 200, "ackDescription": "Successfully executed patch",
                    },
                    "maxTempSinceLastReboot": {},
                },
            },
            "$metadata": {"$model": CONTROLLER, "serialNumber": {}},
        })
    );
    let device_twin = client.get("/twins/sample-device").await;
    assert_eq!(reply.header("etag"), device_twin.header("etag"));
}

/// Of the documentation, too: what is wanted and what is may differ.
#[tokio::test]
async fn a_writable_property_shows_what_is_wanted_and_what_is() {
    let (_emulator, mut client, device) = hub().await;
    device
        .report(r#"{"fanSpeed":{"value":3.0,"ac":200,"av":1,"ad":"Successfully executed patch version 1"}}"#)
        .unwrap();
    let mut twin = patched(&mut client, &json!([{"op": "add", "path": "/fanSpeed", "value": 2.0}])).await;
    assert_eq!(without_times(&mut twin), 1);
    assert_eq!(
        twin,
        json!({
            "$dtId": "sample-device",
            "fanSpeed": 3.0,
            "$metadata": {
                "$model": "",
                "fanSpeed": {
                    "desiredValue": 2.0, "desiredVersion": 2,
                    "ackVersion": 1, "ackCode": 200, "ackDescription": "Successfully executed patch version 1",
                },
            },
        })
    );
}

#[tokio::test]
async fn texts_of_values_stay_as_they_were_written() {
    let (_emulator, mut client, device) = hub().await;
    device
        .report(r#"{"a":1.50,"b":{"value":"2030-01-01T00:00:00.100+02:00","ac":200,"av":1},"c":{"value":7}}"#)
        .unwrap();
    let body = client.get(TWIN).await.body;
    let text = String::from_utf8(body.to_vec()).unwrap();
    for part in [
        r#""a":1.50,"#,
        r#""b":"2030-01-01T00:00:00.100+02:00","#,
        r#""c":{"value":7},"#,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_module_has_a_digital_twin_of_its_own() {
    let (emulator, mut client, _device) = hub().await;
    let mut owner = Client::new(&emulator, "iothubowner").await;
    owner.put("/devices/sample-device/modules/m", None, "{}").await;
    let module = emulator.module("sample-device", "m").unwrap();
    module.announce_model("dtmi:com:example:Part;1").unwrap();
    let twin = client.get("/digitaltwins/sample-device~m").await.json();
    assert_eq!(
        twin,
        json!({"$dtId": "sample-device~m", "$metadata": {"$model": "dtmi:com:example:Part;1"}})
    );
    for unknown in ["/digitaltwins/ghost", "/digitaltwins/sample-device~ghost"] {
        assert_eq!(client.get(unknown).await.outcome(), "404 DeviceNotFound");
    }
    assert_eq!(client.get("/digitaltwins/a~b~c").await.outcome(), "400 ArgumentInvalid");
}

#[tokio::test]
async fn a_patch_is_accepted_with_the_new_tag() {
    let (emulator, mut client, device) = hub().await;
    let mut changes = device.watch_desired().unwrap();
    let operations = json!([{"op": "add", "path": "/thermostat1/targetTemperature", "value": 21.4}]);
    let reply = patch(&mut client, &operations).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.header("location"), Some(TWIN));
    assert!(reply.body.is_empty());
    let etag = client.get(TWIN).await.header("etag").unwrap().to_owned();
    assert_eq!(reply.header("etag"), Some(&*etag));

    let DesiredChange { version, patch, .. } = changes.recv().await.unwrap();
    assert_eq!(version, 2);
    let told: Value = serde_json::from_str(&patch).unwrap();
    assert_eq!(
        told,
        json!({"thermostat1": {"__t": "c", "targetTemperature": 21.4}, "$version": 2})
    );
    let writes = emulator
        .journal()
        .count(|event| matches!(event, Event::Executed { on, .. } if on == "sample-device"));
    assert_eq!(writes, 2, "it was created and patched");
}

#[tokio::test]
async fn properties_and_components_are_added_replaced_and_removed() {
    let (_emulator, mut client, device) = hub().await;
    let mut changes = device.watch_desired().unwrap();
    // Each line: a patch, the desired properties after it, and what the device hears of.
    for (operations, after, told) in [
        (
            json!([{"op": "add", "path": "/level", "value": {"low": 1, "high": 9}}]),
            json!({"level": {"low": 1, "high": 9}}),
            json!({"level": {"low": 1, "high": 9}}),
        ),
        // A value takes the place of the old one, and is not merged with it.
        (
            json!([{"op": "replace", "path": "/level", "value": {"low": 2}}]),
            json!({"level": {"low": 2}}),
            json!({"level": {"low": 2, "high": null}}),
        ),
        (
            json!([
                {"op": "add", "path": "/t1", "value": {"target": 21.4, "other": 42, "$metadata": {}}},
                {"op": "add", "path": "/t2/target", "value": 20},
            ]),
            json!({"level": {"low": 2}, "t1": {"__t": "c", "target": 21.4, "other": 42}, "t2": {"__t": "c", "target": 20}}),
            json!({"t1": {"__t": "c", "target": 21.4, "other": 42}, "t2": {"__t": "c", "target": 20}}),
        ),
        // What a component is replaced with clears the rest.
        (
            json!([{"op": "replace", "path": "/t1", "value": {"target": 5, "$metadata": {}}}]),
            json!({"level": {"low": 2}, "t1": {"__t": "c", "target": 5}, "t2": {"__t": "c", "target": 20}}),
            json!({"t1": {"__t": "c", "target": 5, "other": null}}),
        ),
        // The last property takes its component along.
        (
            json!([{"op": "remove", "path": "/t1/target"}, {"op": "remove", "path": "/level"}]),
            json!({"t2": {"__t": "c", "target": 20}}),
            json!({"t1": null, "level": null}),
        ),
        (
            json!([{"op": "remove", "path": "/t2"}, {"op": "add", "path": "/t2/other", "value": true}]),
            json!({"t2": {"__t": "c", "other": true}}),
            json!({"t2": {"__t": "c", "other": true, "target": null}}),
        ),
    ] {
        patched(&mut client, &operations).await;
        assert_eq!(desired(&mut client).await, after, "{operations}");
        let change = changes.recv().await.unwrap();
        let mut heard: Value = serde_json::from_str(&change.patch).unwrap();
        heard.as_object_mut().unwrap().remove("$version");
        assert_eq!(heard, told, "{operations}");
    }
}

#[tokio::test]
async fn a_property_that_was_removed_stays_until_the_device_stops_to_report_it() {
    let (_emulator, mut client, device) = hub().await;
    patched(&mut client, &json!([{"op": "add", "path": "/t1/target", "value": 20}])).await;
    device
        .report(r#"{"t1":{"__t":"c","target":{"value":20,"ac":200,"av":2}}}"#)
        .unwrap();
    let twin = patched(&mut client, &json!([{"op": "remove", "path": "/t1/target"}])).await;
    assert_eq!(twin["t1"]["target"], 20);
    assert_eq!(twin["t1"]["$metadata"]["target"].get("desiredValue"), None);
    device.report(r#"{"t1":null}"#).unwrap();
    let twin = client.get(TWIN).await.json();
    assert_eq!(twin, json!({"$dtId": "sample-device", "$metadata": {"$model": ""}}));
}

#[tokio::test]
async fn a_patch_on_condition_needs_the_newest_tag() {
    let (_emulator, mut client, _device) = hub().await;
    let operations = json!([{"op": "add", "path": "/level", "value": 1}]).to_string();
    let fresh = client.get(TWIN).await.header("etag").unwrap().to_owned();
    let bare = fresh.trim_matches('"').to_owned();
    assert_eq!(
        client
            .call("PATCH", TWIN, &[("if-match", &fresh)], &operations)
            .await
            .status,
        202
    );
    for stale in [&*fresh, &*bare] {
        let reply = client.call("PATCH", TWIN, &[("if-match", stale)], &operations).await;
        assert_eq!(reply.outcome(), "412 PreconditionFailed", "{stale}");
    }
    for any in ["*", "\"*\""] {
        assert_eq!(
            client
                .call("PATCH", TWIN, &[("if-match", any)], &operations)
                .await
                .status,
            202
        );
    }
}

#[tokio::test]
async fn what_is_no_patch_of_a_digital_twin_is_refused_and_changes_nothing() {
    let (_emulator, mut client, device) = hub().await;
    client
        .call(
            "PATCH",
            "/twins/sample-device",
            &[],
            r#"{"properties":{"desired":{"plain":{"x":1}}}}"#,
        )
        .await;
    device.report(r#"{"part":{"__t":"c","level":1}}"#).unwrap();
    let before = client.get("/twins/sample-device").await.json();
    let deep = json!({"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}});
    let long = "n".repeat(65);
    let add = |path: &str, value: Value| json!([{"op": "add", "path": path, "value": value}]).to_string();
    for (body, expected, why) in [
        (String::new(), "400 InvalidDigitalTwinJsonPatch", "array of JSON Patch"),
        (
            "{}".to_owned(),
            "400 InvalidDigitalTwinJsonPatch",
            "array of JSON Patch",
        ),
        (
            "[7]".to_owned(),
            "400 InvalidDigitalTwinJsonPatch",
            "array of JSON Patch",
        ),
        ("[]".to_owned(), "400 InvalidDigitalTwinPatch", "no operation"),
        (
            r#"[{"path":"/a","value":1}]"#.to_owned(),
            "400 InvalidDigitalTwinJsonPatch",
            "no `op`",
        ),
        (
            r#"[{"op":"add","value":1}]"#.to_owned(),
            "400 InvalidDigitalTwinJsonPatch",
            "no `path`",
        ),
        (
            r#"[{"op":"add","path":"/a"}]"#.to_owned(),
            "400 InvalidDigitalTwinJsonPatch",
            "no `value`",
        ),
        (
            r#"[{"op":"test","path":"/a","value":1}]"#.to_owned(),
            "400 InvalidDigitalTwinJsonPatch",
            "none of add, replace and remove",
        ),
        (add("a", json!(1)), "400 InvalidDigitalTwinPatchPath", "no slash"),
        (
            add("/a/b/c", json!(1)),
            "400 InvalidDigitalTwinPatchPath",
            "whole properties",
        ),
        (add("/", json!(1)), "400 InvalidDigitalTwinPatchPath", "1 to 64"),
        (add("/1a", json!(1)), "400 InvalidDigitalTwinPatchPath", "1 to 64"),
        (add("/a_", json!(1)), "400 InvalidDigitalTwinPatchPath", "1 to 64"),
        (
            add("/$metadata/a", json!(1)),
            "400 InvalidDigitalTwinPatchPath",
            "1 to 64",
        ),
        (
            add(&format!("/{long}"), json!(1)),
            "400 InvalidDigitalTwinPatchPath",
            "1 to 64",
        ),
        (add("/a", json!([1])), "400 InvalidDigitalTwinPayload", "an array"),
        (
            add("/a", json!({"b": [1]})),
            "400 InvalidDigitalTwinPayload",
            "/a/b is an array",
        ),
        (
            add("/a", json!({"b-c": 1})),
            "400 InvalidDigitalTwinPayload",
            "\"b-c\" in /a",
        ),
        (
            add("/a", json!(null)),
            "400 InvalidDigitalTwinPayload",
            "`remove` clears",
        ),
        (add("/a", deep), "400 InvalidDigitalTwinPayload", "deeper than 5"),
        (
            add("/a", json!({"$metadata": {"x": 1}})),
            "400 InvalidDigitalTwinPayload",
            "an empty object",
        ),
        (
            add("/a/b", json!({"$metadata": {}})),
            "400 InvalidDigitalTwinPayload",
            "is a property",
        ),
        (
            add("/part", json!({"level": 1})),
            "400 InvalidDigitalTwinPatch",
            "needs an empty object",
        ),
        (
            add("/plain/x", json!(1)),
            "400 ArgumentInvalid",
            "'plain' exists within the device twin",
        ),
        (add("/a", json!("x".repeat(4097))), "400 ArgumentInvalid", "4096 bytes"),
    ] {
        let reply = client.call("PATCH", TWIN, &[], &body).await;
        assert_eq!(reply.outcome(), expected, "{body}");
        assert!(message(&reply).contains(why), "{body}: {}", message(&reply));
    }
    assert_eq!(client.get("/twins/sample-device").await.json(), before);
}

#[tokio::test]
async fn a_command_is_a_method_to_the_device() {
    let (emulator, mut client, device) = hub().await;
    device
        .on_method(|name, payload| (202, format!("[ \"{name}\",  {payload} ]")))
        .unwrap();
    for (path, body, answer) in [
        (
            "/commands/reboot",
            r#"{ "delay":  1.0 }"#,
            r#"[ "reboot",  { "delay":  1.0 } ]"#,
        ),
        (
            "/commands/reboot?connectTimeoutInSeconds=5&responseTimeoutInSeconds=10",
            "",
            r#"[ "reboot",  null ]"#,
        ),
        (
            "/components/thermostat1/commands/getMaxMinReport",
            "null",
            r#"[ "thermostat1*getMaxMinReport",  null ]"#,
        ),
    ] {
        let reply = client.call("POST", &format!("{TWIN}{path}"), &[], body).await;
        assert_eq!(reply.outcome(), "200", "{path}: {:?}", reply.body);
        assert_eq!(reply.body, answer);
        assert_eq!(reply.header("x-ms-command-statuscode"), Some("202"));
        assert_eq!(reply.header("x-ms-request-id").map(str::len), Some(36));
    }
    let invoked = emulator
        .journal()
        .count(|event| matches!(event, Event::MethodInvoked { .. }));
    assert_eq!(invoked, 3);
}

#[tokio::test]
async fn a_command_fails_as_a_method_does() {
    let (emulator, mut client, device) = hub().await;
    let nested = |reply: &Reply| -> Value { serde_json::from_str(&message(reply)).unwrap() };
    let command = format!("{TWIN}/commands/reboot");

    let reply = client
        .call("POST", "/digitaltwins/ghost/commands/reboot", &[], "")
        .await;
    assert_eq!(reply.outcome(), "404 DeviceNotFound");
    let reply = client.call("POST", &command, &[], "").await;
    assert_eq!(reply.outcome(), "404 DeviceNotOnline");
    assert_eq!(nested(&reply)["info"]["timeout"], "00:00:00");

    let mut methods = device.methods().unwrap();
    let clock = emulator.clock().clone();
    let silent = tokio::spawn(async move {
        let taken = methods.recv().await;
        clock.advance(std::time::Duration::from_secs(31));
        taken
    });
    let reply = client.call("POST", &command, &[], "").await;
    assert_eq!(reply.outcome(), "504 GatewayTimeout");
    assert_eq!(nested(&reply)["errorCode"], 504_101);
    assert_eq!(nested(&reply)["info"]["timeout"], "00:00:30");
    drop(silent.await);

    for (query, body, why) in [
        ("responseTimeoutInSeconds=4", "", "from 5 to 300"),
        ("connectTimeoutInSeconds=-1", "", "from 0 to 300"),
        ("connectTimeoutInSeconds=31", "", "longer than"),
        ("responseTimeoutInSeconds=soon", "", "whole number"),
    ] {
        let reply = client.call("POST", &format!("{command}?{query}"), &[], body).await;
        assert_eq!(reply.outcome(), "400 ArgumentInvalid", "{query}");
        assert!(message(&reply).contains(why), "{query}: {}", message(&reply));
    }
    let reply = client.call("POST", &command, &[], "{").await;
    assert_eq!(reply.outcome(), "400 IotHubFormatError");
}

#[tokio::test]
async fn only_who_may_connect_to_the_service_gets_in() {
    let (emulator, mut service, _device) = hub().await;
    let command = format!("{TWIN}/commands/reboot");
    let operations = json!([{"op": "add", "path": "/level", "value": 1}]).to_string();
    for policy in ["registryReadWrite", "device"] {
        let mut client = Client::new(&emulator, policy).await;
        for (method, path, body) in [("GET", TWIN, ""), ("PATCH", TWIN, &operations), ("POST", &command, "")] {
            let reply = client.call(method, path, &[], body).await;
            assert_eq!(
                reply.outcome(),
                "401 IotHubUnauthorizedAccess",
                "{policy}: {method} {path}"
            );
        }
    }
    assert_eq!(service.get(TWIN).await.outcome(), "200");
}

#[tokio::test]
async fn no_role_lets_an_app_invoke_commands() {
    let (emulator, mut client, device) = hub().await;
    device.on_method(|_, _| (200, String::new())).unwrap();
    let app = emulator.entra().application();
    client.token = format!("Bearer {}", entra::token(&emulator, &app).await);
    let command = format!("{TWIN}/commands/reboot");
    let operations = json!([{"op": "add", "path": "/level", "value": 1}]).to_string();

    let reply = client.call("POST", &command, &[], "").await;
    assert_eq!(reply.outcome(), "401 IotHubUnauthorizedAccess");
    assert!(message(&reply).contains("Entra"), "{}", message(&reply));
    assert_eq!(client.get(TWIN).await.outcome(), "200");
    assert_eq!(client.call("PATCH", TWIN, &[], &operations).await.outcome(), "202");
    app.set_roles(&[Role::DataReader]);
    assert_eq!(client.get(TWIN).await.outcome(), "200");
    assert_eq!(
        client.call("PATCH", TWIN, &[], &operations).await.outcome(),
        "401 IotHubUnauthorizedAccess"
    );
}
