//! The ways in that fuzzers try, each a function of bytes on a hub of its own. The package in `fuzz/` calls them.
//!
//! A function returns when everything that the bytes set off has come to an end. It panics where a peer could hang the
//! hub: time stands still unless nothing else is left to do, and then passes at once, so a wait for what never comes
//! is found without waiting.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Buf;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::{
    EmulatorOptions, amqp,
    blob::{Account, BlobClient, Containers, DeviceFiles},
    entra::{Entra, EntraOptions},
    http::{self, Rooms},
    hub::{
        DataAction, Door, ExportPlace, Grant, Hub, Rights, SharedAccessPolicy, Target, authentication::Key,
        certificates::CertificateChain, policy::SERVICE_CONNECT,
    },
    management::{self, Management},
    mqtt,
    state::State,
    stop::{Stop, Stopper},
    store::transfer::{read_state, write_state},
    transfer::Dispatcher,
};

/// What a connection to the HTTPS door says, after TLS: HTTP/1.1, HTTP/2 or a WebSocket. Gives what the hub said.
pub fn http(bytes: &[u8]) -> Vec<u8> {
    converse(bytes, async |hub, stream, stop| {
        // The one job that there can be is taken, so that none is started and dials wherever the bytes say.
        let grant = Grant::unlimited();
        let _taken = hub.reserve_transfer(&grant).expect("a new hub has no job");
        let rooms = rooms(&hub).await;
        Box::pin(http::serve(stream, CertificateChain::default(), rooms, stop)).await;
    })
}

/// What a connection to the AMQP door says, after TLS. Gives what the hub said.
pub fn amqp(bytes: &[u8]) -> Vec<u8> {
    converse(bytes, async |hub, stream, stop| {
        Box::pin(amqp::serve(stream, CertificateChain::default(), hub, Door::Amqp, stop)).await;
    })
}

/// Performatives, which come to the AMQP door in frames that are right, from a peer that has shown a token.
///
/// Each is written as the channel in one byte, its length in two bytes, and so much of what follows.
pub fn amqp_performatives(mut bytes: &[u8]) -> Vec<u8> {
    let mut frames = authorized();
    while bytes.remaining() > 3 {
        let (channel, length) = (bytes.get_u8(), bytes.get_u16());
        let (body, rest) = bytes.split_at(bytes.len().min(length.into()));
        frames.extend_from_slice(&(8 + body.len() as u32).to_be_bytes());
        frames.extend_from_slice(&[2, 0, 0, channel]);
        frames.extend_from_slice(body);
        bytes = rest;
    }
    amqp(&frames)
}

/// What a connection to the MQTT door says, after TLS. Gives what the hub said.
pub fn mqtt(bytes: &[u8]) -> Vec<u8> {
    converse(bytes, async |hub, stream, stop| {
        Box::pin(mqtt::serve(stream, CertificateChain::default(), hub, Door::Mqtt, stop)).await;
    })
}

/// What a connection to the management API says, after TLS, by somebody who has the token `token`. Gives what the hub said.
pub fn management(bytes: &[u8]) -> Vec<u8> {
    converse(bytes, async |hub, stream, stop| {
        let token = "token".to_owned();
        Box::pin(management::serve(stream, Management { hub, token }, stop)).await;
    })
}

/// A file of options.
pub fn options(bytes: &[u8]) {
    if let Ok(options) = EmulatorOptions::from_toml(&String::from_utf8_lossy(bytes)) {
        // It may ask for what cannot be.
        let _ = options.check();
    }
}

/// A certificate that a device presents, in DER. It is taken by its thumbprint, or not.
pub fn certificate(bytes: &[u8]) {
    let (hub, chain) = (hub(), CertificateChain::new(&[bytes.to_vec().into()]));
    for id in ["badge", "sealed"] {
        let target = Target::parse(id, None).expect("the id of a device");
        let _ = hub.authenticate_certificate(&target, &chain);
    }
}

/// The text of a query, and of a target condition.
pub fn query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (hub, grant) = (hub(), Grant::unlimited());
    let mut continuation = None;
    for _ in 0..=IDENTITIES.len() {
        match hub.query(&grant, &text, 1, continuation.as_deref()) {
            Ok(page) if page.continuation.is_some() => continuation = page.continuation,
            _ => {
                let line = serde_json::json!({ "id": "c", "content": {}, "targetCondition": text });
                // It is refused if the text is no condition.
                let _ = hub.import_configuration(line.to_string().as_bytes());
                return;
            }
        }
    }
    panic!("a query of one row a page has more pages than there are twins");
}

/// A file of devices as import jobs read them. What it made is exported and imported again, which nothing may refuse.
pub fn device_lines(bytes: &[u8]) {
    let hub = hub();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Err(error) = hub.import_device(line) {
            error.to_line();
        }
    }
    let (mut lines, mut place) = (Vec::new(), ExportPlace::default());
    while hub
        .export_some(&mut place, false, &mut lines)
        .expect("what is kept can be written")
    {}
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Err(error) = hub.import_device(line) {
            panic!("{} is exported, and {error:?}", String::from_utf8_lossy(line));
        }
    }
}

