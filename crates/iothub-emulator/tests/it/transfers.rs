use std::time::Duration;

use iothub_emulator::{Emulator, EmulatorOptions, Event, Operation, Role};
use serde_json::{Value, json};

use crate::client::{Client, Reply};

async fn hub() -> (Emulator, Client) {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let client = Client::new(&emulator, "iothubowner").await;
    (emulator, client)
}

async fn create(client: &mut Client, job: &Value) -> Reply {
    client.call("POST", "/jobs/create", &[], &job.to_string()).await
}

/// Starts a job and waits for its end.
pub(crate) async fn run(client: &mut Client, job: Value) -> Value {
    let reply = create(client, &job).await;
    assert_eq!(reply.outcome(), "200", "{}", String::from_utf8_lossy(&reply.body));
    let started = reply.json();
    assert_eq!(started["status"], "enqueued");
    wait(client, started["jobId"].as_str().unwrap()).await
}

async fn wait(client: &mut Client, id: &str) -> Value {
    loop {
        let job = client.get(&format!("/jobs/{id}")).await.json();
        if job["status"] != "enqueued" && job["status"] != "running" {
            return job;
        }
        tokio::task::yield_now().await;
    }
}

fn lines(blob: Option<impl AsRef<[u8]>>) -> Vec<Value> {
    let blob = blob.expect("the blob was written");
    let lines = blob
        .as_ref()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn an_export_writes_every_device_and_module() {
    let (emulator, mut client) = hub().await;
    let key = json!({"primaryKey": "AAECAwQFBgcICQoLDA0ODw==", "secondaryKey": "EAECAwQFBgcICQoLDA0ODw=="});
    let device =
        json!({"status": "disabled", "statusReason": "broken", "authentication": {"type": "sas", "symmetricKey": key}});
    client.put("/devices/a", None, "{}").await;
    client.put("/devices/a/modules/m", None, "{}").await;
    client.put("/devices/a", Some("*"), &device.to_string()).await;
    client
        .call(
            "PATCH",
            "/twins/a",
            &[],
            r#"{"tags":{"n":1.0},"properties":{"desired":{"x":[1]}}}"#,
        )
        .await;
    client
        .put("/devices/b", None, r#"{"capabilities":{"iotEdge":true}}"#)
        .await;
    let container = emulator.blob_container("exports").unwrap();
    let job = run(
        &mut client,
        json!({"type": "export", "outputBlobContainerUri": container.sas_uri()}),
    )
    .await;
    assert_eq!((&job["status"], &job["progress"]), (&json!("completed"), &json!(100)));
    assert_eq!((&job["failureReason"], &job["type"]), (&Value::Null, &json!("export")));
    assert!(job["startTimeUtc"].is_string() && job["endTimeUtc"].is_string());
    assert!(!job.to_string().contains("sig="), "{job}");

    assert_eq!(container.blobs(), ["devices.txt"]);
    let exported = lines(container.read_blob("devices.txt"));
    let ids: Vec<_> = exported
        .iter()
        .map(|line| (line["id"].as_str(), line["moduleId"].as_str()))
        .collect();
    let expected = [
        (Some("a"), None),
        (Some("a"), Some("m")),
        (Some("b"), None),
        (Some("b"), Some("$edgeAgent")),
        (Some("b"), Some("$edgeHub")),
    ];
    assert_eq!(ids, expected);
    let a = &exported[0];
    assert_eq!(
        (&a["status"], &a["statusReason"]),
        (&json!("disabled"), &json!("broken"))
    );
    assert_eq!(a["authentication"]["symmetricKey"], key);
    assert_eq!(a["eTag"], client.get("/devices/a").await.json()["etag"]);
    let twin = client.get("/twins/a").await.json();
    assert_eq!((&a["twinETag"], &a["tags"]), (&twin["etag"], &twin["tags"]));
    assert_eq!(a["properties"], twin["properties"]);
    assert_eq!(exported[2]["capabilities"], json!({"iotEdge": true}));
    assert!(
        container
            .read_blob("devices.txt")
            .unwrap()
            .windows(7)
            .any(|text| text == b"\"n\":1.0")
    );
}

#[tokio::test]
async fn an_export_without_keys_says_so() {
    let (emulator, mut client) = hub().await;
    client.put("/devices/a", None, "{}").await;
    let container = emulator.blob_container("exports").unwrap();
    let job = json!({
        "type": "Export", "outputBlobContainerUri": container.sas_uri(), "outputBlobName": "mine/all.txt",
        "excludeKeysInExport": true,
    });
    assert_eq!(run(&mut client, job).await["excludeKeysInExport"], true);
    let blob = container.read_blob("mine/all.txt").unwrap();
    let (warning, line) = std::str::from_utf8(&blob).unwrap().split_once('\n').unwrap();
    assert!(warning.starts_with("WARNING"), "{warning}");
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["id"], &line["authentication"]), (&json!("a"), &Value::Null));
}

