//! A backend proves who it is with Microsoft Entra ID, manages a device, and sends it a message.
//!
//! With no arguments it does so with every credential against an emulator that it starts. Against Azure:
//!
//! `role_based_authentication --hub HOST --device ID --credential default|secret|certificate|federated|managed-identity
//! --transport amqp|websocket`
//!
//! with the settings of the credential in the environment: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, and
//! `AZURE_CLIENT_SECRET`, `AZURE_CLIENT_CERTIFICATE_PATH` or `AZURE_FEDERATED_TOKEN_FILE`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;

use examples::{Failure, Stage};
use iothub::{
    Credential, DeviceId, HubError, HubErrorCode, HubHost, Result,
    amqp::AmqpTransport,
    auth::{
        ClientCertificate, ClientCertificateCredential, ClientCertificateCredentialOptions, ClientSecretCredential,
        ClientSecretCredentialOptions, DefaultAzureCredential, DefaultAzureCredentialOptions,
        ManagedIdentityCredential, ManagedIdentityCredentialOptions, WorkloadIdentityCredential,
        WorkloadIdentityCredentialOptions,
    },
    models::{Device, DeviceStatus},
    registry::{RegistryClient, RegistryClientOptions},
    service::{CloudToDeviceMessage, ServiceClient, ServiceClientOptions, Target},
};
use iothub_transport_amqp::Carrier;
use lexopt::{Arg, Parser, ValueExt};

#[tokio::main]
async fn main() -> std::result::Result<(), Failure> {
    let arguments = Arguments::parse()?;
    let stage = match &arguments.hub {
        Some(host) => Stage::azure(host.clone())?,
        None => Stage::emulator().await?,
    };
    println!("the hub is {}", stage.host);
    let mut received = Vec::new();
    for &kind in &arguments.credentials {
        let credential = kind.credential(&stage)?;
        for &carrier in &arguments.carriers {
            println!("\n{kind:?}, {carrier:?}");
            received.extend(tell(&stage, credential.clone(), carrier, &arguments.device).await?);
        }
    }
    if stage.emulator.is_some() {
        println!("\n{} in the emulator received {received:?}", arguments.device);
    }
    Ok(())
}

/// The story itself: a token credential and a host name make any client. Returns what a device in the emulator received.
async fn tell(stage: &Stage, credential: Credential, carrier: Carrier, id: &DeviceId) -> Result<Option<String>> {
    let options = RegistryClientOptions {
        client_options: stage.client_options(),
        ..Default::default()
    };
    let registry = RegistryClient::new(stage.host.clone(), credential.clone(), Some(options))?;
    let transport: Arc<dyn AmqpTransport> = Arc::new(stage.amqp(carrier)?);
    let options = ServiceClientOptions {
        amqp_transport: Some(transport),
        ..Default::default()
    };
    let service = ServiceClient::new(stage.host.clone(), credential, Some(options))?;

    // A device that was there before is only read and written to.
    let ours = match registry.create_device(&Device::new(id.clone()), None).await {
        Ok(device) => {
            println!("  created   device {id}, tag {:?}", device.into_model()?.etag);
            true
        }
        Err(error) if code(&error) == Some(&HubErrorCode::DeviceAlreadyExists) => false,
        Err(error) => return Err(error),
    };
    let mut device = registry.get_device(id, None).await?.into_model()?;
    println!("  read      device {id}, {:?}", device.status);
    if ours {
        device.status_reason = Some("an example".to_owned());
        device.status = DeviceStatus::Enabled;
        let device = registry.update_device(&device, None).await?.into_model()?;
        println!("  updated   device {id}, tag {:?}", device.etag);
    }

    let message = CloudToDeviceMessage::new(format!("hello by {carrier:?}"));
    service.send(&Target::from(id.clone()), message, None).await?;
    println!("  sent      a message to {id}, and the hub accepted it");
    service.close().await?;

    let received = match &stage.emulator {
        Some(emulator) => {
            let message = emulator.device(id.as_str())?.recv().await.complete()?;
            println!("  received  by {id}, which completed it");
            Some(String::from_utf8_lossy(&message.body).into_owned())
        }
        None => None,
    };
    if ours {
        registry.delete_device(id, None).await?;
        println!("  deleted   device {id}");
    }
    Ok(received)
}

