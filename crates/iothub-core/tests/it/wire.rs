use std::{collections::BTreeSet, fs, path::Path};

use iothub_core::models::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Every file of `testdata/wire`, and the type that reads it. The files are what hubs answer and what Microsoft's clients send.
const FILES: &[(&str, Rewrite)] = &[
    ("bulk-item", rewritten::<ExportImportDevice>),
    ("bulk-result", rewritten::<BulkRegistryOperationResult>),
    ("configuration", rewritten::<Configuration>),
    ("configuration-edge", rewritten::<Configuration>),
    ("configuration-queries", rewritten::<ConfigurationQueries>),
    ("configuration-query-errors", rewritten::<ConfigurationQueryErrors>),
    ("device", rewritten::<Device>),
    ("device-edge", rewritten::<Device>),
    ("device-job", rewritten::<DeviceJob>),
    ("device-job-failed", rewritten::<DeviceJob>),
    ("device-thumbprint", rewritten::<Device>),
    ("digital-twin-property-metadata", rewritten::<WritableProperty>),
    ("direct-method-request", rewritten::<DirectMethodRequest>),
    ("direct-method-response", rewritten::<DirectMethodResponse>),
    ("feedback-record", rewritten::<FeedbackRecord>),
    ("file-notification", rewritten::<FileNotification>),
    ("import-export-job", rewritten::<ImportExportJob>),
    ("module", rewritten::<Module>),
    ("module-system", rewritten::<Module>),
    ("purge-result", rewritten::<PurgeMessageQueueResult>),
    ("regenerate-keys", rewritten::<RegenerateKeys>),
    ("regenerated-keys", rewritten::<RegeneratedKeys>),
    ("registry-statistics", rewritten::<RegistryStatistics>),
    ("scheduled-job", rewritten::<ScheduledJob>),
    ("scheduled-job-request", rewritten::<ScheduledJobRequest>),
    ("scheduled-job-request-method", rewritten::<ScheduledJobRequest>),
    ("scheduled-job-unknown", rewritten::<ScheduledJob>),
    ("service-statistics", rewritten::<ServiceStatistics>),
    ("twin", rewritten::<Twin>),
    ("twin-module", rewritten::<Twin>),
];

/// Reads a JSON text as some type and writes it back.
type Rewrite = fn(&str) -> String;

#[test]
fn what_is_on_the_wire_is_read_and_written_back() {
    for (name, rewrite) in FILES {
        let text = file(name);
        let written = rewrite(&text);
        assert_eq!(told(&written), told(&text), "{name}");
    }
}

#[test]
fn every_wire_file_is_read_by_the_test_above() {
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.map(|name| name.trim_end_matches(".json").to_owned()).collect();
    let read: BTreeSet<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, read);
}

#[test]
fn no_key_of_a_device_prints() {
    for name in ["device", "module", "bulk-item", "regenerated-keys"] {
        let text = file(name);
        let shown = match name {
            "device" => format!("{:#?}", serde_json::from_str::<Device>(&text).unwrap()),
            "module" => format!("{:#?}", serde_json::from_str::<Module>(&text).unwrap()),
            "bulk-item" => format!("{:#?}", serde_json::from_str::<ExportImportDevice>(&text).unwrap()),
            _ => format!("{:#?}", serde_json::from_str::<RegeneratedKeys>(&text).unwrap()),
        };
        assert!(text.contains("AAECAwQFBgcICQoLDA0ODw=="), "{name}");
        assert!(!shown.contains("AAECAwQ") && !shown.contains("EBESExQ"), "{shown}");
    }
}

#[test]
fn an_address_with_a_token_does_not_print() {
    let uri = "https://acct.blob.core.windows.net/c?sv=2021&sig=abc";
    let wire = serde_json::json!({ "jobId": "j", "type": "export", "outputBlobContainerUri": uri });
    let job: ImportExportJob = serde_json::from_value(wire).unwrap();
    assert_eq!(
        job.output_blob_container_uri.as_ref().map(|uri| uri.secret()),
        Some(uri)
    );
    assert!(!format!("{job:?}").contains("sig"), "{job:?}");
}

pub(crate) fn file(name: &str) -> String {
    fs::read_to_string(folder().join(name).with_extension("json")).unwrap()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/wire")
}

fn rewritten<T: DeserializeOwned + Serialize>(text: &str) -> String {
    serde_json::to_string(&serde_json::from_str::<T>(text).unwrap()).unwrap()
}

/// What a JSON text tells: null, a date of the year one and an empty object or array tell as much as nothing.
fn told(text: &str) -> Value {
    fn prune(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (name, prune(value)));
                let members: serde_json::Map<_, _> = members.filter(|(_, value)| !value.is_null()).collect();
                if members.is_empty() {
                    Value::Null
                } else {
                    Value::Object(members)
                }
            }
            Value::Array(items) if items.is_empty() => Value::Null,
            Value::Array(items) => Value::Array(items.into_iter().map(prune).collect()),
            Value::String(text) if text.starts_with("0001-01-01T00:00:00") => Value::Null,
            other => other,
        }
    }

    prune(serde_json::from_str(text).unwrap())
}
