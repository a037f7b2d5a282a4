//! A whole hub as a file of lines.

use std::{collections::BTreeSet, fs, process::Command};

use iothub_emulator::{Emulator, EmulatorOptions, export_state, import_state};

use crate::{client::Client, directory::Directory};

/// What somebody writes by hand, and what it becomes.
const SEED: &str = include_str!("../../testdata/state/seed.jsonl");
const EXPORT: &str = include_str!("../../testdata/state/export.jsonl");

/// A state file as the first form had it.
const FORMAT_1: &str = include_str!("../../testdata/state/format-1.jsonl");

fn exported(directory: &Directory) -> String {
    let mut lines = Vec::new();
    export_state(directory.path(), &mut lines).unwrap();
    String::from_utf8(lines).unwrap()
}

#[test]
fn an_export_can_be_read_compared_and_imported() {
    let [first, second] = [Directory::new(), Directory::new()];
    import_state(first.path(), EXPORT.as_bytes()).unwrap();
    let lines = exported(&first);
    assert_eq!(lines, EXPORT);
    import_state(second.path(), lines.as_bytes()).unwrap();
    assert_eq!(exported(&second), lines);
    let again = import_state(second.path(), lines.as_bytes()).unwrap_err().to_string();
    assert!(again.contains("holds a hub already"), "{again}");
}

