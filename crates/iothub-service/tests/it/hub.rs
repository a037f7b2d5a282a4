use std::{sync::Arc, time::Duration};

use azure_core::http::{ClientOptions, Context, Method};
use iothub_auth::{ConnectionString, Credential};
use iothub_core::{CallFacts, Error, HubError, HubErrorCode, HubHost, HubPipeline, Product, Result};
use iothub_emulator::{AmqpEvent, AmqpFaults, Device, Emulator, EmulatorOptions, Event};
use iothub_service::{Ack, CloudToDeviceMessage, ServiceClient, ServiceClientOptions, Target};
use iothub_transport_amqp::{AmqpOptions, Carrier, Fe2o3Transport};
use iothub_transport_http::{HyperOptions, HyperTransport, Proxy};

/// A local hub with a lamp, and the client of a backend.
pub(crate) struct Hub {
    pub(crate) emulator: Emulator,
    pub(crate) service: ServiceClient,
    pub(crate) lamp: Target,
}

impl Hub {
    pub(crate) async fn with_a_lamp() -> Self {
        Self::over(Carrier::Tls).await
    }

    pub(crate) async fn over(carrier: Carrier) -> Self {
        let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
        create(&emulator, "devices/lamp", r#"{"deviceId":"lamp"}"#)
            .await
            .unwrap();
        let service = client(
            &emulator,
            credential(&emulator, "service"),
            transport(&emulator, carrier),
        );
        Self {
            emulator,
            service,
            lamp: Target::Device("lamp".parse().unwrap()),
        }
    }

    /// The lamp itself.
    pub(crate) fn device(&self) -> Device {
        self.emulator.device("lamp").unwrap()
    }

    pub(crate) fn faults(&self) -> &AmqpFaults {
        self.emulator.faults().amqp()
    }

    pub(crate) fn service_of(&self, policy: &str) -> ServiceClient {
        let credential = credential(&self.emulator, policy);
        client(&self.emulator, credential, transport(&self.emulator, Carrier::Tls))
    }

    pub(crate) async fn create_module(&self, module: &str) -> Result<()> {
        let body = format!(r#"{{"deviceId":"lamp","moduleId":"{module}"}}"#);
        create(&self.emulator, &format!("devices/lamp/modules/{module}"), &body).await
    }

    /// Sends `on`, and says what came of it.
    pub(crate) async fn switch_on(&self) -> Result<iothub_service::Sent> {
        self.service
            .send(&self.lamp, CloudToDeviceMessage::new("on"), None)
            .await
    }

    /// Sends `on` until it is stored. A message may meet a fault on its way, and then fails as one that perhaps was
    /// stored: returns how many did.
    pub(crate) async fn switch_on_in_the_end(&self) -> usize {
        let mut perhaps = 0;
        while let Err(error) = self.switch_on().await {
            assert!(maybe_applied(&error), "{error}");
            perhaps += 1;
        }
        perhaps
    }

    /// Sends a message of which the hub shall tell everything.
    pub(crate) async fn send_traced(&self, id: &str) -> Result<()> {
        let message = CloudToDeviceMessage {
            message_id: Some(id.to_owned()),
            ack: Ack::Full,
            ..CloudToDeviceMessage::new("on")
        };
        self.service.send(&self.lamp, message, None).await.map(drop)
    }

    /// The same, and has the lamp take it and the hub tell of it.
    pub(crate) async fn send_and_take(&self, id: &str) -> Result<()> {
        self.send_traced(id).await?;
        self.device().recv().await.complete()?;
        self.close_batch();
        Ok(())
    }

    /// Lets the time pass for which the hub waits for more feedback.
    pub(crate) fn close_batch(&self) {
        self.emulator.clock().advance(Duration::from_secs(15));
    }

    /// How many messages the hub has put into queues.
    pub(crate) fn queued(&self) -> usize {
        self.emulator
            .journal()
            .count(|event| matches!(event, Event::Queued { .. }))
    }

    /// How often something happened on AMQP connections.
    pub(crate) fn happened(&self, is_it: impl Fn(&AmqpEvent) -> bool) -> usize {
        self.emulator
            .journal()
            .count(|event| matches!(event, Event::Amqp { event, .. } if is_it(event)))
    }

    /// How many connections were opened, and how often a link for messages to devices was attached.
    pub(crate) fn opened_and_attached(&self) -> (usize, usize) {
        let opened = self.happened(|event| matches!(event, AmqpEvent::Opened { .. }));
        let attached =
            self.happened(|event| matches!(event, AmqpEvent::Attached { address } if address.contains("devicebound")));
        (opened, attached)
    }
}

pub(crate) fn transport(emulator: &Emulator, carrier: Carrier) -> Fe2o3Transport {
    let options = AmqpOptions {
        carrier,
        extra_roots: vec![emulator.root_certificate().to_owned().into()],
        ..AmqpOptions::default()
    };
    Fe2o3Transport::new(options).unwrap()
}

pub(crate) fn credential(emulator: &Emulator, policy: &str) -> Credential {
    let text = emulator.connection_string(policy).unwrap();
    let ConnectionString { credential, .. } = text.parse().unwrap();
    credential
}

pub(crate) fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

pub(crate) fn maybe_applied(error: &Error) -> bool {
    CallFacts::of(error)
        .expect("every error of a call has facts")
        .maybe_applied
}

/// A client that trusts the authority of the emulator.
pub(crate) fn client(emulator: &Emulator, credential: impl Into<Credential>, amqp: Fe2o3Transport) -> ServiceClient {
    client_by(emulator.host().clone(), credential, amqp, http(emulator, Proxy::Direct))
}

pub(crate) fn client_by(
    host: HubHost,
    credential: impl Into<Credential>,
    amqp: Fe2o3Transport,
    http: HyperTransport,
) -> ServiceClient {
    let options = ServiceClientOptions {
        amqp_transport: Some(Arc::new(amqp)),
        client_options: over(http),
        ..ServiceClientOptions::default()
    };
    ServiceClient::new(host, credential, Some(options)).unwrap()
}

/// What is awaited comes, or the test fails: a story has no other deadline.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(60), future).await;
    result.unwrap_or_else(|_| panic!("{what}: not within a minute"))
}

pub(crate) fn http(emulator: &Emulator, proxy: Proxy) -> HyperTransport {
    let options = HyperOptions {
        extra_roots: vec![emulator.root_certificate().to_owned().into()],
        proxy,
        ..HyperOptions::default()
    };
    HyperTransport::new(options).unwrap()
}

pub(crate) fn over(http: HyperTransport) -> ClientOptions {
    ClientOptions {
        transport: Some(http.into()),
        ..ClientOptions::default()
    }
}

/// The registry is another crate's; here it is only needed to have somebody to talk to.
async fn create(emulator: &Emulator, path: &str, body: &str) -> Result<()> {
    let product = Product {
        name: "iothub-service-tests",
        version: "0",
    };
    let authorization = credential(emulator, "iothubowner").policy(emulator.host());
    let hub = HubPipeline::new(
        product,
        emulator.host().clone(),
        authorization,
        over(http(emulator, Proxy::Direct)),
    )?;
    let segments: Vec<&str> = path.split('/').collect();
    let request = hub
        .request(Method::Put, &segments)?
        .body(body.to_owned(), "application/json");
    hub.send(&Context::new(), request).await?;
    Ok(())
}
