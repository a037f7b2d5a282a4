//! Files of devices in the storage account of somebody else, here that of another emulator.

use std::fs;

use iothub_emulator::{Emulator, EmulatorOptions, Event, FileUploadOptions};
use serde_json::{Value, json};

use crate::{client::Client, directory::Directory};

const CONTAINER: &str = "device-uploads";
const FILES: &str = "/devices/lamp/files";
const ENDS: &str = "/devices/lamp/files/notifications";

/// An emulator with a device, and the storage account of another with the same root.
async fn hub_and_storage(directories: &[Directory; 2]) -> (Emulator, Emulator) {
    let storage = Emulator::start(EmulatorOptions {
        data_dir: Some(directories[0].path().to_owned()),
        ..EmulatorOptions::default()
    })
    .await
    .unwrap();
    for file in ["ca.key", "ca.pem"] {
        fs::copy(directories[0].file(file), directories[1].file(file)).unwrap();
    }
    let hub = Emulator::start(EmulatorOptions {
        data_dir: Some(directories[1].path().to_owned()),
        file_uploads: Some(FileUploadOptions {
            connection_string: storage.storage_connection_string().into(),
            container: CONTAINER.to_owned(),
        }),
        ..EmulatorOptions::default()
    })
    .await
    .unwrap();
    hub.add_device("lamp").unwrap();
    (hub, storage)
}

/// Begins an upload, and gives the answer.
async fn begin(client: &mut Client, name: &str) -> Value {
    let body = json!({ "blobName": name }).to_string();
    client.call("POST", FILES, &[], &body).await.json()
}

/// Ends an upload that is said to have gone well.
async fn end(client: &mut Client, begun: &Value) -> String {
    let body = json!({"correlationId": begun["correlationId"], "isSuccess": true}).to_string();
    client.call("POST", ENDS, &[], &body).await.outcome()
}

#[tokio::test]
async fn a_device_uploads_into_the_account_that_the_options_name() {
    let directories = [Directory::new(), Directory::new()];
    let (hub, storage) = hub_and_storage(&directories).await;
    let container = storage.blob_container(CONTAINER).unwrap();
    let mut client = Client::new(&hub, "iothubowner").await;

    let begun = begin(&mut client, "a b/c.txt").await;
    let place = |name: &str| begun[name].as_str().unwrap();
    let (host, account) = place("hostName").split_once('/').unwrap();
    assert_eq!(
        (host, place("containerName")),
        (&*storage.host().to_string(), CONTAINER)
    );
    let blob = place("blobName").replace(' ', "%20");
    let path = format!("/{account}/{CONTAINER}/{blob}{}", place("sasToken"));
    let kind = [("x-ms-blob-type", "BlockBlob"), ("x-ms-version", "2021-08-06")];
    let mut elsewhere = Client::new(&storage, "iothubowner").await;
    assert_eq!(end(&mut client, &begun).await, "400 InvalidStorageEndpointOrBlob");

    let begun = begin(&mut client, "a b/c.txt").await;
    let put = elsewhere.raw("PUT", &path, &kind, "contents").await.unwrap();
    assert_eq!(put.status, 201, "{put:?}");
    assert_eq!(container.read_blob("lamp/a b/c.txt").unwrap(), "contents");
    assert_eq!(end(&mut client, &begun).await, "204");
    let uploaded = |event: &Event| matches!(event, Event::FileUploaded { blob, .. } if blob == "lamp/a b/c.txt");
    assert_eq!(hub.journal().count(uploaded), 1);
    // It ended, and the signature is for that one blob.
    assert_eq!(end(&mut client, &begun).await, "400 InvalidFileUploadCorrelationId");
    let other = path.replace("c.txt", "d.txt");
    let refused = elsewhere.raw("PUT", &other, &kind, "contents").await.unwrap();
    assert_eq!(refused.status, 403);
    let text = hub.device("lamp").unwrap().upload("x", "y").unwrap_err().to_string();
    assert!(text.contains("file_uploads"), "{text}");
}

#[tokio::test]
async fn storage_that_does_not_answer_leaves_the_upload_under_way() {
    let directories = [Directory::new(), Directory::new()];
    let (hub, storage) = hub_and_storage(&directories).await;
    storage
        .blob_container(CONTAINER)
        .unwrap()
        .write_blob("lamp/a", "contents");
    let mut client = Client::new(&hub, "iothubowner").await;
    let begun = begin(&mut client, "a").await;
    storage.shutdown().await;
    assert_eq!(end(&mut client, &begun).await, "400 InvalidStorageEndpointOrBlob");
    // Not unknown: a device may say it again.
    assert_eq!(end(&mut client, &begun).await, "400 InvalidStorageEndpointOrBlob");
    let failed = json!({"correlationId": begun["correlationId"], "isSuccess": false}).to_string();
    assert_eq!(client.call("POST", ENDS, &[], &failed).await.outcome(), "204");
}

#[tokio::test]
async fn an_account_that_could_not_be_used_is_refused_at_the_start() {
    let key = "AAECAwQFBgcICQoLDA0ODw==";
    for (container, text, expected) in [
        ("X", format!("AccountName=a;AccountKey={key}"), "container"),
        (CONTAINER, "AccountName=a".to_owned(), "AccountKey"),
        (
            CONTAINER,
            format!("AccountName=a;AccountKey={key};BlobEndpoint=http://storage.example/a"),
            "begins with https",
        ),
    ] {
        let toml = format!("[file_uploads]\ncontainer = {container:?}\nconnection_string = {text:?}");
        let options = EmulatorOptions::from_toml(&toml).unwrap();
        assert!(!format!("{options:?}").contains(key));
        let error = Emulator::start(options).await.unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains(key), "{error}");
    }
}
