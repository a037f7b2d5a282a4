use serde_json::json;

use super::{DataAction, Failure, Grant, Hub, identities::to_json};

impl Hub {
    /// How many devices there are, and how many may connect.
    pub(crate) fn device_statistics(&self, grant: &Grant) -> Result<Vec<u8>, Failure> {
        grant.require(DataAction::ReadDeviceStatistics)?;
        let registry = self.registry();
        let total = registry.devices.len();
        let disabled = registry
            .devices
            .values()
            .filter(|device| device.status.disabled)
            .count();
        to_json(&json!({
            "totalDeviceCount": total,
            "enabledDeviceCount": total - disabled,
            "disabledDeviceCount": disabled,
        }))
    }

    /// How many devices are connected.
    pub(crate) fn service_statistics(&self, grant: &Grant) -> Result<Vec<u8>, Failure> {
        grant.require(DataAction::ReadServiceStatistics)?;
        let registry = self.registry();
        let connected = registry
            .devices
            .values()
            .filter(|device| device.identity.connection.connected);
        to_json(&json!({ "connectedDeviceCount": connected.count() }))
    }
}
