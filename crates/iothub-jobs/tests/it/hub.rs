use std::time::Duration;

use azure_core::{http::ClientOptions, time::OffsetDateTime};
use iothub_core::{
    CallLimits, Error, HubError, HubErrorCode, Result,
    models::{Device, ScheduledJob, TwinPatch},
};
use iothub_emulator::{Emulator, EmulatorOptions, Event, Operation};
use iothub_jobs::{JobClient, JobClientOptions, JobCondition, ScheduleMethodOptions, ScheduleTwinUpdateOptions};
use iothub_registry::{RegistryClient, RegistryClientOptions};
use iothub_transport_http::{HyperOptions, HyperTransport, Proxy};

/// A local hub, and its clients.
pub(crate) struct Hub {
    pub(crate) emulator: Emulator,
    pub(crate) jobs: JobClient,
    pub(crate) registry: RegistryClient,
}

impl Hub {
    pub(crate) async fn with_devices<const N: usize>(ids: [&str; N]) -> Self {
        let emulator = Emulator::start(EmulatorOptions::default()).await.unwrap();
        let text = emulator.connection_string("iothubowner").unwrap();
        let options = RegistryClientOptions {
            client_options: client_options(&emulator, Proxy::Direct),
            ..RegistryClientOptions::default()
        };
        let registry = RegistryClient::from_connection_string(&text, Some(options)).unwrap();
        for id in ids {
            registry
                .create_device(&Device::new(id.parse().unwrap()), None)
                .await
                .unwrap();
        }
        let jobs = client(&emulator, "service", options_of(&emulator, Proxy::Direct));
        Self {
            emulator,
            jobs,
            registry,
        }
    }

    /// A client that shows the key of another policy.
    pub(crate) fn jobs_of(&self, policy: &str) -> JobClient {
        client(&self.emulator, policy, options_of(&self.emulator, Proxy::Direct))
    }

    /// A client that tries once.
    pub(crate) fn impatient_jobs(&self) -> JobClient {
        let limits = CallLimits {
            tries: Some(1),
            ..CallLimits::default()
        };
        let options = JobClientOptions {
            limits,
            ..options_of(&self.emulator, Proxy::Direct)
        };
        client(&self.emulator, "service", options)
    }

    pub(crate) async fn tag(&self, id: &str, name: &str, value: &str) -> Result<()> {
        let patch = TwinPatch::new().set_tag(name, value);
        self.registry.update_twin(&id.parse()?, &patch, None).await?;
        Ok(())
    }

    /// The desired interval of a device.
    pub(crate) async fn interval(&self, id: &str) -> Result<Option<u32>> {
        let twin = self.registry.get_twin(&id.parse()?, None).await?.into_model()?;
        twin.desired().get("interval")
    }

    /// Schedules the desired interval of 60 under an id.
    pub(crate) async fn schedule_interval(
        &self,
        id: &str,
        condition: &str,
        start: Option<OffsetDateTime>,
    ) -> Result<ScheduledJob> {
        let options = ScheduleTwinUpdateOptions {
            job_id: Some(id.to_owned()),
            start_time: start,
            ..ScheduleTwinUpdateOptions::default()
        };
        let condition: JobCondition = condition.parse()?;
        let patch = TwinPatch::new().set_desired("interval", 60);
        let job = self
            .jobs
            .schedule_twin_update(&condition, &patch, Some(options))
            .await?;
        job.into_model()
    }

    /// By the hub's clock. Whoever turns it by more than an hour also ends the signatures of clients.
    pub(crate) fn in_ten_minutes(&self) -> Option<OffsetDateTime> {
        Some(self.emulator.clock().now() + MINUTE * 10)
    }

    /// What the hub has really done to a device or job.
    pub(crate) fn executed(&self, wanted: Operation, id: &str) -> usize {
        let is_it =
            |event: &Event| matches!(event, Event::Executed { operation, on } if *operation == wanted && on == id);
        self.emulator.journal().count(is_it)
    }
}

/// Options with a transport that trusts this emulator.
pub(crate) fn options_of(emulator: &Emulator, proxy: Proxy) -> JobClientOptions {
    JobClientOptions {
        client_options: client_options(emulator, proxy),
        ..JobClientOptions::default()
    }
}

pub(crate) fn client(emulator: &Emulator, policy: &str, options: JobClientOptions) -> JobClient {
    let text = emulator.connection_string(policy).unwrap();
    JobClient::from_connection_string(&text, Some(options)).unwrap()
}

pub(crate) fn method_named(id: &str, start: Option<OffsetDateTime>) -> Option<ScheduleMethodOptions<'static>> {
    Some(ScheduleMethodOptions {
        job_id: Some(id.to_owned()),
        start_time: start,
        ..ScheduleMethodOptions::default()
    })
}

pub(crate) fn code(error: &Error) -> Option<&HubErrorCode> {
    HubError::of(error).map(|hub| &hub.code)
}

fn client_options(emulator: &Emulator, proxy: Proxy) -> ClientOptions {
    let transport = HyperTransport::new(HyperOptions {
        extra_roots: vec![emulator.root_certificate().to_owned().into()],
        proxy,
        ..HyperOptions::default()
    });
    ClientOptions {
        transport: Some(transport.unwrap().into()),
        ..ClientOptions::default()
    }
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
