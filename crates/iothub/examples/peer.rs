//! The clients of this workspace, for scripts of other languages: commands as lines of JSON on stdin, an answer to each
//! on stdout, in the order in which they are done.
//!
//! `IOTHUB_CONNECTION_STRING` says where the hub is, `IOTHUB_CA_FILE` names a file with its root certificate in PEM.
//!
//! ```json
//! {"id": 1, "do": "send", "to": "lamp", "body": "on", "messageId": "m1", "ack": "full", "properties": {"room": "hall"}}
//! {"id": 2, "do": "sendAndConfirm", "to": "lamp/bulb", "body": "on"}
//! {"id": 3, "do": "feedback", "messageId": "m1"}
//! {"id": 4, "do": "invoke", "to": "lamp", "method": "blink", "payload": {"times": 3}}
//! {"id": 5, "do": "uploaded", "blob": "lamp/picture.jpg"}
//! ```
//!
//! Each is answered with `{"id": …, "ok": …}` or `{"id": …, "error": {"code": …, "message": …}}`.

use std::{collections::HashMap, env, error::Error, fs, io, sync::Arc, time::Duration};

use futures::StreamExt;
use iothub::{
    HubError, HubErrorCode,
    models::DirectMethodRequest,
    service::{Ack, CloudToDeviceMessage, ServiceClient, ServiceClientOptions, Target},
};
use iothub_transport_amqp::{AmqpOptions, Fe2o3Transport};
use iothub_transport_http::{HyperOptions, HyperTransport};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let peer = Peer::connect()?;
    let (lines, mut commands) = mpsc::unbounded_channel();
    // A thread of its own, because reading stdin cannot be given up.
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    while let Some(line) = commands.recv().await {
        let command: Value = serde_json::from_str(&line)?;
        let peer = peer.clone();
        tokio::spawn(async move {
            let mut answer = match peer.execute(&command).await {
                Ok(ok) => json!({ "ok": ok }),
                Err(error) => json!({ "error": described(&*error) }),
            };
            answer["id"] = command["id"].clone();
            answer_with(&answer);
        });
    }
    Ok(())
}

#[derive(Clone)]
struct Peer {
    service: ServiceClient,
    /// What became of messages, by message id: read from the first time on that somebody asks.
    feedback: Arc<tokio::sync::OnceCell<watch::Receiver<HashMap<String, String>>>>,
    /// How large uploaded files are, by the name of the blob: read from the first time on that somebody asks.
    files: Arc<tokio::sync::OnceCell<watch::Receiver<HashMap<String, u64>>>>,
}

impl Peer {
    fn connect() -> Result<Self, Failure> {
        let root = fs::read(env::var("IOTHUB_CA_FILE")?)?;
        let http = HyperTransport::new(HyperOptions {
            extra_roots: vec![root.clone().into()],
            ..Default::default()
        })?;
        let amqp = Fe2o3Transport::new(AmqpOptions {
            extra_roots: vec![root.into()],
            ..Default::default()
        })?;
        let mut options = ServiceClientOptions {
            amqp_transport: Some(Arc::new(amqp)),
            ..Default::default()
        };
        options.client_options.transport = Some(http.into());
        let text = env::var("IOTHUB_CONNECTION_STRING")?;
        Ok(Self {
            service: ServiceClient::from_connection_string(&text, Some(options))?,
            feedback: Arc::default(),
            files: Arc::default(),
        })
    }

    async fn execute(&self, command: &Value) -> Result<Value, Failure> {
        match text(command, "do")? {
            "send" => {
                self.service.send(&target(command)?, message(command)?, None).await?;
                Ok(Value::Null)
            }
            "sendAndConfirm" => {
                let (target, message) = (target(command)?, message(command)?);
                let confirmed = self.service.send_and_confirm(&target, message, None).await?;
                Ok(json!(confirmed.record.status.as_str()))
            }
            "feedback" => self.fate_of(text(command, "messageId")?).await,
            "uploaded" => self.size_of(text(command, "blob")?).await,
            "invoke" => {
                let mut method = DirectMethodRequest::new(text(command, "method")?)
                    .with_response_timeout(Duration::from_secs(30))
                    .with_connect_timeout(Duration::from_secs(command["connectTimeout"].as_u64().unwrap_or(0)));
                if let Some(payload) = command.get("payload") {
                    method = method.with_payload(payload.clone());
                }
                let answer = self.service.invoke_method(&target(command)?, &method, None).await?;
                let answer = answer.into_model()?;
                let payload = answer.payload.as_ref().map_or("null", |payload| payload.as_str());
                Ok(json!({ "status": answer.status, "payload": serde_json::from_str::<Value>(payload)? }))
            }
            other => Err(format!("there is no command {other:?}").into()),
        }
    }

