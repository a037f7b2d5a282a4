/// What a query asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `devices`: the twins of devices.
    Devices,
    /// `devices.modules`: the twins of modules.
    Modules,
    /// `devices.jobs`: what scheduled jobs have done with single devices.
    Jobs,
}

impl Source {
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Devices => &["devices"],
            Self::Modules => &["devices", "modules"],
            Self::Jobs => &["devices", "jobs"],
        }
    }
}
