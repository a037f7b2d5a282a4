use std::borrow::Cow;

use crate::hub::sas::percent_decode;

/// The path of an address, in segments.
///
/// Clients write the same address as a path or as a whole URI, percent-encoded or not, and in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address<'a>(Vec<Cow<'a, str>>);

impl<'a> Address<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let path = match text.find("://") {
            Some(end) => text[end + 3..].find('/').map_or("", |path| &text[end + 3 + path..]),
            None => text,
        };
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        // What is not UTF-8 behind its percent signs stays as it was written, and is no id of anything then.
        Self(
            segments
                .map(|segment| percent_decode(segment).unwrap_or(segment.into()))
                .collect(),
        )
    }

    pub(crate) fn segments(&self) -> Vec<&str> {
        self.0.iter().map(|segment| &**segment).collect()
    }

    /// What the address has after this path.
    pub(crate) fn below(&self, path: &str) -> Option<Self> {
        let mut rest = self.0.iter();
        let begins = path
            .split('/')
            .all(|part| rest.next().is_some_and(|segment| segment.eq_ignore_ascii_case(part)));
        begins.then(|| Self(rest.cloned().collect()))
    }

    /// The ids in `/devices/{id}[/modules/{id}]/…`, of a device or of a module on it, and the address below.
    pub(crate) fn below_device(&self) -> Option<(&str, Option<&str>, Self)> {
        let is = |text: &str, expected| text.eq_ignore_ascii_case(expected);
        match &self.0[..] {
            [devices, device, modules, module, rest @ ..] if is(devices, "devices") && is(modules, "modules") => {
                Some((device, Some(module), Self(rest.to_vec())))
            }
            [devices, device, rest @ ..] if is(devices, "devices") => Some((device, None, Self(rest.to_vec()))),
            _ => None,
        }
    }

    /// Whether the address is this path, whatever the case.
    pub(crate) fn is(&self, path: &str) -> bool {
        self.below(path).is_some_and(|rest| rest.0.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_the_same() {
        for text in [
            "/messages/devicebound",
            "messages/deviceBound/",
            "amqps://hub.example:5671/messages/deviceBound",
            "AMQPS://hub.example/Messages/DeviceBound",
            "/messages/device%42ound",
        ] {
            assert!(Address::parse(text).is("messages/devicebound"), "{text}");
        }
        for text in [
            "",
            "amqps://hub.example",
            "/messages",
            "/messages/devicebound/x",
            "/messages/devicebound2",
        ] {
            assert!(!Address::parse(text).is("messages/devicebound"), "{text}");
        }
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        for (text, segments) in [
            ("/devices/a%2Fb/twin", &["devices", "a/b", "twin"][..]),
            ("/devices/100%/x", &["devices", "100%", "x"]),
            ("/devices/%zz%4", &["devices", "%zz%4"]),
            ("/devices/%ff", &["devices", "%ff"]),
            ("/devices/lamp%231", &["devices", "lamp#1"]),
        ] {
            assert_eq!(Address::parse(text).0, segments, "{text}");
        }
    }

    #[test]
    fn devices_and_modules_have_addresses_below_them() {
        for (text, device, module, rest) in [
            ("/devices/lamp/messages/events", "lamp", None, "messages/events"),
            ("amqps://h:5671/Devices/a%2Fb/twin", "a/b", None, "twin"),
            ("/devices/lamp/modules/m/twin/", "lamp", Some("m"), "twin"),
        ] {
            let address = Address::parse(text);
            let (found_device, found_module, below) = address.below_device().unwrap();
            assert_eq!((found_device, found_module), (device, module), "{text}");
            assert!(below.is(rest), "{text}");
        }
        for text in ["", "/devices", "/messages/devicebound", "/twins/lamp/twin"] {
            assert!(Address::parse(text).below_device().is_none(), "{text}");
        }
    }
}
