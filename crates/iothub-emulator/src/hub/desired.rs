use std::{
    fmt,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use super::{
    Failure, Hub, Target,
    twin::{Section, Write},
    twin_request::SectionChange,
};

/// A change of desired properties, as devices hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DesiredChange {
    /// The version that the desired properties have now.
    pub version: u64,
    /// A JSON object with what is new, in which null deletes; `$version` is in it too.
    ///
    /// After the properties were replaced as a whole, it holds all of them.
    pub patch: String,
}

/// The changes of desired properties from the time on that this was made. Dropping it ends the watch.
pub struct DesiredChanges {
    receiver: mpsc::Receiver<DesiredChange>,
}

impl DesiredChange {
    /// `section` is what the desired properties are after `change`.
    pub(super) fn of(section: &Section, change: &SectionChange, write: Write) -> Self {
        match change {
            SectionChange::Members(members) if write == Write::Merge => Self {
                version: section.version,
                patch: with_version(&members.text(), section.version),
            },
            _ => Self::whole(section),
        }
    }

    fn whole(section: &Section) -> Self {
        Self {
            version: section.version,
            patch: with_version(&section.text, section.version),
        }
    }
}

impl DesiredChanges {
    pub(super) fn new(receiver: mpsc::Receiver<DesiredChange>) -> Self {
        Self { receiver }
    }

    /// Waits for the next change. `None` if the device has gone offline, and there are no more.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<DesiredChange> {
        self.receiver.recv().await
    }

    /// Whether no more changes come but those that wait.
    pub(crate) fn has_ended(&self) -> bool {
        self.receiver.is_closed()
    }

    pub(crate) fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<DesiredChange>> {
        self.receiver.poll_recv(context)
    }
}

impl fmt::Debug for DesiredChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DesiredChanges").finish_non_exhaustive()
    }
}

impl Hub {
    /// Tells a device what its desired properties are, after something other than a service changed them.
    pub(super) fn tell_desired_as_it_is(&self, target: &Target) {
        let registry = self.registry();
        if let Ok(identity) = registry.identity(target) {
            self.tell_desired(target, || DesiredChange::whole(&identity.twin.desired));
        }
    }

    /// The twin as a device sees it.
    pub(crate) fn device_twin(&self, target: &Target) -> Result<String, Failure> {
        let registry = self.registry();
        let twin = &registry.identity(target)?.twin;
        let section = |section: &Section| with_version(&section.text, section.version);
        let (desired, reported) = (section(&twin.desired), section(&twin.reported));
        Ok(format!("{{\"desired\":{desired},\"reported\":{reported}}}"))
    }
}

fn with_version(members: &str, version: u64) -> String {
    let open = members.strip_suffix('}').unwrap_or(members);
    let comma = if open.len() > 1 { "," } else { "" };
    format!("{open}{comma}\"$version\":{version}}}")
}
