use std::fmt;

use time::OffsetDateTime;

use super::{Failure, Target};

/// What somebody may do until when, however they proved who they are.
///
/// One check serves shared access policies, device keys and Entra roles: each is a set of [`DataAction`]s.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grant {
    principal: Principal,
    rights: Rights,
    /// What the token was signed for below the host: empty for the whole hub, else `devices/lamp`.
    resource: String,
    expires: OffsetDateTime,
}

/// Who a grant belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// A shared access policy, by name.
    Policy(String),
    /// A device or module with its own key.
    Device(Target),
    /// A service principal of Microsoft Entra ID, by object id.
    App(String),
}

impl Grant {
    pub(crate) fn new(principal: Principal, rights: Rights, resource: String, expires: OffsetDateTime) -> Self {
        Self {
            principal,
            rights,
            resource,
            expires,
        }
    }

    /// What this process itself may do.
    pub(crate) fn unlimited() -> Self {
        let principal = Principal::App(EMULATOR.to_owned());
        let forever = time::macros::datetime!(9999-12-31 00:00 UTC);
        Self::new(principal, Rights::of(DataAction::ALL), String::new(), forever)
    }

    /// Whether it is the one of this process.
    pub(crate) fn is_unlimited(&self) -> bool {
        matches!(&self.principal, Principal::App(id) if id == EMULATOR)
    }

    /// Whether this is a shared access signature and not a token of Entra.
    pub(crate) fn is_sas(&self) -> bool {
        !matches!(self.principal, Principal::App(_))
    }

    /// Whether nothing but time ends it. Keys of policies and names of the hub stay as they are; those of devices do not.
    pub(crate) fn only_expires(&self) -> bool {
        matches!(self.principal, Principal::Policy(_)) && self.covers_all()
    }

    /// Whether it is for the whole hub.
    pub(crate) fn covers_all(&self) -> bool {
        self.resource.is_empty()
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }

    /// From this moment on the grant is worth nothing; a connection that lives on it ends.
    pub(crate) fn expires(&self) -> OffsetDateTime {
        self.expires
    }

    /// Whether `newer` is a newer grant of the same principal for the same resource.
    pub(crate) fn is_renewed_by(&self, newer: &Self) -> bool {
        self.principal == newer.principal && self.resource.eq_ignore_ascii_case(&newer.resource)
    }

    /// Whether the action is among the rights, wherever in the hub it happens.
    pub(crate) fn may(&self, action: DataAction) -> bool {
        self.rights.contains(action)
    }

    /// Refuses unless the action is among the rights and the grant [covers](Self::covers) `resource`.
    pub(crate) fn check(&self, action: DataAction, resource: &str) -> Result<(), Failure> {
        self.require(action)?;
        self.covers(resource)
    }

    /// Refuses unless the action is among the rights.
    pub(crate) fn require(&self, action: DataAction) -> Result<(), Failure> {
        if self.may(action) {
            return Ok(());
        }
        let text = format!("{} is not authorized for {action}", self.principal);
        Err(Failure::unauthorized(text))
    }

    /// Refuses unless the holder may be this device or module: by its own key, or by a policy.
    pub(crate) fn check_identity(&self, target: &Target) -> Result<(), Failure> {
        self.check(DataAction::Connect, &target.resource())?;
        match &self.principal {
            Principal::Device(own) if own != target => {
                let text = format!("{} cannot be {target}", self.principal);
                Err(Failure::unauthorized(text))
            }
            _ => Ok(()),
        }
    }

    /// Refuses unless `resource` lies within what the token was signed for.
    ///
    /// `resource` is a path below the host without a slash in front, such as `devices/lamp`, `messages/devicebound` or
    /// `twins/lamp`, compared by whole segments and without case.
    pub(crate) fn covers(&self, resource: &str) -> Result<(), Failure> {
        if within(resource, &self.resource) {
            return Ok(());
        }
        let text = format!("the token of {} is for another resource", self.principal);
        Err(Failure::unauthorized(text))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::Device(target) => write!(f, "device {target}"),
            Self::App(id) => write!(f, "principal {id}"),
        }
    }
}

/// Whether a path is `scope` or lies below it.
pub(super) fn within(resource: &str, scope: &str) -> bool {
    let Some(head) = resource.as_bytes().get(..scope.len()) else {
        return false;
    };
    let rest = &resource[scope.len().min(resource.len())..];
    head.eq_ignore_ascii_case(scope.as_bytes()) && (scope.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

macro_rules! data_actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One thing that a role or a shared access policy allows, in Entra's words.
        ///
        /// The display form is the data action below `Microsoft.Devices/IotHubs/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum DataAction { $($(#[$doc])* $variant,)* }

        impl DataAction {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// The action's name below `Microsoft.Devices/IotHubs/`.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

data_actions! {
    ReadDevices = "devices/read",
    WriteDevices = "devices/write",
    DeleteDevices = "devices/delete",
    /// Also queries and digital twins.
    ReadTwins = "twins/read",
    WriteTwins = "twins/write",
    ReadConfigurations = "configurations/read",
    WriteConfigurations = "configurations/write",
    DeleteConfigurations = "configurations/delete",
    TestConfigurationQueries = "configurations/testQueries/action",
    ApplyConfiguration = "configurations/applyToEdgeDevice/action",
    InvokeMethods = "directMethods/invoke/action",
    ReadJobs = "jobs/read",
    WriteJobs = "jobs/write",
    DeleteJobs = "jobs/delete",
    /// Import and export jobs: the same data action for Entra, another permission for shared access policies.
    ReadTransfers = "jobs/read",
    WriteTransfers = "jobs/write",
    DeleteTransfers = "jobs/delete",
    SendMessages = "cloudToDeviceMessages/send/action",
    ReceiveFeedback = "cloudToDeviceMessages/feedback/action",
    PurgeMessages = "cloudToDeviceMessages/queue/purge/action",
    ReceiveFileNotifications = "fileUpload/notifications/action",
    ReadTelemetry = "messages/read",
    ReadDeviceStatistics = "statistics/read",
    ReadServiceStatistics = "statistics/read",
    /// What a device itself does. No role of Entra carries it.
    Connect = "deviceConnect",
}

impl fmt::Display for DataAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Microsoft.Devices/IotHubs/{}", self.name())
    }
}

/// A set of data actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights(u32);

impl Rights {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(actions: &[DataAction]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < actions.len() {
            bits |= 1 << actions[i] as u32;
            i += 1;
        }
        Self(bits)
    }

    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn contains(self, action: DataAction) -> bool {
        self.0 & (1 << action as u32) != 0
    }
}

/// What stands for this process where others have an object id.
const EMULATOR: &str = "emulator";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_whole_segments_only() {
        for (resource, scope, covered) in [
            ("devices/lamp", "", true),
            ("devices/lamp", "devices", true),
            ("devices/lamp", "devices/lamp", true),
            ("devices/lamp/messages/events", "devices/LAMP", true),
            ("devices/lamp2", "devices/lamp", false),
            ("devices", "devices/lamp", false),
            ("twins/lamp", "devices", false),
        ] {
            assert_eq!(within(resource, scope), covered, "{resource} in {scope}");
        }
    }

    #[test]
    fn every_action_has_its_own_bit() {
        for action in DataAction::ALL {
            let rights = Rights::of(&[*action]);
            let held = DataAction::ALL.iter().filter(|other| rights.contains(**other)).count();
            assert_eq!(held, 1, "{action:?}");
        }
    }
}
