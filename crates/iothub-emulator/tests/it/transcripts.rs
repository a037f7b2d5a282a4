//! What Microsoft's SDKs say, byte for byte and in their order, and what they must be answered: `testdata/http`.

use std::{collections::HashMap, fmt::Write as _, fs, path::Path};

use http::HeaderMap;
use iothub_emulator::{Emulator, EmulatorOptions};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};

use crate::client::tls;

#[tokio::test]
async fn azure_iot_hub() {
    replay_all("azure-iot-hub").await;
}

#[tokio::test]
async fn azure_iothub() {
    replay_all("azure-iothub").await;
}

#[tokio::test]
async fn azure_iot_device_http() {
    replay_all("azure-iot-device-http").await;
}

#[tokio::test]
async fn what_is_known_of_others() {
    replay_all("documented").await;
}

/// A request as it was recorded, and what has to come back.
struct Exchange<'a> {
    start: &'a str,
    head: &'a str,
    body: &'a str,
    status: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    answer: &'a str,
}

/// What stands for `{{1}}` and the like, once it has been seen in an answer.
#[derive(Default)]
struct Placeholders(HashMap<String, String>);

async fn replay_all(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/http").join(folder);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "http") {
            count += 1;
            replay(&file).await;
        }
    }
    assert!(count > 0);
}

async fn replay(file: &Path) {
    let (transcript, name) = (fs::read_to_string(file).unwrap(), file.display());
    let emulator = with_known_keys().await;
    let mut known = Placeholders::default();
    let mut stream = BufStream::new(tls(&emulator, b"http/1.1").await);
    for exchange in transcript.split(">>> ").skip(1).map(Exchange::parse) {
        let request = exchange.request(&known);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let (status, headers, body) = read_answer(&mut stream).await;
        if let Err(wrong) = exchange.check(&status, &headers, &body, &mut known) {
            panic!(
                "{name}: {}: {wrong}\nwas answered with {status} {headers:?}\n{body}",
                exchange.start
            );
        }
        if request.to_ascii_lowercase().contains("\r\nconnection: close\r\n") {
            stream = BufStream::new(tls(&emulator, b"http/1.1").await);
        }
    }
}

/// An emulator that takes the signatures of the transcripts: all policies have one key, and it is in them.
async fn with_known_keys() -> Emulator {
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
    let data_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("transcript-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&data_dir).unwrap();
    let policies = ["iothubowner", "service", "device", "registryRead", "registryReadWrite"];
    let policies: HashMap<_, _> = policies.into_iter().map(|name| (name, [KEY, KEY])).collect();
    fs::write(data_dir.join("policies.json"), serde_json::to_vec(&policies).unwrap()).unwrap();
    // Making one takes a second.
    fs::write(
        data_dir.join("entra.key"),
        include_str!("../../testdata/entra/entra.key"),
    )
    .unwrap();
    let options = EmulatorOptions {
        data_dir: Some(data_dir),
        ..Default::default()
    };
    Emulator::start(options).await.unwrap()
}

async fn read_answer(stream: &mut BufStream<impl AsyncReadExt + AsyncWriteExt + Unpin>) -> (String, HeaderMap, String) {
    let mut status = String::new();
    stream.read_line(&mut status).await.unwrap();
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (status, headers, String::from_utf8(body).unwrap())
}

impl<'a> Exchange<'a> {
    fn parse(text: &'a str) -> Self {
        let (request, answer) = text.split_once("\n<<< ").unwrap();
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let (start, head) = head.trim_end().split_once('\n').unwrap();
        let (status, answer) = answer.split_once("\n\n").unwrap_or((answer, ""));
        let mut lines = status.trim_end().lines();
        Self {
            start,
            head,
            body: body.trim_end(),
            status: lines.next().unwrap(),
            headers: lines.map(|line| line.split_once(": ").unwrap()).collect(),
            answer: answer.trim_end(),
        }
    }

    fn request(&self, known: &Placeholders) -> String {
        let body = known.fill(self.body);
        let mut request = format!("{}\r\n", known.fill(self.start));
        for line in self.head.lines() {
            match line.split_once(": ") {
                Some((name, _)) if name.eq_ignore_ascii_case("content-length") => {
                    write!(request, "{name}: {}\r\n", body.len()).unwrap();
                }
                _ => write!(request, "{}\r\n", known.fill(line)).unwrap(),
            }
        }
        if self
            .head
            .lines()
            .any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"))
        {
            return format!("{request}\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        }
        format!("{request}\r\n{body}")
    }

    /// Everything of the transcript has to be in the answer; the answer may say more.
    fn check(&self, status: &str, headers: &HeaderMap, body: &str, known: &mut Placeholders) -> Result<(), String> {
        if status.split(' ').nth(1) != Some(self.status) {
            return Err(format!("{} was expected", self.status));
        }
        for (name, expected) in &self.headers {
            let value = headers.get(*name).map_or("", |value| value.to_str().unwrap());
            known
                .bind(expected, value)
                .map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        // Some clients go on to ask as long as they see one.
        let unasked = |name: &str| headers.contains_key(name) && self.headers.iter().all(|(known, _)| *known != name);
        if unasked("x-ms-continuation") || unasked("iothub-errorcode") {
            return Err("a header is too much".to_owned());
        }
        match (serde_json::from_str(self.answer), serde_json::from_str(body)) {
            (Ok(expected), Ok(actual)) => known.bind_json(&expected, &actual),
            _ => known.bind(self.answer, body),
        }
    }
}

impl Placeholders {
    fn fill(&self, text: &str) -> String {
        let fill = |text: String, (name, value): (&String, &String)| text.replace(&format!("{{{{{name}}}}}"), value);
        self.0.iter().fold(text.to_owned(), fill)
    }

    fn bind_json(&mut self, expected: &Value, actual: &Value) -> Result<(), String> {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => expected.iter().try_for_each(|(name, expected)| {
                let actual = actual.get(name).ok_or_else(|| format!("{name} is missing"))?;
                self.bind_json(expected, actual)
                    .map_err(|wrong| format!("{name}: {wrong}"))
            }),
            (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
                let mut pairs = expected.iter().zip(actual);
                pairs.try_for_each(|(expected, actual)| self.bind_json(expected, actual))
            }
            (Value::String(expected), Value::String(actual)) => self.bind(expected, actual),
            _ if expected == actual => Ok(()),
            _ => Err(format!("{expected} was expected, not {actual}")),
        }
    }

    /// Compares a text with one that has placeholders in it: `{{}}` is anything, `{{1}}` the same everywhere.
    fn bind(&mut self, expected: &str, actual: &str) -> Result<(), String> {
        let wrong = || format!("{expected:?} was expected, not {actual:?}");
        let mut parts = expected.split("{{");
        let mut rest = actual
            .strip_prefix(parts.next().unwrap_or_default())
            .ok_or_else(wrong)?;
        for part in parts {
            let (name, literal) = part.split_once("}}").ok_or_else(wrong)?;
            let end = if literal.is_empty() {
                Some(rest.len())
            } else {
                rest.find(literal)
            };
            let (value, after) = rest.split_at(end.ok_or_else(wrong)?);
            rest = after.strip_prefix(literal).ok_or_else(wrong)?;
            if !name.is_empty() && self.0.entry(name.to_owned()).or_insert_with(|| value.to_owned()) != value {
                return Err(wrong());
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(wrong()) }
    }
}
