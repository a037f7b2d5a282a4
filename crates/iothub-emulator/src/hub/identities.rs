use iothub_core::DeviceId;

use super::{
    Event, Failure, Hub,
    authentication::Authentication,
    journal::Operation,
    registry::{Device, Identity, Status},
};

impl Hub {
    /// Makes a device with generated keys, unless it exists.
    pub(crate) fn add_device(&self, id: &DeviceId) -> Result<(), Failure> {
        let now = self.clock().now();
        let keys = Authentication::generated()?;
        {
            let mut registry = self.registry_mut();
            if registry.devices.contains_key(id.as_str()) {
                return Ok(());
            }
            let identity = Identity::new(registry.next_generation(now), registry.next_etag(), keys);
            let device = Device {
                identity,
                status: Status::default(),
                edge: false,
                scope: None,
                parents: Box::default(),
                modules: Default::default(),
            };
            registry.devices.insert(id.as_str().into(), device);
        }
        self.journal().record(Event::Executed {
            operation: Operation::Create,
            on: id.to_string(),
        });
        Ok(())
    }
}