/// A file of configurations as import jobs read them. What it made is exported and imported again.
pub fn configuration_lines(bytes: &[u8]) {
    let hub = hub();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Err(error) = hub.import_configuration(line) {
            error.to_line();
        }
    }
    let lines = hub.export_configurations().expect("what is kept can be written");
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Err(error) = hub.import_configuration(line) {
            panic!("{} is exported, and {error:?}", String::from_utf8_lossy(line));
        }
    }
}

/// A file of state, as `--seed` and `import` read it. What it made is exported and read again, and has to be the same.
pub fn state(bytes: &[u8]) {
    let read = |file: &[u8]| {
        let state = State::empty()?;
        read_state(&state, file, "the file")?;
        let mut lines = Vec::new();
        write_state(&state, &mut lines)?;
        iothub_core::Result::Ok(lines)
    };
    let Ok(lines) = read(bytes) else {
        return;
    };
    let again = read(&lines).expect("what was exported can be read");
    assert!(
        lines == again,
        "{}\nbecame\n{}",
        String::from_utf8_lossy(&lines),
        String::from_utf8_lossy(&again)
    );
}

/// Says the bytes to a door of a new hub, waits until the hub has done what it can, and hangs up.
fn converse(bytes: &[u8], door: impl AsyncFnOnce(Hub, DuplexStream, Stop)) -> Vec<u8> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let conversation = async {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (mut read, mut write) = tokio::io::split(ours);
        let stopper = Stopper::new();
        let speak = async {
            // The hub may have closed the connection by now.
            let _ = write.write_all(bytes).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let _ = write.shutdown().await;
        };
        let mut said = Vec::new();
        let listen = read.read_to_end(&mut said);
        let ((), (), heard) = tokio::join!(door(hub(), theirs, stopper.listener()), speak, listen);
        heard.expect("what is in memory can be read");
        said
    };
    runtime
        .expect("without sockets there is nothing to fail")
        .block_on(async { tokio::time::timeout(FOR_EVER, conversation).await })
        .expect("a connection ends after its peer has hung up")
}

fn hub() -> Hub {
    let key = || Key::parse("AAECAwQFBgcICQoLDA0ODw==").expect("sixteen bytes");
    let policy = |name: &str, rights| SharedAccessPolicy {
        name: name.to_owned(),
        primary: key(),
        secondary: key(),
        rights,
    };
    let policies = vec![
        policy("iothubowner", Rights::of(DataAction::ALL)),
        policy("service", SERVICE_CONNECT),
    ];
    let hub = Hub::new(vec!["localhost".to_owned()], policies);
    for line in IDENTITIES {
        hub.import_device(line.as_bytes()).expect("a line that is right");
    }
    hub
}

async fn rooms(hub: &Hub) -> Rooms {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let entra = Entra::open(EntraOptions::default(), hub, (0, nowhere), None);
    let entra = entra.await.expect("a tenant in memory");
    hub.verify_bearer_with(Box::new(entra.clone()));
    let account = Account::new(
        "https://localhost",
        hub,
        entra.clone(),
        Containers::new(hub.changes()).expect("an account in memory"),
    );
    hub.keep_files_in(Box::new(DeviceFiles::new(account.clone())));
    let (dispatcher, _) = Dispatcher::new(hub.clone(), entra, BlobClient::new(""));
    Rooms {
        hub: hub.clone(),
        dispatcher,
        account,
    }
}

/// What `azure-iothub` says until it may send: header, open, begin, two links to `$cbs` and a token for the year 2100.
fn authorized() -> Vec<u8> {
    let recorded = include_str!("../testdata/amqp/node.hex");
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a recording is hexadecimal") as u8;
    let lines = recorded.lines().take(6).flat_map(|line| line.as_bytes().chunks(2));
    lines.map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Longer than anything that the hub waits for.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Who is there: the devices of the recordings, an edge device with its modules, some with certificates, and something to be
/// queried.
const IDENTITIES: [&str; 6] = [
    r#"{"id":"lamp","status":"enabled","authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODw==","secondaryKey":"AAECAwQFBgcICQoLDA0ODw=="}},"tags":{"site":"x","floor":3},"properties":{"desired":{"on":true,"fan":{"speed":2.5,"modes":[1,"a",{"b":true}]}}}}"#,
    r#"{"id":"hall#2","status":"disabled","statusReason":"broken","tags":{"site":"y"}}"#,
    r#"{"id":"gate","status":"enabled","capabilities":{"iotEdge":true}}"#,
    r#"{"id":"gate","moduleId":"fan","status":"enabled","authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODw==","secondaryKey":"AAECAwQFBgcICQoLDA0ODw=="}},"tags":{"m":1}}"#,
    r#"{"id":"badge","status":"enabled","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"B19EAC6F96B927AAA0AB19162A9536DE78ECBE35948DDEF69AEA0E82321D74A9","secondaryThumbprint":"B19EAC6F96B927AAA0AB19162A9536DE78ECBE35948DDEF69AEA0E82321D74A9"}}}"#,
    r#"{"id":"sealed","status":"enabled","authentication":{"type":"certificateAuthority"}}"#,
];
