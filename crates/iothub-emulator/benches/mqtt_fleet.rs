//! Devices that are connected over MQTT all at once: how fast they come, and what each costs the hub.
//!
//! `cargo bench -p iothub-emulator --bench mqtt_fleet -- 10000`. The devices are in a process of their own, so that the
//! memory is the hub's alone. Each process needs a socket for every device: `ulimit -n 20000` before.

#![expect(clippy::unwrap_used, reason = "a figure that cannot be taken is no figure")]
#![expect(clippy::print_stdout, reason = "that is where the figures go")]

use std::{
    env, fs, io,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use iothub_emulator::{Emulator, EmulatorOptions, Event};
use ring::hmac;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

#[tokio::main]
async fn main() {
    let count = env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(10_000);
    if env::var("FLEET_ROOT").is_ok() {
        return devices(count).await;
    }
    let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
    for number in 0..count {
        emulator.add_device(&format!("device-{number}")).unwrap();
    }
    let before = resident();
    let started = Instant::now();
    let mut fleet = Command::new(env::current_exe().unwrap())
        .arg(count.to_string())
        .env("FLEET_ROOT", emulator.root_certificate())
        .env("FLEET_PORT", emulator.mqtts_port().to_string())
        .env("FLEET_POLICY", emulator.connection_string("device").unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = fleet.stdin.take().unwrap();
    let mut reports = BufReader::new(fleet.stdout.take().unwrap()).lines();
    let mut report = || reports.next().unwrap().unwrap();

    assert_eq!(report(), "connected");
    let elapsed = started.elapsed();
    let came = emulator
        .journal()
        .count(|event| matches!(event, Event::Connected { .. }));
    let gone = emulator
        .journal()
        .count(|event| matches!(event, Event::Disconnected { .. }));
    assert_eq!((came, gone), (count, 0));
    let each = (resident() - before) * 1024 / count as u64;
    println!("{count} devices connected and subscribed in {elapsed:.1?}, {each} bytes each in the hub");

    let started = Instant::now();
    writeln!(orders, "send").unwrap();
    assert_eq!(report(), "sent");
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("{count} messages acknowledged, one of each device, {rate:.0} a second");
    println!("{} KiB resident in all", resident());
    drop(orders);
    fleet.wait().unwrap();
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The other process: all devices.
async fn devices(count: usize) {
    let tls = connector(&env::var("FLEET_ROOT").unwrap());
    let port: u16 = env::var("FLEET_PORT").unwrap().parse().unwrap();
    let token = Arc::new(token(&env::var("FLEET_POLICY").unwrap()));
    let handshakes = Arc::new(Semaphore::new(64));
    let mut connecting = JoinSet::new();
    for number in 0..count {
        let (tls, token, handshakes) = (tls.clone(), Arc::clone(&token), Arc::clone(&handshakes));
        connecting.spawn(async move {
            let _turn = handshakes.acquire().await.unwrap();
            let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = tls.connect(name, tcp).await.unwrap();
            let id = format!("device-{number}");
            let user = format!("localhost/{id}/?api-version=2021-04-12");
            let texts = [text(&id), text(&user), text(&token)].concat();
            exchange(
                &mut stream,
                0x10,
                &[&text("MQTT"), &[4, 0xC2, 0x06, 0xE7], &texts],
                &[0x20, 2, 0, 0],
            )
            .await;
            let filter = [&[0, 1], &text("$iothub/methods/POST/#")[..], &[0]];
            exchange(&mut stream, 0x82, &filter, &[0x90, 3, 0, 1, 0]).await;
            let filter = [
                &[0, 2],
                &text(&format!("devices/{id}/messages/devicebound/#"))[..],
                &[1],
            ];
            exchange(&mut stream, 0x82, &filter, &[0x90, 3, 0, 2, 1]).await;
            (id, stream)
        });
    }
    let mut connected = connecting.join_all().await;
    println!("connected");
    let mut order = String::new();
    io::stdin().read_line(&mut order).unwrap();
    assert_eq!(order, "send\n");
    for (id, stream) in &mut connected {
        let topic = text(&format!("devices/{id}/messages/events/"));
        say(stream, 0x32, &[&topic, &[0, 3], &[b'x'; 100]]).await;
    }
    for (_, stream) in &mut connected {
        hear(stream, &[0x40, 2, 0, 3]).await;
    }
    println!("sent");
    io::stdin().read_line(&mut order).unwrap();
}

async fn exchange(stream: &mut TlsStream<TcpStream>, first: u8, parts: &[&[u8]], answer: &[u8]) {
    say(stream, first, parts).await;
    hear(stream, answer).await;
}

async fn say(stream: &mut TlsStream<TcpStream>, first: u8, parts: &[&[u8]]) {
    let body = parts.concat();
    let mut packet = vec![first];
    let mut left = body.len();
    while left > 127 {
        packet.push((left % 128) as u8 | 0x80);
        left /= 128;
    }
    packet.push(left as u8);
    packet.extend(body);
    stream.write_all(&packet).await.unwrap();
    stream.flush().await.unwrap();
}

async fn hear(stream: &mut TlsStream<TcpStream>, answer: &[u8]) {
    let mut heard = vec![0; answer.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, answer);
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// The token of a policy, which is good for all devices.
fn token(connection_string: &str) -> String {
    let (_, key) = connection_string.split_once("SharedAccessKey=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64_STANDARD.decode(key).unwrap());
    let signature = BASE64_STANDARD.encode(hmac::sign(&key, b"localhost\n4102444800"));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr=localhost&sig={signature}&se=4102444800&skn=device")
}

fn connector(root: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Devices that come for the first time have nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}
