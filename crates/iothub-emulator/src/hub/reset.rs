use super::{Failure, Grant, Hub, if_match::IfMatch};

impl Hub {
    /// Makes the hub as it was at its start: without devices, apart from those that the options ask for, configurations,
    /// messages, telemetry, waiting jobs and faults. Keys, clock and journal stay.
    pub(crate) fn reset(&self) -> Result<(), Failure> {
        self.faults().clear();
        self.cancel_waiting_jobs();
        let grant = Grant::unlimited();
        for id in self.configuration_ids() {
            // One may be gone by now, because others use the hub at the same time.
            let _ = self.delete_configuration(&grant, &id, IfMatch::Any);
        }
        let devices: Vec<_> = self.registry().devices.keys().cloned().collect();
        for id in devices {
            let _ = self.delete_device(&grant, &id, &IfMatch::Any);
        }
        self.telemetry().clear();
        self.feedback().clear();
        self.uploads().clear();
        self.provision()
    }
}
