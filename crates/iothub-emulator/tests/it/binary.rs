use std::{
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn emulator() -> Command {
    Command::new(env!("CARGO_BIN_EXE_iothub-emulator"))
}

fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = emulator().args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[cfg(unix)]
#[test]
fn it_says_when_it_is_ready_and_stops_when_told() {
    for signal in ["-INT", "-TERM"] {
        let mut child = emulator()
            .args([
                "--host",
                "hub.localhost",
                "--log",
                "off",
                "--free-ports",
                "--device",
                "lamp",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();

        assert_eq!(
            (&ready["event"], &ready["host"]),
            (&"ready".into(), &"hub.localhost".into())
        );
        let port = ready["httpsPort"].as_u64().unwrap();
        let text = ready["connectionString"].as_str().unwrap();
        let start = format!("HostName=hub.localhost:{port};SharedAccessKeyName=iothubowner;SharedAccessKey=");
        assert!(text.starts_with(&start), "{text}");
        let events = ready["eventHubConnectionString"].as_str().unwrap();
        let start = format!(
            "Endpoint=sb://hub.localhost:{}/;SharedAccessKeyName=service;",
            ready["amqpsPort"]
        );
        assert!(
            events.starts_with(&start) && events.ends_with(";EntityPath=iothub-ehub-hub"),
            "{events}"
        );
        for port in ["httpsPort", "amqpsPort", "mqttsPort"] {
            let port = u16::try_from(ready[port].as_u64().unwrap()).unwrap();
            std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        }
        let root = ready["caFile"].as_str().unwrap().to_owned();
        assert!(std::fs::read_to_string(&root).unwrap().contains("BEGIN CERTIFICATE"));

        let device = ready["deviceConnectionString"].as_str().unwrap();
        let start = format!("HostName=hub.localhost:{port};DeviceId=lamp;SharedAccessKey=");
        assert!(device.starts_with(&start), "{device}");

        let authority = ready["authority"].as_str().unwrap();
        assert!(authority.starts_with("https://hub.localhost:"), "{authority}");
        for member in [
            "managementEndpoint",
            "managementToken",
            "tenantId",
            "clientId",
            "clientSecret",
            "identityEndpoint",
            "identityHeader",
        ] {
            assert!(ready[member].is_string(), "{member}");
        }
        for file in ["certificateFile", "federatedTokenFile"] {
            assert!(ready[file].is_null(), "{file} needs a data directory");
        }

        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        assert!(!Path::new(&root).exists(), "nothing is left behind");
        let mut rest = String::new();
        stdout.read_line(&mut rest).unwrap();
        assert_eq!(rest, "", "one line is all");

        let banner = io::read_to_string(child.stderr.take().unwrap()).unwrap();
        for part in [
            text,
            device,
            &format!("NODE_EXTRA_CA_CERTS={root}"),
            "keytool",
            "--data-dir",
        ] {
            assert!(banner.contains(part), "{part} in {banner}");
        }
    }
}

#[test]
fn a_data_directory_holds_the_files_of_the_app_and_of_the_configuration() {
    let directory = std::env::temp_dir().join(format!("iothub-emulator-binary-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let config = directory.join("hub.toml");
    std::fs::write(
        &config,
        "host = \"one.localhost\"\nhttps_port = 0\n[[hub.devices]]\nid = \"lamp\"\n",
    )
    .unwrap();
    let mut child = emulator()
        .args([
            "--config",
            config.to_str().unwrap(),
            "--host",
            "two.localhost",
            "--free-ports",
            "--log",
            "off",
        ])
        .args(["--data-dir", directory.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["host"], "two.localhost", "flags go before the file");
    for file in ["caFile", "certificateFile", "federatedTokenFile"] {
        assert!(Path::new(ready[file].as_str().unwrap()).exists(), "{file}");
    }
    std::fs::write(&config, "hots = 1").unwrap();
    let (status, stderr) = refused(&["--config", config.to_str().unwrap()]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("hub.toml: line 1, hots"), "{stderr}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_cannot_work_is_said_at_once() {
    for (arguments, code, text) in [
        (&["--nonsense"][..], 2, "--nonsense"),
        (&["--https-port", "many"], 2, "many"),
        (&["--https-port"], 2, "--https-port"),
        (&["--bind", "0.0.0.0"], 1, "allow_remote"),
        (&["--host", "https://hub"], 1, "is not the host of a hub"),
        (&["--data-dir", "/dev/null/x"], 1, "/dev/null/x"),
        (&["--free-ports", "--device", "a/b"], 1, "is not a device id"),
    ] {
        let (status, stderr) = refused(arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, stderr) = refused(&["--https-port", &port]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains(&port) && stderr.contains("--https-port"), "{stderr}");
}