#[tokio::test]
async fn an_import_does_what_each_line_says() {
    let (emulator, mut client) = hub().await;
    let old = client.put("/devices/old", None, "{}").await.json();
    client.put("/devices/gone", None, "{}").await;
    client.put("/devices/tagged", None, "{}").await;
    let container = emulator.blob_container("imports").unwrap();
    let stale = "c3RhbGU=";
    let items = [
        json!({"id": "new", "status": "enabled", "tags": {"site": "x"}, "properties": {"desired": {"n": 1}}}),
        json!({"id": "new", "moduleId": "m", "importMode": "create", "status": "enabled", "tags": {"t": 1}}),
        json!({"id": "made", "importMode": "create", "status": "disabled"}),
        json!({"id": "old", "importMode": "createOrUpdate", "status": "disabled", "tags": {"a": 1}}),
        json!({"id": "gone", "importMode": "delete", "status": "enabled"}),
        json!({"id": "tagged", "importMode": "updateTwinIfMatchETag", "twinETag": "AAAAAAAAAAE=", "tags": {"a": 1}}),
        json!({"id": "tagged", "importMode": "UpdateTwin", "tags": {"b": 2}}),
        json!({"id": "tagged", "importMode": "update", "status": "disabled"}),
        json!({"id": "edge", "status": "enabled", "capabilities": {"iotEdge": true}}),
        json!({"id": "edge", "moduleId": "$edgeAgent", "status": "enabled", "tags": {"v": 1}}),
    ];
    let wrong = [
        (
            json!({"id": "made", "importMode": "create", "status": "enabled"}),
            409_001,
        ),
        (
            json!({"id": "none", "importMode": "update", "status": "enabled"}),
            404_001,
        ),
        (json!({"id": "none", "importMode": "delete"}), 404_001),
        (json!({"id": "none", "importMode": "updateTwin", "tags": {}}), 404_001),
        (
            json!({"id": "old", "importMode": "updateIfMatchETag", "status": "enabled", "eTag": stale}),
            412_001,
        ),
        (
            json!({"id": "old", "importMode": "deleteIfMatchETag", "eTag": stale}),
            412_001,
        ),
        (
            json!({"id": "old", "importMode": "createOrUpdateIfMatchETag", "status": "enabled", "eTag": stale}),
            412_001,
        ),
        (
            json!({"id": "old", "importMode": "updateTwinIfMatchETag", "twinETag": stale, "tags": {}}),
            412_001,
        ),
        (
            json!({"id": "old", "status": "enabled", "twinETag": stale, "tags": {"late": 1}}),
            412_001,
        ),
        (json!({"id": "old"}), 400_004),
        (
            json!({"id": "old", "importMode": "replace", "status": "enabled"}),
            400_004,
        ),
        (json!({"status": "enabled"}), 400_004),
    ];
    // Byte order mark, carriage returns, empty lines and a missing last end are all seen in the wild.
    let mut blob = "\u{feff}".to_owned();
    for item in items.iter().chain(wrong.iter().map(|(item, _)| item)) {
        blob.push_str(&format!("{item}\r\n\n"));
    }
    blob.push_str("this is no JSON");
    container.write_blob("devices.txt", blob);
    let job = json!({
        "type": "import", "inputBlobContainerUri": container.sas_uri_with("r", Duration::from_secs(600)),
        "outputBlobContainerUri": container.sas_uri(),
    });
    let job = run(&mut client, job).await;
    assert_eq!(
        (&job["status"], &job["failureReason"]),
        (&json!("completed"), &Value::Null),
        "{job}"
    );

    let errors = lines(container.read_blob("importErrors.log"));
    let codes: Vec<_> = errors
        .iter()
        .map(|error| (error["deviceId"].clone(), error["errorCode"].as_u64().unwrap()))
        .collect();
    let mut expected: Vec<_> = wrong.iter().map(|(item, code)| (item["id"].clone(), *code)).collect();
    expected.push((Value::Null, 400_012));
    assert_eq!(codes, expected);
    let last = errors.last().unwrap()["errorStatus"].as_str().unwrap();
    assert!(
        last.starts_with("Invalid device format in line: this is no JSON."),
        "{last}"
    );

    let new = client.get("/twins/new").await.json();
    assert_eq!(
        (&new["tags"]["site"], &new["properties"]["desired"]["n"]),
        (&json!("x"), &json!(1))
    );
    assert_eq!(client.get("/twins/new/modules/m").await.json()["tags"], json!({"t": 1}));
    assert_eq!(client.get("/devices/made").await.json()["status"], "disabled");
    let now = client.get("/devices/old").await.json();
    assert_eq!(
        (&now["generationId"], &now["status"]),
        (&old["generationId"], &json!("enabled"))
    );
    assert_eq!(
        client.get("/twins/old").await.json()["tags"],
        json!({"a": 1}),
        "identity and twin have tags of their own"
    );
    assert_eq!(client.get("/devices/gone").await.outcome(), "404 DeviceNotFound");
    let tagged = client.get("/twins/tagged").await.json();
    assert_eq!(
        (&tagged["tags"], &tagged["status"]),
        (&json!({"a": 1, "b": 2}), &json!("disabled"))
    );
    assert_eq!(
        client.get("/twins/edge/modules/$edgeAgent").await.json()["tags"],
        json!({"v": 1})
    );
}

