use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use futures::TryStreamExt;
use iothub_core::{Result, models::Device};
use iothub_registry::models::{Authentication, ExportDevices, SymmetricKey};
use tracing::{Event, Metadata, Subscriber, field, span, subscriber};

use crate::hub::Hub;

#[tokio::test]
async fn nothing_that_is_logged_on_any_level_is_secret() -> Result<()> {
    let log = Log::default();
    // For all threads: with a subscriber of one thread, tracing asks whichever thread logs first at a place whether
    // anybody listens there, and remembers the answer.
    subscriber::set_global_default(log.clone()).expect("no other test sets one");

    let hub = Hub::empty().await;
    let device_key = "ZGV2aWNlLWtleS10aGF0LW5vYm9keS1tYXktc2VlISE=";
    let authentication = Authentication::from(SymmetricKey::new(device_key, device_key));
    let lamp = Device::new("lamp".parse()?).with_authentication(authentication);
    hub.registry.create_device(&lamp, None).await?;
    hub.emulator.faults().lose_next_requests(1);
    hub.registry.get_device(&lamp.device_id, None).await?;
    hub.registry.create_device(&lamp, None).await.unwrap_err();
    let container = hub.emulator.blob_container("backup")?;
    let export = ExportDevices::new(container.sas_uri());
    let job = hub.registry.begin_export_devices(&export, None).await?.into_model()?;
    hub.registry.wait_for_job(&job.job_id, None)?.await?;
    hub.registry
        .query_twins("SELECT * FROM devices", None)?
        .try_next()
        .await?;

    let log = log.text();
    let connection_string = hub
        .emulator
        .connection_string("iothubowner")
        .expect("the policy exists");
    let (_, policy_key) = connection_string
        .split_once("SharedAccessKey=")
        .expect("it holds a key");
    assert!(log.contains("/devices/lamp"), "the log shows what was done");
    assert!(log.contains("trying again"), "and what went wrong");
    for secret in [
        policy_key,
        device_key,
        "sig=",
        "sig%3D",
        &device_key.replace('=', "%3D"),
    ] {
        assert!(!log.contains(secret), "{secret} was logged");
    }
    Ok(())
}

/// Everything that is logged, whatever its level and whichever test it is from.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

impl field::Visit for Log {
    fn record_debug(&mut self, field: &field::Field, value: &dyn Debug) {
        *self.0.lock().unwrap() += &format!("{field}={value:?} ");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