fn code(error: &iothub::Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

/// The ways to be somebody. All read the environment of the stage.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Default,
    Secret,
    Certificate,
    Federated,
    ManagedIdentity,
}

impl Kind {
    const ALL: [(&str, Self); 5] = [
        ("default", Self::Default),
        ("secret", Self::Secret),
        ("certificate", Self::Certificate),
        ("federated", Self::Federated),
        ("managed-identity", Self::ManagedIdentity),
    ];

    fn credential(self, stage: &Stage) -> Result<Credential> {
        let (environment, client_options) = (stage.environment(), stage.token_options());
        Ok(match self {
            Self::Default => {
                let options = DefaultAzureCredentialOptions {
                    environment,
                    client_options,
                    ..Default::default()
                };
                DefaultAzureCredential::new(Some(options))?.into()
            }
            Self::Secret => {
                let (tenant, client) = (stage.setting("AZURE_TENANT_ID")?, stage.setting("AZURE_CLIENT_ID")?);
                let secret = stage.setting("AZURE_CLIENT_SECRET")?;
                let options = ClientSecretCredentialOptions { client_options };
                ClientSecretCredential::new(&tenant, &client, secret.into(), Some(options))?.into()
            }
            Self::Certificate => {
                let (tenant, client) = (stage.setting("AZURE_TENANT_ID")?, stage.setting("AZURE_CLIENT_ID")?);
                let password = stage.setting("AZURE_CLIENT_CERTIFICATE_PASSWORD").ok().map(Into::into);
                let file = stage.setting("AZURE_CLIENT_CERTIFICATE_PATH")?;
                let certificate = ClientCertificate::from_file(file, password)?;
                let options = ClientCertificateCredentialOptions {
                    client_options,
                    ..Default::default()
                };
                ClientCertificateCredential::new(&tenant, &client, certificate, Some(options))?.into()
            }
            Self::Federated => {
                let options = WorkloadIdentityCredentialOptions {
                    environment,
                    client_options,
                    ..Default::default()
                };
                WorkloadIdentityCredential::new(Some(options))?.into()
            }
            Self::ManagedIdentity => {
                let options = ManagedIdentityCredentialOptions {
                    environment,
                    client_options,
                    ..Default::default()
                };
                ManagedIdentityCredential::new(Some(options))?.into()
            }
        })
    }
}

/// What the command line asks for: without a hub the emulator, without a choice all there are.
struct Arguments {
    hub: Option<HubHost>,
    device: DeviceId,
    credentials: Vec<Kind>,
    carriers: Vec<Carrier>,
}

impl Arguments {
    fn parse() -> std::result::Result<Self, Failure> {
        let mut arguments = Self {
            hub: None,
            device: "lamp".parse()?,
            credentials: Kind::ALL.map(|(_, kind)| kind).to_vec(),
            carriers: vec![Carrier::Tls, Carrier::WebSocket],
        };
        let mut parser = Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("hub") => arguments.hub = Some(parser.value()?.string()?.parse()?),
                Arg::Long("device") => arguments.device = parser.value()?.string()?.parse()?,
                Arg::Long("credential") => {
                    let name = parser.value()?.string()?;
                    let kind = Kind::ALL
                        .into_iter()
                        .find(|(known, _)| *known == name)
                        .map(|(_, kind)| kind);
                    let names = Kind::ALL.map(|(known, _)| known).join(", ");
                    arguments.credentials = vec![kind.ok_or(format!("{name:?} is none of {names}"))?];
                }
                Arg::Long("transport") => {
                    arguments.carriers = match parser.value()?.string()?.as_str() {
                        "amqp" => vec![Carrier::Tls],
                        "websocket" => vec![Carrier::WebSocket],
                        other => return Err(format!("{other:?} is none of amqp, websocket").into()),
                    };
                }
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(arguments)
    }
}