/// So that the test above is one of everything that there is.
#[test]
fn every_kind_of_line_is_in_the_export() {
    let directory = Directory::new();
    let refused = import_state(directory.path(), &br#"{"nonsense":1}"#[..])
        .unwrap_err()
        .to_string();
    let (_, expected) = refused.split_once("expected one of").unwrap();
    let kinds: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
    let kept = EXPORT.lines().map(|line| line.split('"').nth(1).unwrap());
    let seen: BTreeSet<&str> = kept.chain(["deleted"]).collect();
    assert_eq!(kinds, seen, "an export has no line for what is gone");
}

#[tokio::test]
async fn a_file_of_an_older_form_is_read_and_what_is_added_says_its_own() {
    let directory = Directory::new();
    let path = directory.file("hub.jsonl");
    fs::write(&path, FORMAT_1).unwrap();
    let (lines, _mark) = FORMAT_1.split_once("{\"commit\"").unwrap();
    assert_eq!(exported(&directory), lines.replace("\"format\":1", "\"format\":2"));
    let options = EmulatorOptions {
        data_dir: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let emulator = Emulator::start(options).await.unwrap();
    emulator.add_device("new").unwrap();
    emulator.shutdown().await;
    let grown = fs::read_to_string(&path).unwrap();
    let added = grown.strip_prefix(FORMAT_1).unwrap();
    assert!(added.starts_with(r#"{"hub":{"format":2,"#), "{added}");
}

#[tokio::test]
async fn a_hub_starts_from_a_seed_and_keeps_what_it_became() {
    let directory = Directory::new();
    let file = directory.file("seed.jsonl");
    fs::write(&file, SEED).unwrap();
    for ephemeral in [true, false, false] {
        let options = EmulatorOptions {
            data_dir: Some(directory.path().to_owned()),
            ephemeral,
            seed: Some(file.clone()),
            ..Default::default()
        };
        let emulator = Emulator::start(options).await.unwrap();
        let mut client = Client::new(&emulator, "iothubowner").await;
        let twin = client.get("/twins/lamp").await.json();
        assert_eq!(
            (&twin["tags"]["room"], &twin["version"]),
            (&"hall".into(), &3.into()),
            "{twin}"
        );
        assert_eq!(twin["properties"]["desired"]["interval"], 30);
        assert_eq!(twin["configurations"]["all"]["status"], "applied", "{twin}");
        assert_eq!(twin["properties"]["desired"]["by"], "configuration");
        let waiting = emulator.device("lamp").unwrap().try_recv().unwrap();
        assert_eq!(&waiting.body[..], b"hello");
        if ephemeral {
            let mut lines = Vec::new();
            emulator.export(&mut lines).unwrap();
            let copy = Directory::new();
            import_state(copy.path(), &lines[..]).unwrap();
            assert_eq!(exported(&copy).as_bytes(), lines);
        }
        emulator.shutdown().await;
        // From now on it is not the seed that counts.
        if !ephemeral {
            fs::write(&file, SEED.replace("hall", "attic")).unwrap();
        }
    }
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (line, why) in [
        ("nonsense", "line 2: expected"),
        (r#"{"devise":{}}"#, "unknown variant `devise`"),
        (
            r#"{"device":{"deviceId":"a","staus":"enabled"}}"#,
            "unknown field `staus`",
        ),
        (r#"{"device":{"deviceId":"a b"}}"#, "is not a device id"),
        (r#"{"module":{"deviceId":"b","moduleId":"m"}}"#, "b"),
        (r#"{"device":{"deviceId":"a","tags":{"a.b":1}}}"#, "no dot"),
        (
            r#"{"device":{"deviceId":"a","authentication":{"sas":{"primaryKey":"x","secondaryKey":"x"}}}}"#,
            "base64",
        ),
        (r#"{"hub":{"format":3,"news":true}}"#, "of a newer iothub-emulator"),
        (
            r#"{"device":{"deviceId":"a","etag":18446744073709551615}}"#,
            "more than a hub counts",
        ),
        (
            r#"{"mqttSession":{"deviceId":"first","unconfirmed":[{"packetId":0,"sequenceNumber":1}]}}"#,
            "nonzero",
        ),
        (
            r#"{"blob":{"container":"files","name":"x","contentType":"y","blocks":[1]}}"#,
            "no container files",
        ),
    ] {
        let directory = Directory::new();
        let file = format!("{{\"device\":{{\"deviceId\":\"first\"}}}}\n{line}\n");
        let refused = import_state(directory.path(), file.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("line 2") && refused.contains(why), "{refused}");
        assert!(!directory.file("hub.jsonl").exists());
    }
}

#[test]
fn a_damaged_file_is_named() {
    let directory = Directory::new();
    import_state(directory.path(), EXPORT.as_bytes()).unwrap();
    let path = directory.file("hub.jsonl");
    let good = fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        export_state(directory.path(), Vec::new()).map_err(|error| error.to_string())
    };
    // Whichever byte is another one, it is noticed, or it is in the last line and the batch does not count.
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let why = refused(&bytes).unwrap_err();
        assert!(
            why.contains("hub.jsonl") && (why.contains("not as they were written") || why.contains("no state file")),
            "{at}: {why}"
        );
    }
    for bytes in [&b""[..], b"\0\0\0", b"{}\n", SEED.as_bytes()] {
        let why = refused(bytes).unwrap_err();
        assert!(why.contains("hub.jsonl") && why.contains("no state file"), "{why}");
    }
    // A batch that is not there to its end was never acknowledged.
    let mut torn = good.clone();
    torn.extend_from_slice(br#"{"deleted":{"device":"lamp"}}"#);
    refused(&torn).unwrap();
    assert_eq!(fs::read(&path).unwrap(), good, "and is cut off");
    torn.extend_from_slice(b"\n{\"commit\":{\"lines\":1");
    refused(&torn).unwrap();
    let mut lines = Vec::new();
    export_state(directory.path(), &mut lines).unwrap();
    assert_eq!(lines, EXPORT.as_bytes());
}

/// Random changes of good files end in a clear error or in a hub, and take no more memory than the file is worth.
#[test]
fn nonsense_never_panics() {
    let mut state = 0x5EED_u64;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end.max(1) as u64) as usize
    };
    for round in 0..400 {
        let directory = Directory::new();
        let mut bytes = [EXPORT, SEED][round % 2].as_bytes().to_vec();
        for _ in 0..=below(4) {
            let (at, length) = (below(bytes.len()), below(40));
            let end = (at + length).min(bytes.len());
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                _ => bytes.truncate(at.max(1)),
            }
        }
        let cost = allocation_counter::measure(|| {
            if import_state(directory.path(), &bytes[..]).is_ok() {
                exported(&directory);
            } else {
                assert!(!directory.file("hub.jsonl").exists());
            }
            fs::write(directory.file("hub.jsonl"), &bytes).unwrap();
            let _ = export_state(directory.path(), Vec::new());
        });
        assert!(
            cost.bytes_max < MOST_BYTES,
            "{cost:?}: {}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

/// What an empty hub takes, mostly for buffers, and a hundred times the largest of these files.
const MOST_BYTES: u64 = 2 << 20;

#[cfg(unix)]
#[test]
fn the_binary_exports_and_imports() {
    use std::os::unix::fs::PermissionsExt;

    let [first, second] = [Directory::new(), Directory::new()];
    let run = |arguments: &[&str], directory: &Directory, file: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iothub-emulator"));
        let output = command
            .args(arguments)
            .arg("--data-dir")
            .arg(directory.path())
            .arg(file)
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let [seed, out] = ["seed.jsonl", "out.jsonl"].map(|name| first.file(name));
    fs::write(&seed, SEED).unwrap();
    assert_eq!(run(&["import"], &first, &seed), (true, String::new()));
    assert_eq!(run(&["export"], &first, &out), (true, String::new()));
    for secret in [&out, &first.file("hub.jsonl")] {
        assert_eq!(fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(run(&["import"], &second, &out), (true, String::new()));
    assert_eq!(exported(&second), fs::read_to_string(&out).unwrap());
    let (done, why) = run(&["export"], &Directory::new(), &out);
    assert!(!done && why.contains("holds no hub"), "{why}");
}