#[tokio::test]
async fn what_was_exported_can_be_imported_elsewhere() {
    let (one, mut client) = hub().await;
    for at in 0..300 {
        client.put(&format!("/devices/d{at:03}"), None, "{}").await;
    }
    client
        .call("PATCH", "/twins/d007", &[], r#"{"tags":{"who":"bond"}}"#)
        .await;
    let exports = one.blob_container("exports").unwrap();
    run(
        &mut client,
        json!({"type": "export", "outputBlobContainerUri": exports.sas_uri()}),
    )
    .await;
    let exported = exports.read_blob("devices.txt").unwrap();

    let (two, mut other) = hub().await;
    let container = two.blob_container("imports").unwrap();
    container.write_blob("moved.txt", exported.clone());
    let job = json!({
        "type": "import", "inputBlobContainerUri": container.sas_uri(), "inputBlobName": "moved.txt",
        "outputBlobContainerUri": container.sas_uri(), "outputBlobName": "log.txt",
    });
    assert_eq!(run(&mut other, job).await["status"], "completed");
    assert_eq!(container.read_blob("log.txt").unwrap(), "");
    run(
        &mut other,
        json!({"type": "export", "outputBlobContainerUri": container.sas_uri()}),
    )
    .await;
    let (before, after) = (lines(Some(exported)), lines(container.read_blob("devices.txt")));
    assert_eq!((before.len(), after.len()), (300, 300));
    for (before, after) in before.iter().zip(&after) {
        for member in ["id", "status", "authentication", "tags", "capabilities"] {
            assert_eq!(before[member], after[member], "{member}");
        }
    }
}

#[tokio::test]
async fn a_second_job_waits_for_the_first() {
    let (emulator, mut client) = hub().await;
    let container = emulator.blob_container("exports").unwrap();
    let export = json!({"type": "export", "outputBlobContainerUri": container.sas_uri()});
    emulator.faults().hold_transfers();
    let first = create(&mut client, &export).await.json()["jobId"]
        .as_str()
        .unwrap()
        .to_owned();
    let refused = create(&mut client, &export).await;
    assert_eq!(refused.outcome(), "403 JobQuotaExceeded");
    let message = refused.json()["Message"].as_str().unwrap().to_owned();
    let start = "ErrorCode:JobQuotaExceeded;Error: 403 ErrorCode: JobQuotaExceeded\nMessage: Job quota has been exceeded\nTimestamp: ";
    assert!(
        message.starts_with(start) && message.contains("\nTracking ID: "),
        "{message}"
    );
    assert_eq!(client.get(&format!("/jobs/{first}")).await.json()["status"], "enqueued");

    assert_eq!(client.delete(&format!("/jobs/{first}"), None).await.outcome(), "204");
    assert_eq!(
        client.get(&format!("/jobs/{first}")).await.json()["status"],
        "cancelled"
    );
    assert_eq!(
        client.delete(&format!("/jobs/{first}"), None).await.outcome(),
        "500 ServerError"
    );
    assert_eq!(client.delete("/jobs/none", None).await.outcome(), "500 ServerError");
    assert_eq!(client.get("/jobs/none").await.outcome(), "404 JobNotFound");
    assert!(container.blobs().is_empty());

    let second = create(&mut client, &export).await.json()["jobId"]
        .as_str()
        .unwrap()
        .to_owned();
    emulator.faults().release_transfers();
    assert_eq!(wait(&mut client, &second).await["status"], "completed");
    let jobs = client.get("/jobs").await.json();
    let jobs: Vec<_> = jobs.as_array().unwrap().iter().map(|job| &job["jobId"]).collect();
    assert_eq!(jobs, [&first, &second]);
    let started = emulator.journal().count(|event| {
        matches!(
            event,
            Event::Executed {
                operation: Operation::Export,
                ..
            }
        )
    });
    assert_eq!(started, 2);
    emulator.clock().advance(Duration::from_secs(31 * 24 * 3600));
    client.token = crate::client::token(&emulator, "iothubowner", 4_102_444_800);
    assert_eq!(client.get("/jobs").await.json(), json!([]));
}

#[tokio::test]
async fn storage_that_is_of_no_use_is_found_out_at_once() {
    let (emulator, mut client) = hub().await;
    let container = emulator.blob_container("exports").unwrap();
    let hour = Duration::from_secs(3600);
    let nowhere = container.sas_uri().replace("/exports?", "/nothing?");
    for uri in [
        container.sas_uri_with("r", hour),
        container.sas_uri_with("rw", hour),
        container.sas_uri_with("wd", hour),
        container.uri(),
        nowhere,
        "no uri".to_owned(),
        "https://localhost:1/devstoreaccount1/c".to_owned(),
        "http://storage.example/c".to_owned(),
    ] {
        let reply = create(&mut client, &json!({"type": "export", "outputBlobContainerUri": uri})).await;
        assert_eq!(reply.outcome(), "400 BlobContainerValidationError", "{uri}");
        let text = String::from_utf8_lossy(&reply.body);
        assert!(!text.contains("sig="), "{text}");
    }
    let job = json!({"type": "import", "outputBlobContainerUri": container.sas_uri()});
    assert_eq!(
        create(&mut client, &job).await.outcome(),
        "400 BlobContainerValidationError"
    );
    assert_eq!(
        create(&mut client, &json!({"type": "backup"})).await.outcome(),
        "400 ArgumentInvalid"
    );
    assert_eq!(client.get("/jobs").await.json(), json!([]));
    assert!(container.blobs().is_empty());
    // An import whose blob is missing starts, and fails.
    let job = json!({
        "type": "import", "inputBlobContainerUri": container.sas_uri(), "outputBlobContainerUri": container.sas_uri(),
    });
    let job = run(&mut client, job).await;
    assert_eq!(job["status"], "failed");
    assert!(job["failureReason"].as_str().unwrap().contains("BlobNotFound"), "{job}");
}

#[tokio::test]
async fn identities_need_a_role_at_the_account() {
    let (emulator, mut client) = hub().await;
    client.put("/devices/a", None, "{}").await;
    let container = emulator.blob_container("exports").unwrap();
    let job = json!({
        "type": "export", "outputBlobContainerUri": container.uri(), "storageAuthenticationType": "IdentityBased",
    });
    assert_eq!(run(&mut client, job.clone()).await["status"], "completed");
    assert_eq!(lines(container.read_blob("devices.txt")).len(), 1);

    let mut by_user = job;
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mover";
    by_user["identity"] = json!({"userAssignedIdentity": id});
    assert_eq!(
        create(&mut client, &by_user).await.outcome(),
        "400 ManagedIdentityNotEnabled"
    );
    let mover = emulator.entra().register("mover").unwrap();
    let refused = create(&mut client, &by_user).await;
    assert_eq!(refused.outcome(), "400 BlobContainerValidationError");
    mover.set_roles(&[Role::StorageBlobDataContributor]);
    assert_eq!(run(&mut client, by_user).await["status"], "completed");
}

#[tokio::test]
async fn policies_allow_jobs_as_they_allow_the_registry() {
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    let container = emulator.blob_container("exports").unwrap();
    let export = json!({"type": "export", "outputBlobContainerUri": container.sas_uri()}).to_string();
    for (policy, method, path, expected) in [
        ("service", "GET", "/jobs", "401 IotHubUnauthorizedAccess"),
        ("registryRead", "GET", "/jobs", "200"),
        ("registryRead", "POST", "/jobs/create", "401 IotHubUnauthorizedAccess"),
        ("registryRead", "DELETE", "/jobs/x", "401 IotHubUnauthorizedAccess"),
        ("registryReadWrite", "POST", "/jobs/create", "200"),
    ] {
        let mut client = Client::new(&emulator, policy).await;
        assert_eq!(
            client.call(method, path, &[], &export).await.outcome(),
            expected,
            "{policy} {method} {path}"
        );
    }
}