    /// Waits until the hub says what became of a message.
    async fn fate_of(&self, message_id: &str) -> Result<Value, Failure> {
        let fates = self.feedback.get_or_init(async || {
            let (known, fates) = watch::channel(HashMap::new());
            let mut feedback = self.service.feedback(None);
            tokio::spawn(async move {
                while let Some(batch) = feedback.next().await {
                    let Ok(batch) = batch else {
                        continue;
                    };
                    for record in &batch.records {
                        let (id, status) = (record.original_message_id.clone(), record.status.as_str().to_owned());
                        known.send_modify(|fates| drop(fates.insert(id, status)));
                    }
                    // Whoever is not heard of comes again.
                    let _ = batch.complete().await;
                }
            });
            fates
        });
        let mut fates = fates.await.clone();
        let known = fates.wait_for(|fates| fates.contains_key(message_id)).await?;
        Ok(json!(known[message_id]))
    }

    /// Waits until the hub says that a file has been uploaded.
    async fn size_of(&self, blob: &str) -> Result<Value, Failure> {
        let sizes = self.files.get_or_init(async || {
            let (known, sizes) = watch::channel(HashMap::new());
            let mut files = self.service.file_notifications(None);
            tokio::spawn(async move {
                while let Some(file) = files.next().await {
                    let Ok(file) = file else {
                        continue;
                    };
                    let (name, size) = (file.blob_name.clone(), file.blob_size);
                    known.send_modify(|sizes| _ = sizes.insert(name, size));
                    // One that is not settled comes again.
                    let _ = file.complete().await;
                }
            });
            sizes
        });
        let mut sizes = sizes.await.clone();
        let known = sizes.wait_for(|sizes| sizes.contains_key(blob)).await?;
        Ok(json!(known[blob]))
    }
}

fn target(command: &Value) -> Result<Target, Failure> {
    Ok(match text(command, "to")?.split_once('/') {
        None => Target::Device(text(command, "to")?.parse()?),
        Some((device, module)) => Target::Module(iothub::ModuleId::new(device.parse()?, module)?),
    })
}

fn message(command: &Value) -> Result<CloudToDeviceMessage, Failure> {
    let optional = |name: &str| command[name].as_str().map(str::to_owned);
    let mut message = CloudToDeviceMessage::new(text(command, "body")?.to_owned());
    message.message_id = optional("messageId");
    message.correlation_id = optional("correlationId");
    message.content_type = optional("contentType");
    message.ack = match command["ack"].as_str() {
        Some("full") => Ack::Full,
        _ => Ack::None,
    };
    for (name, value) in command["properties"].as_object().into_iter().flatten() {
        let value = value.as_str().ok_or("properties are texts")?;
        message.properties.insert(name.clone(), value.to_owned());
    }
    Ok(message)
}

fn text<'a>(command: &'a Value, name: &str) -> Result<&'a str, Failure> {
    command[name]
        .as_str()
        .ok_or_else(|| format!("{name} is missing in the command").into())
}

fn described(error: &(dyn Error + Send + Sync + 'static)) -> Value {
    let code = error
        .downcast_ref::<iothub::Error>()
        .and_then(HubError::of)
        .map(|hub| HubErrorCode::as_str(&hub.code));
    json!({ "code": code, "message": error.to_string() })
}

#[expect(clippy::print_stdout, reason = "that is how the answers go to whoever asked")]
fn answer_with(answer: &Value) {
    println!("{answer}");
}
