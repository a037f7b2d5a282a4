use std::fmt;

use iothub_core::{DeviceId, ModuleId};
use url::form_urlencoded::byte_serialize;

/// Whom a message is for.
///
/// # Examples
///
/// ```
/// use iothub_core::{DeviceId, ModuleId};
/// use iothub_service::Target;
///
/// let gateway: DeviceId = "gateway".parse()?;
/// let whole: Target = gateway.clone().into();
/// let part: Target = ModuleId::new(gateway, "filter")?.into();
/// assert_eq!((whole.to_string(), part.to_string()), ("gateway".to_owned(), "gateway/filter".to_owned()));
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// A device.
    Device(DeviceId),
    /// A module on a device.
    Module(ModuleId),
}

impl Target {
    /// The device, or that on which the module is.
    pub(crate) fn device_id(&self) -> &DeviceId {
        match self {
            Self::Device(device) => device,
            Self::Module(id) => id.device(),
        }
    }

    /// The value of `properties.to`.
    pub(crate) fn address(&self) -> String {
        // Written in one go, since each message has one.
        let mut address = String::with_capacity(ADDRESS);
        address.push_str("/devices/");
        address.extend(escaped(self.device_id().as_str()));
        if let Self::Module(id) = self {
            address.push_str("/modules/");
            address.extend(escaped(id.module()));
        }
        address.push_str("/messages/devicebound");
        address
    }
}

impl From<DeviceId> for Target {
    fn from(device: DeviceId) -> Self {
        Self::Device(device)
    }
}

impl From<ModuleId> for Target {
    fn from(module: ModuleId) -> Self {
        Self::Module(module)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => device.fmt(f),
            Self::Module(module) => module.fmt(f),
        }
    }
}

/// One segment of a path. An id has no space, the one character that forms escape in another way.
fn escaped(id: &str) -> impl Iterator<Item = &str> {
    byte_serialize(id.as_bytes())
}

/// What most addresses fit into, in bytes.
const ADDRESS: usize = 96;

#[cfg(test)]
mod tests {
    use iothub_core::Result;

    use super::*;

    #[test]
    fn ids_are_escaped_in_the_address() -> Result<()> {
        // The segments are what `urllib.parse.quote(id, safe='')` of Python gives, but for `*`, which it escapes.
        for (id, segment) in [
            ("lamp", "lamp"),
            ("a%2Fb", "a%252Fb"),
            ("a?b=c@d", "a%3Fb%3Dc%40d"),
            ("-.%_*?!(),:=@$'", "-.%25_*%3F%21%28%29%2C%3A%3D%40%24%27"),
        ] {
            let device: DeviceId = id.parse()?;
            let module = ModuleId::new("d$".parse()?, id)?;
            assert_eq!(
                Target::from(device).address(),
                format!("/devices/{segment}/messages/devicebound")
            );
            assert_eq!(
                Target::from(module).address(),
                format!("/devices/d%24/modules/{segment}/messages/devicebound")
            );
        }
        Ok(())
    }
}
