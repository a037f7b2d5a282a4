use iothub_emulator::{Emulator, EmulatorOptions, Event, Operation};
use serde_json::{Value, json};

use crate::client::{Client, Reply};

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, client)
}

async fn put(client: &mut Client, id: &str, if_match: Option<&str>, configuration: &Value) -> Reply {
    client
        .put(&format!("/configurations/{id}"), if_match, &configuration.to_string())
        .await
}

async fn tag(client: &mut Client, device: &str, tags: Value) {
    let body = json!({ "tags": tags }).to_string();
    let reply = client.call("PATCH", &format!("/twins/{device}"), &[], &body).await;
    assert_eq!(reply.outcome(), "200");
}

async fn desired(client: &mut Client, twin: &str) -> Value {
    let mut desired = client.get(&format!("/twins/{twin}")).await.json()["properties"]["desired"].take();
    for name in ["$metadata", "$version"] {
        desired.as_object_mut().unwrap().remove(name);
    }
    desired
}

fn fan(speed: u32, priority: i32, condition: &str) -> Value {
    json!({
        "content": {"deviceContent": {"properties.desired.fan": {"speed": speed}}},
        "priority": priority, "targetCondition": condition,
    })
}

#[tokio::test]
async fn a_configuration_lives_by_its_tags() {
    let (_emulator, mut client) = hub().await;
    let asked = json!({
        "id": "fans", "schemaVersion": "1.0", "labels": {"team": "air"},
        // One client sends all three kinds of content.
        "content": {"deviceContent": {"properties.desired.x": 1.0}, "moduleContent": {}, "modulesContent": null},
        "targetCondition": "tags.floor = 1", "priority": 7, "metrics": {"queries": {"all": "select * from devices"}},
    });
    let created = put(&mut client, "fans", None, &asked).await;
    assert_eq!(created.outcome(), "200");
    let etag = created.header("etag").unwrap().to_owned();
    let mut body = created.json();
    assert_eq!(etag, format!("\"{}\"", body["etag"].as_str().unwrap()));
    let (created_at, updated_at) = (body["createdTimeUtc"].take(), body["lastUpdatedTimeUtc"].take());
    assert!(created_at.is_string() && created_at == updated_at);
    body["etag"].take();
    assert_eq!(
        body,
        json!({
            "id": "fans", "schemaVersion": "1.0", "labels": {"team": "air"},
            "content": {"deviceContent": {"properties.desired.x": 1.0}},
            "targetCondition": "tags.floor = 1", "createdTimeUtc": null, "lastUpdatedTimeUtc": null, "priority": 7,
            "systemMetrics": {
                "results": {"targetedCount": 0, "appliedCount": 0},
                "queries": {
                    "targetedCount": "select deviceId from devices where tags.floor = 1",
                    "appliedCount": "select deviceId from devices where configurations.[[fans]].status = 'Applied'",
                },
            },
            "metrics": {"results": {"all": 0}, "queries": {"all": "select * from devices"}},
            "etag": null,
        })
    );
    assert!(
        created.body.windows(5).any(|text| text == b":1.0}"),
        "numbers stay as they were written"
    );

    assert_eq!(
        put(&mut client, "fans", None, &asked).await.outcome(),
        "409 ConfigurationAlreadyExists"
    );
    // A tag without quotes counts as none.
    let bare = etag.trim_matches('"').to_owned();
    assert_eq!(
        put(&mut client, "fans", Some(&bare), &asked).await.outcome(),
        "409 ConfigurationAlreadyExists"
    );
    let mut changed = asked.clone();
    changed["content"] = json!({"deviceContent": {"properties.desired.y": 2}});
    changed["priority"] = json!(8);
    let updated = put(&mut client, "fans", Some(&etag), &changed).await.json();
    assert_eq!(updated["priority"], 8);
    assert_eq!(
        updated["content"],
        json!({"deviceContent": {"properties.desired.x": 1.0}}),
        "content never changes"
    );
    assert_eq!(
        put(&mut client, "fans", Some(&etag), &changed).await.outcome(),
        "412 PreconditionFailed"
    );
    assert_eq!(
        put(&mut client, "none", Some("*"), &fan(1, 0, "*")).await.outcome(),
        "404 ConfigurationNotFound"
    );
    assert_eq!(
        client.delete("/configurations/fans", Some(&etag)).await.outcome(),
        "412 PreconditionFailed"
    );
    let listed = client.get("/configurations?top=1").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(client.delete("/configurations/fans", None).await.outcome(), "204");
    assert_eq!(
        client.get("/configurations/fans").await.outcome(),
        "404 ConfigurationNotFound"
    );
    assert_eq!(
        client.delete("/configurations/fans", None).await.outcome(),
        "404 ConfigurationNotFound"
    );
}

