//! Which links are meant when a device asks for one to break.

use super::{
    link::{End, Link},
    node::Access,
};
use crate::hub::{Target, injected_faults::InjectedLink};

/// Whether a link is one of this device's or module's own.
pub(super) fn is_of(link: &Link, device: &Target) -> bool {
    matches!(&link.access, Access::Device(target) if target == device)
}

pub(super) fn is_meant(link: &Link, device: &Target, which: InjectedLink) -> bool {
    let device_sends = matches!(link.end, End::Target(_));
    let address = link.address.trim_end_matches('/').to_ascii_lowercase();
    let (end, sends) = match which {
        InjectedLink::CbsRequests => return device_sends && address.ends_with("$cbs"),
        InjectedLink::CbsResponses => return !device_sends && address.ends_with("$cbs"),
        InjectedLink::Telemetry => ("/messages/events", true),
        InjectedLink::Messages => ("/messages/devicebound", false),
        InjectedLink::TwinRequests => ("/twin", true),
        InjectedLink::TwinResponses => ("/twin", false),
        InjectedLink::MethodRequests => ("/methods/devicebound", false),
        InjectedLink::MethodResponses => ("/methods/devicebound", true),
    };
    is_of(link, device) && device_sends == sends && address.ends_with(end)
}
