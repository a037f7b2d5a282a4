//! What a device may do without a connection of its own: the calls of HTTPS devices.

use std::sync::Arc;

use iothub_core::{DeviceId, HubErrorCode};
use time::Duration;
use tokio::sync::Notify;

use super::{
    D2cMessage, DataAction, Failure, Grant, Hub, Outcome, Target, queue::LockedMessage, registry::Registry, sku::Meter,
    uploads::BegunUpload,
};

/// A device that has shown who it is, for the time of one call.
pub(crate) struct Caller<'a> {
    hub: &'a Hub,
    device: DeviceId,
    target: Target,
}

impl Hub {
    /// Lets a device in for one call.
    ///
    /// # Errors
    ///
    /// The grant is not one of a device, or the device does not exist or is disabled.
    pub(crate) fn admit(&self, grant: &Grant, device: DeviceId) -> Result<Caller<'_>, Failure> {
        grant.require(DataAction::Connect)?;
        let target = Target::Device(device.clone());
        self.registry().must_be_enabled(&target)?;
        self.touch(&target);
        Ok(Caller {
            hub: self,
            device,
            target,
        })
    }
}

impl Caller<'_> {
    /// Remembers the connection of a device that has none of its own, in case that it asks for that to break.
    pub(crate) fn calls_over(&self, breaker: &Arc<Notify>) {
        self.hub.remember_caller(&self.target, breaker);
    }

    /// Takes messages for the services, all of them or none.
    pub(crate) fn send_all(&self, messages: Vec<D2cMessage>) -> Result<(), Failure> {
        self.hub.receive_batch(&self.target, messages)
    }

    pub(crate) fn take_message(&self, lock: Duration) -> Result<Option<LockedMessage>, Failure> {
        self.hub.spend(Meter::CloudToDeviceReceives, 1)?;
        self.hub.take_message(&self.target, lock)
    }

    /// `token` is what the message was handed over with.
    pub(crate) fn settle_message(&self, token: &str, outcome: Outcome) -> Result<(), Failure> {
        let token = token.parse().map_err(|_| {
            let text = format!("{token:?} is not the lock token of a message");
            Failure::new(HubErrorCode::DeviceMessageLockLost, text)
        })?;
        self.hub.settle_message(&self.target, token, outcome)
    }

    pub(crate) fn begin_upload(&self, name: &str) -> Result<BegunUpload, Failure> {
        self.hub.begin_upload(&self.device, name)
    }

    pub(crate) async fn end_upload(&self, correlation_id: &str, went_well: bool) -> Result<(), Failure> {
        self.hub.end_upload(&self.device, correlation_id, went_well).await
    }
}

impl Registry {
    /// Refuses what a device does that does not exist or is disabled, or a module on one.
    pub(super) fn must_be_enabled(&self, target: &Target) -> Result<(), Failure> {
        self.identity(target)?;
        if self.device(target.device())?.status.disabled {
            let text = format!("device {} is disabled", target.device());
            return Err(Failure::new(HubErrorCode::DeviceDisabled, text));
        }
        Ok(())
    }
}