#[tokio::test]
async fn what_cannot_be_a_configuration_is_refused() {
    let (_emulator, mut client) = hub().await;
    let device = |path: &str, value: Value| json!({"content": {"deviceContent": {path: value}}});
    let edge = |modules: Value| json!({"content": {"modulesContent": modules}});
    let many: serde_json::Map<_, _> = (0..20).map(|at| (format!("m{at}"), json!({}))).collect();
    let mut many = Value::Object(many);
    many["$edgeAgent"] = json!({});
    for (id, configuration, expected) in [
        ("Upper", fan(1, 0, "*"), "400 ArgumentInvalid"),
        ("x", json!({"id": "y", "content": {}}), "400 ArgumentInvalid"),
        ("x", json!({}), "400 InvalidConfigurationContent"),
        ("x", json!({"content": {}}), "400 InvalidConfigurationContent"),
        ("x", device("tags.a", json!(1)), "400 InvalidConfigurationContent"),
        (
            "x",
            device("properties.desiredx", json!(1)),
            "400 InvalidConfigurationContent",
        ),
        (
            "x",
            device("properties.desired.", json!(1)),
            "400 InvalidConfigurationContent",
        ),
        (
            "x",
            device("properties.desired.a b", json!(1)),
            "400 InvalidConfigurationContent",
        ),
        (
            "x",
            device("properties.desired", json!(1)),
            "400 InvalidConfigurationContent",
        ),
        (
            "x",
            edge(json!({"m": {"properties.desired": {}}})),
            "400 InvalidConfigurationContent",
        ),
        ("x", edge(many), "400 InvalidConfigurationContent"),
        (
            "x",
            edge(json!({"$edgeAgent": {}, "$other": {}})),
            "400 InvalidConfigurationContent",
        ),
        (
            "x",
            edge(json!({"$edgeAgent": {}, "a b": {}})),
            "400 InvalidConfigurationContent",
        ),
        ("x", fan(1, 0, "tags.a ="), "400 InvalidConfigurationTargetCondition"),
        (
            "x",
            fan(1, 0, "status = 'enabled'"),
            "400 InvalidConfigurationTargetCondition",
        ),
        (
            "x",
            fan(1, 0, "properties.desired.a = 1"),
            "400 InvalidConfigurationTargetCondition",
        ),
        (
            "x",
            fan(1, 0, "FROM devices.modules WHERE moduleId = 'm'"),
            "400 InvalidConfigurationTargetCondition",
        ),
    ] {
        assert_eq!(
            put(&mut client, id, None, &configuration).await.outcome(),
            expected,
            "{configuration}"
        );
    }
    let both = json!({"content": {
        "deviceContent": {"properties.desired.a": 1}, "moduleContent": {"properties.desired.a": 1},
    }});
    assert_eq!(
        put(&mut client, "x", None, &both).await.outcome(),
        "400 InvalidConfigurationContent"
    );
    let mut metrics = fan(1, 0, "*");
    metrics["metrics"] = json!({"queries": {"a": "SELECT FROM"}});
    let refused = put(&mut client, "x", None, &metrics).await;
    assert_eq!(refused.outcome(), "400 InvalidConfigurationCustomMetricsQuery");
    for at in 0..100 {
        let id = format!("c{at}");
        assert_eq!(put(&mut client, &id, None, &fan(1, 0, "")).await.outcome(), "200");
    }
    let refused = put(&mut client, "x", None, &fan(1, 0, "")).await;
    assert_eq!(refused.outcome(), "413 ConfigurationCountLimitExceeded");
}

