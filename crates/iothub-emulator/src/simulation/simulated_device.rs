use std::{io, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use ring::hmac;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncWriteExt, ReadHalf, WriteHalf},
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::client::TlsStream;
use tracing::debug;

use super::Fleet;
use crate::{
    hub::{Target, authentication::Key},
    mqtt::{Connect, ConnectCode, Delivery, Packet, PacketReader, Publish, Qos, ReadError, Subscribe},
};

/// A device that sends what it measures, answers every method, and reports what it is told to be.
pub(super) struct SimulatedDevice {
    fleet: Arc<Fleet>,
    target: Target,
    /// How long it waits between two messages: what the fleet does, unless a desired property says something else.
    interval: Duration,
    sent: u64,
}

/// A connection of a device.
struct Line {
    reader: PacketReader<ReadHalf<TlsStream<TcpStream>>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    out: BytesMut,
}

impl SimulatedDevice {
    pub(super) fn new(fleet: Arc<Fleet>, target: Target) -> Self {
        let interval = fleet.interval;
        Self {
            fleet,
            target,
            interval,
            sent: 0,
        }
    }

    /// Connects, and connects again whenever the connection ends.
    pub(super) async fn live(mut self) {
        loop {
            let ended = match self.connect().await {
                Ok(mut line) => {
                    self.fleet.count(true);
                    let ended = self.run(&mut line).await;
                    self.fleet.count(false);
                    ended
                }
                Err(error) => error,
            };
            debug!(target = %self.target, %ended, "a simulated device lost its connection");
            sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> io::Result<Line> {
        let handshake = async {
            let _turn = self.fleet.handshakes.acquire().await;
            let tcp = TcpStream::connect(self.fleet.address).await?;
            tcp.set_nodelay(true)?;
            let tls = self.fleet.tls.connect(self.fleet.name.clone(), tcp).await?;
            let (read, writer) = tokio::io::split(tls);
            let (reader, out) = (PacketReader::new(read), BytesMut::new());
            let mut line = Line { reader, writer, out };
            line.say(Packet::Connect(Box::new(self.introduction()?))).await?;
            match line.hear().await? {
                Packet::ConnAck(ack) if ack.code == ConnectCode::Accepted => Ok(line),
                other => Err(io::Error::other(format!("the hub answered {other:?} to a CONNECT"))),
            }
        };
        timeout(PATIENCE, handshake).await?
    }

    fn introduction(&self) -> io::Result<Connect> {
        let (host, id) = (self.fleet.hub.name(), self.target.device());
        let keys = self.fleet.hub.keys_of(&self.target);
        let [key, _] = keys.ok_or_else(|| io::Error::other(format!("{id} has no key any more")))?;
        let expiry = self.fleet.hub.clock().now().unix_timestamp() + TOKEN_LIFE;
        Ok(Connect {
            client_id: id.to_owned(),
            clean_session: true,
            keep_alive: KEEP_ALIVE,
            will: None,
            user_name: Some(format!(
                "{host}/{id}/?api-version=2021-04-12&DeviceClientType=simulation"
            )),
            password: Some(token(&format!("{host}/devices/{id}"), &key, expiry).into()),
        })
    }

    /// Does what a device does until the connection ends, and says why it did.
    async fn run(&mut self, line: &mut Line) -> io::Error {
        match self.converse(line).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn converse(&mut self, line: &mut Line) -> io::Result<std::convert::Infallible> {
        let filters = [METHODS, DESIRED, ANSWERS].map(|topic| (format!("{topic}#"), Qos::AtMostOnce));
        line.say(Packet::Subscribe(Subscribe {
            id: 1,
            filters: filters.into(),
        }))
        .await?;
        line.publish("$iothub/twin/GET/?$rid=0", Bytes::new()).await?;
        // Not all at once, so that a fleet does not send in step.
        let mut next = Instant::now() + self.interval.mul_f64(fraction(self.target.device()));
        let mut ping = Instant::now() + PING;
        loop {
            tokio::select! {
                packet = line.reader.next() => match packet {
                    Ok(Some(Packet::Publish(publish))) => self.obey(publish, line).await?,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(ReadError::Io) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(ReadError::Decode(error)) => return Err(io::Error::other(error)),
                },
                () = sleep_until(next) => {
                    next = Instant::now() + self.interval;
                    let topic = format!(
                        "devices/{}/messages/events/%24.ct=application%2Fjson&%24.ce=utf-8",
                        self.target.device()
                    );
                    let measured = self.measure();
                    line.publish(&topic, measured.to_string().into()).await?;
                }
                () = sleep_until(ping) => {
                    ping = Instant::now() + PING;
                    line.say(Packet::PingReq).await?;
                }
            }
        }
    }

    /// Does what the hub asks for: runs a method, or takes over desired properties.
    async fn obey(&mut self, publish: Publish, line: &mut Line) -> io::Result<()> {
        let topic = &publish.topic;
        if let Some((name, request)) = topic.strip_prefix(METHODS).and_then(|rest| rest.split_once("/?$rid=")) {
            let payload: Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
            let answer = json!({ "ran": name, "with": payload });
            let topic = format!("$iothub/methods/res/200/?$rid={request}");
            return line.publish(&topic, answer.to_string().into()).await;
        }
        let document: Value = serde_json::from_slice(&publish.payload).unwrap_or_default();
        let desired = match document {
            Value::Object(members) if topic.starts_with(DESIRED) => members,
            Value::Object(mut members) if topic.starts_with(ANSWERS) => match members.remove("desired") {
                Some(Value::Object(members)) => members,
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.follow(desired, line).await
    }

    /// Reports that it is as it was told to be.
    async fn follow(&mut self, mut desired: Map<String, Value>, line: &mut Line) -> io::Result<()> {
        desired.remove("$version");
        if desired.is_empty() {
            return Ok(());
        }
        if let Some(seconds) = desired.get(INTERVAL) {
            let seconds = seconds.as_f64().filter(|seconds| (0.001..1e6).contains(seconds));
            self.interval = seconds.map_or(self.fleet.interval, Duration::from_secs_f64);
        }
        let report = Value::Object(desired).to_string();
        line.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", report.into())
            .await
    }

    /// What it measures: a temperature that goes up and down in some ten messages.
    fn measure(&mut self) -> Value {
        self.sent += 1;
        let phase = self.sent as f64 / 10.0 + fraction(self.target.device()) * 7.0;
        let temperature = (21.0 + 4.0 * phase.sin()) * 100.0;
        json!({ "temperature": temperature.round() / 100.0, "count": self.sent })
    }
}

impl Line {
    async fn publish(&mut self, topic: &str, payload: Bytes) -> io::Result<()> {
        self.say(Packet::Publish(Publish {
            topic: topic.to_owned(),
            payload,
            delivery: Delivery::AtMostOnce,
            retain: false,
        }))
        .await
    }

    async fn say(&mut self, packet: Packet) -> io::Result<()> {
        self.out.clear();
        packet.write(&mut self.out);
        self.writer.write_all(&self.out).await?;
        self.writer.flush().await
    }

    async fn hear(&mut self) -> io::Result<Packet> {
        match self.reader.next().await {
            Ok(Some(packet)) => Ok(packet),
            Ok(None) | Err(ReadError::Io) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(ReadError::Decode(error)) => Err(io::Error::other(error)),
        }
    }
}

/// A shared access signature of a device's key.
fn token(resource: &str, key: &Key, expiry: i64) -> String {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let resource = encode(resource);
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
    let signature = hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes());
    let signature = encode(&BASE64_STANDARD.encode(signature));
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}")
}

/// From 0 to 1, the same for a device in every run.
fn fraction(id: &str) -> f64 {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    f64::from(id.bytes().fold(0x811c_9dc5, mix)) / f64::from(u32::MAX)
}

/// The desired property that says how many seconds are between two messages.
const INTERVAL: &str = "telemetryInterval";

const METHODS: &str = "$iothub/methods/POST/";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";
const ANSWERS: &str = "$iothub/twin/res/";

/// In seconds. Half of it is how often it is heard of.
const KEEP_ALIVE: u16 = 240;
const PING: Duration = Duration::from_secs(120);

/// In seconds. When it is over, the hub ends the connection, and the device comes with another one.
const TOKEN_LIFE: i64 = 3600;

/// How long a handshake may take, and how long a device waits before it tries again.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);