#[tokio::test]
async fn the_strongest_configuration_wins() {
    let (emulator, mut client) = hub().await;
    for (device, floor) in [("a", 1), ("b", 2), ("c", 3)] {
        client.put(&format!("/devices/{device}"), None, "{}").await;
        tag(&mut client, device, json!({ "floor": floor })).await;
    }
    put(&mut client, "low", None, &fan(5, 1, "tags.floor < 3")).await;
    assert_eq!(desired(&mut client, "a").await, json!({"fan": {"speed": 5}}));
    assert_eq!(desired(&mut client, "c").await, json!({}));
    put(&mut client, "high", None, &fan(9, 2, "tags.floor = 2")).await;
    let twin = client.get("/twins/b").await.json();
    assert_eq!(twin["properties"]["desired"]["fan"], json!({"speed": 9}));
    assert_eq!(
        twin["configurations"],
        json!({"high": {"status": "applied"}, "low": {"status": "targeted"}})
    );
    // What stands beside is nobody's business; among equals the younger wins.
    let beside = json!({
        "content": {"deviceContent": {"properties.desired.fan.light": true, "properties.desired.other": [1]}},
        "priority": 2, "targetCondition": "*",
    });
    put(&mut client, "younger", None, &beside).await;
    assert_eq!(
        desired(&mut client, "b").await,
        json!({"fan": {"speed": 9, "light": true}, "other": [1]})
    );
    let low = client.get("/configurations/low").await.json();
    assert_eq!(
        low["systemMetrics"]["results"],
        json!({"targetedCount": 2, "appliedCount": 1})
    );
    let found = r#"{"query": "select deviceId from devices where configurations.[[low]].status = 'Targeted'"}"#;
    let found = client.call("POST", "/devices/query", &[], found).await.json();
    assert_eq!(found, json!([{"deviceId": "b"}]));

    // Without the strong one, the weak one takes its place.
    client.delete("/configurations/high", None).await;
    assert_eq!(
        desired(&mut client, "b").await,
        json!({"fan": {"speed": 5, "light": true}, "other": [1]})
    );
    client.delete("/configurations/younger", None).await;
    client.delete("/configurations/low", None).await;
    let left = desired(&mut client, "b").await;
    assert_eq!(
        left,
        json!({"fan": {"speed": 5}, "other": [1]}),
        "what was written stays"
    );
    assert_eq!(client.get("/twins/b").await.json()["configurations"], Value::Null);
    let configured =
        |event: &Event| matches!(event, Event::Executed { operation: Operation::Configure, on } if on == "b");
    assert_eq!(emulator.journal().count(configured), 5);
}

#[tokio::test]
async fn twins_come_into_scope_as_they_change() {
    let (_emulator, mut client) = hub().await;
    let mut fans = fan(5, 0, "tags.site = 'x'");
    fans["metrics"] = json!({"queries": {
        "hot": "select deviceId from devices where properties.desired.fan.speed > 4",
        "sites": "select tags.site, count() as n from devices group by tags.site",
    }});
    put(&mut client, "fans", None, &fans).await;
    client.put("/devices/a", None, "{}").await;
    assert_eq!(desired(&mut client, "a").await, json!({}));
    tag(&mut client, "a", json!({"site": "x"})).await;
    let twin = client.get("/twins/a").await.json();
    assert_eq!(twin["properties"]["desired"]["fan"], json!({"speed": 5}));
    let bulk = json!([{"id": "b", "importMode": "create", "tags": {"site": "x"}}]).to_string();
    assert_eq!(client.call("POST", "/devices", &[], &bulk).await.outcome(), "200");
    assert_eq!(desired(&mut client, "b").await, json!({"fan": {"speed": 5}}));
    let read = client.get("/configurations/fans").await.json();
    assert_eq!(
        read["systemMetrics"]["results"],
        json!({"targetedCount": 2, "appliedCount": 2})
    );
    assert_eq!(read["metrics"]["results"], json!({"hot": 2, "sites": 1}));
    // It is written once; after that the twin is its owner's.
    client
        .call(
            "PATCH",
            "/twins/a",
            &[],
            r#"{"properties":{"desired":{"fan":{"speed":1}}}}"#,
        )
        .await;
    tag(&mut client, "a", json!({"other": 1})).await;
    assert_eq!(desired(&mut client, "a").await, json!({"fan": {"speed": 1}}));
    tag(&mut client, "a", json!({"site": null})).await;
    assert_eq!(client.get("/twins/a").await.json()["configurations"], Value::Null);
    assert_eq!(desired(&mut client, "a").await, json!({"fan": {"speed": 1}}));
}

#[tokio::test]
async fn modules_have_configurations_of_their_own() {
    let (_emulator, mut client) = hub().await;
    client.put("/devices/a", None, "{}").await;
    client.put("/devices/a/modules/m", None, "{}").await;
    let content = json!({"moduleContent": {"properties.desired": {"whole": {"n": 1}}}});
    let condition = "FROM devices.modules WHERE moduleId = 'm'";
    put(
        &mut client,
        "mods",
        None,
        &json!({"content": content, "targetCondition": condition}),
    )
    .await;
    assert_eq!(desired(&mut client, "a/modules/m").await, json!({"whole": {"n": 1}}));
    client.put("/devices/a/modules/n", None, "{}").await;
    client.put("/devices/b", None, "{}").await;
    client.put("/devices/b/modules/m", None, "{}").await;
    assert_eq!(desired(&mut client, "a/modules/n").await, json!({}));
    assert_eq!(desired(&mut client, "b/modules/m").await, json!({"whole": {"n": 1}}));
    let read = client.get("/configurations/mods").await.json();
    assert_eq!(
        read["systemMetrics"]["results"],
        json!({"targetedCount": 2, "appliedCount": 2})
    );
}

#[tokio::test]
async fn an_edge_device_gets_one_deployment_and_its_layers() {
    let (_emulator, mut client) = hub().await;
    let edge = json!({"capabilities": {"iotEdge": true}}).to_string();
    client.put("/devices/gate", None, &edge).await;
    let deployment = |version: u32| {
        json!({
            "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "version": version}},
            "$edgeHub": {"properties.desired": {"routes": {}}},
            "filter": {"properties.desired.threshold": version},
        })
    };
    let of = |content: Value, priority: u32| json!({"content": {"modulesContent": content}, "priority": priority, "targetCondition": "*"});
    put(&mut client, "base", None, &of(deployment(1), 5)).await;
    let layer = json!({"$edgeAgent": {"properties.desired.extra": {"x": 1}}});
    put(&mut client, "layer", None, &of(layer.clone(), 6)).await;
    put(&mut client, "under", None, &of(layer, 4)).await;
    put(&mut client, "weaker", None, &of(deployment(2), 3)).await;
    let agent = client.get("/twins/gate/modules/$edgeAgent").await.json();
    assert_eq!(agent["properties"]["desired"]["version"], 1);
    assert_eq!(agent["properties"]["desired"]["extra"], json!({"x": 1}));
    let status = |status: &str| json!({ "status": status });
    assert_eq!(
        agent["configurations"],
        json!({
            "base": status("applied"), "layer": status("applied"),
            "under": status("targeted"), "weaker": status("targeted"),
        })
    );
    assert_eq!(
        desired(&mut client, "gate/modules/filter").await,
        json!({"threshold": 1})
    );
    assert_eq!(
        client.get("/devices/gate/modules/filter").await.json()["managedBy"],
        "iotEdge"
    );
    let read = client.get("/configurations/base").await.json();
    let results =
        json!({"targetedCount": 1, "appliedCount": 1, "reportedSuccessfulCount": 0, "reportedFailedCount": 0});
    assert_eq!(read["systemMetrics"]["results"], results);
}

#[tokio::test]
async fn content_is_applied_to_one_edge_device() {
    let (_emulator, mut client) = hub().await;
    client
        .put("/devices/gate", None, r#"{"capabilities":{"iotEdge":true}}"#)
        .await;
    client.put("/devices/leaf", None, "{}").await;
    let content = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"v": 1}}, "m": {"properties.desired.a.b": 2},
    }});
    let mut apply = async |device: &str, content: &Value| {
        let path = format!("/devices/{device}/applyConfigurationContent");
        client.call("POST", &path, &[], &content.to_string()).await.outcome()
    };
    assert_eq!(apply("gate", &content).await, "204");
    assert_eq!(apply("leaf", &content).await, "400 ArgumentInvalid");
    assert_eq!(apply("none", &content).await, "404 DeviceNotFound");
    assert_eq!(
        apply("gate", &json!({"modulesContent": {"m": {}}})).await,
        "400 InvalidConfigurationContent"
    );
    assert_eq!(desired(&mut client, "gate/modules/$edgeAgent").await, json!({"v": 1}));
    assert_eq!(desired(&mut client, "gate/modules/m").await, json!({"a": {"b": 2}}));
}

#[tokio::test]
async fn queries_are_tested_before_they_are_used() {
    let (_emulator, mut client) = hub().await;
    for (asked, condition_fails, failing) in [
        (
            json!({"targetCondition": "tags.a = 1", "customMetricQueries": {"x": "select * from devices"}}),
            false,
            vec![],
        ),
        (json!({"targetCondition": "*"}), true, vec![]),
        (
            json!({"targetCondition": "tags.a =", "customMetricQueries": {"x": "select", "y": "select * from devices"}}),
            true,
            vec!["x"],
        ),
    ] {
        let reply = client
            .call("POST", "/configurations/testQueries", &[], &asked.to_string())
            .await;
        assert_eq!(reply.outcome(), "200");
        let body = reply.json();
        assert_eq!(body["targetConditionError"].is_string(), condition_fails, "{body}");
        let errors: Vec<_> = body["customMetricQueryErrors"].as_object().unwrap().keys().collect();
        assert_eq!(errors, failing);
    }
}

#[tokio::test]
async fn labels_go_when_an_update_has_none() {
    let (_emulator, mut client) = hub().await;
    let body =
        |labels: &str| format!(r#"{{"id":"fans","content":{{"deviceContent":{{"properties.desired.a":1}}}}{labels}}}"#);
    let labelled = body(r#","labels":{"team":"air","site":"x"}"#);
    let created = client.put("/configurations/fans", None, &labelled).await;
    assert_eq!(created.json()["labels"], json!({"team": "air", "site": "x"}));
    for labels in [r#","labels":null"#, r#","labels":{}"#, ""] {
        let cleared = client.put("/configurations/fans", Some("\"*\""), &body(labels)).await;
        assert_eq!(cleared.outcome(), "200", "{labels}");
        let stored = client.get("/configurations/fans").await;
        assert_eq!(stored.header("etag"), cleared.header("etag"));
        assert_eq!(stored.json()["labels"], json!({}), "{labels}");
        let again = client.put("/configurations/fans", Some("\"*\""), &labelled).await;
        assert_eq!(again.json()["labels"]["team"], "air");
    }
}

#[tokio::test]
async fn configurations_move_with_jobs() {
    let (one, mut client) = hub().await;
    let mut fans = fan(5, 7, "tags.site = 'x'");
    fans["labels"] = json!({"team": "air"});
    fans["metrics"] = json!({"queries": {"all": "select * from devices"}});
    put(&mut client, "fans", None, &fans).await;
    let container = one.blob_container("exports").unwrap();
    let job = json!({"type": "export", "outputBlobContainerUri": container.sas_uri(), "includeConfigurations": true});
    crate::transfers::run(&mut client, job).await;
    let blob = container.read_blob("configurations.txt").unwrap();
    let line: Value = serde_json::from_slice(&blob).unwrap();
    assert_eq!((&line["Id"], &line["Priority"]), (&json!("fans"), &json!(7)));
    assert_eq!(
        line["Content"],
        json!({"DeviceContent": {"properties.desired.fan": {"speed": 5}}})
    );

    let (two, mut other) = hub().await;
    let container = two.blob_container("imports").unwrap();
    container.write_blob("devices.txt", "");
    let wrong = json!({"id": "bad", "content": {}, "importMode": "create"});
    container.write_blob("mine.txt", [&blob[..], wrong.to_string().as_bytes()].concat());
    let job = json!({
        "type": "import", "inputBlobContainerUri": container.sas_uri(), "outputBlobContainerUri": container.sas_uri(),
        "includeConfigurations": true, "configurationsBlobName": "mine.txt",
    });
    assert_eq!(crate::transfers::run(&mut other, job).await["status"], "completed");
    let (was, is) = (
        client.get("/configurations/fans").await.json(),
        other.get("/configurations/fans").await.json(),
    );
    for member in ["id", "content", "labels", "targetCondition", "priority", "metrics"] {
        assert_eq!(was[member], is[member], "{member}");
    }
    let log: Value = serde_json::from_slice(&container.read_blob("importErrors.log").unwrap()).unwrap();
    assert_eq!(
        (&log["configurationId"], &log["errorCode"]),
        (&json!("bad"), &json!(400_402))
    );
}

#[tokio::test]
async fn a_condition_has_to_fit_the_content_that_stays() {
    let (emulator, mut client) = hub().await;
    put(&mut client, "fans", None, &fan(1, 0, "tags.floor = 1")).await;
    let other = json!({
        "content": {"moduleContent": {"properties.desired": {"y": 1}}},
        "targetCondition": "FROM devices.modules WHERE moduleId = 'fan'",
    });
    let refused = put(&mut client, "fans", Some("*"), &other).await;
    // With other content it would be right.
    assert_eq!(put(&mut client, "modules", None, &other).await.outcome(), "200");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(
        client.get("/configurations/fans").await.json()["targetCondition"],
        "tags.floor = 1"
    );
    // What is kept can be read again.
    let (directory, mut lines) = (crate::directory::Directory::new(), Vec::new());
    emulator.export(&mut lines).unwrap();
    iothub_emulator::import_state(directory.path(), &lines[..]).unwrap();
}
