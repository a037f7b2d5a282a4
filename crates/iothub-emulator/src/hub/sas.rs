use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use time::{Duration, OffsetDateTime};

use super::{Failure, Grant, Hub, Principal, Target, authentication::Key, grant::within, policy::DEVICE_CONNECT};

/// A parsed `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`, not yet verified.
pub(crate) struct SasToken<'a> {
    /// As it stands in the token: the signature covers this text, whichever way the client encoded it.
    resource: &'a str,
    signature: Vec<u8>,
    expiry: &'a str,
    policy: Option<Cow<'a, str>>,
}

impl<'a> SasToken<'a> {
    pub(crate) const SCHEME: &'static str = "SharedAccessSignature";

    pub(crate) fn parse(text: &'a str) -> Result<Self, Failure> {
        let (scheme, fields) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case(Self::SCHEME) {
            return Err(Failure::unauthorized(
                "a shared access signature begins with its scheme",
            ));
        }
        let [mut resource, mut signature, mut expiry, mut policy] = [None; 4];
        for field in fields.split('&') {
            let Some((key, value)) = field.split_once('=') else {
                return Err(Failure::unauthorized(
                    "a field of the shared access signature has no value",
                ));
            };
            let slot = match key.to_ascii_lowercase().as_str() {
                "sr" => &mut resource,
                "sig" => &mut signature,
                "se" => &mut expiry,
                "skn" => &mut policy,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(Failure::unauthorized(format!(
                    "{key} stands twice in the shared access signature"
                )));
            }
        }
        let missing = |key| Failure::unauthorized(format!("the shared access signature has no {key}"));
        // Every client encodes the plus signs of base64, so a plain one is a plus sign and never a space.
        let signature = percent_decode(signature.ok_or_else(|| missing("sig"))?);
        Ok(Self {
            resource: resource.ok_or_else(|| missing("sr"))?,
            signature: signature
                .and_then(|text| BASE64_STANDARD.decode(text.as_bytes()).ok())
                .ok_or_else(|| Failure::unauthorized("sig is not base64"))?,
            expiry: expiry.ok_or_else(|| missing("se"))?,
            policy: match policy {
                None | Some("") => None,
                Some(name) => Some(percent_decode(name).ok_or_else(|| Failure::unauthorized("skn is not UTF-8"))?),
            },
        })
    }

    /// Says what the holder may do, if host, time and signature are right.
    pub(crate) fn verify(&self, hub: &Hub) -> Result<Grant, Failure> {
        let path = self.path(hub)?;
        let expires = self.expires()?;
        if expires <= hub.clock().now() {
            return Err(Failure::unauthorized("the shared access signature has expired"));
        }
        if let Some(name) = &self.policy {
            let policy = hub
                .policies()
                .iter()
                .find(|policy| policy.name == **name)
                .ok_or_else(|| Failure::unauthorized(format!("there is no shared access policy {name:?}")))?;
            let keys = [&policy.primary, &policy.secondary];
            if within(&path, &hub.event_hub()) {
                // Clients of Event Hubs sign with the text of a key, and not with what it is the base64 of.
                self.check_signature_by(keys.map(|key| key.to_base64().into_bytes()))?;
            } else {
                self.check_signature(keys)?;
            }
            let principal = Principal::Policy(policy.name.clone());
            return Ok(Grant::new(principal, policy.rights, path, expires));
        }
        let target = target_of(&path)?;
        let keys = hub
            .registry()
            .keys_of(&target)
            .ok_or_else(|| Failure::unauthorized(format!("{target} has no key, or does not exist")))?;
        self.check_signature(keys.each_ref())?;
        Ok(Grant::new(Principal::Device(target), DEVICE_CONNECT, path, expires))
    }

    /// What stands after the host in `sr`, without the slash. Clients of Event Hubs write a scheme before the host.
    fn path(&self, hub: &Hub) -> Result<String, Failure> {
        let resource = percent_decode(self.resource).ok_or_else(|| Failure::unauthorized("sr is not UTF-8"))?;
        let resource = resource.split_once("://").map_or(&*resource, |(_, resource)| resource);
        let (host, path) = resource.split_once('/').unwrap_or((resource, ""));
        if !hub.goes_by(host) {
            let message = format!("sr names the host {host:?}, and this is {}", hub.name());
            return Err(Failure::unauthorized(message));
        }
        Ok(decoded_again(path.trim_end_matches('/'), hub))
    }

    fn expires(&self) -> Result<OffsetDateTime, Failure> {
        let digits = !self.expiry.is_empty() && self.expiry.bytes().all(|b| b.is_ascii_digit());
        // More digits than a time has are a time that never comes.
        let seconds = digits
            .then(|| self.expiry.parse::<i64>().unwrap_or(i64::MAX))
            .ok_or_else(|| Failure::unauthorized("se is not a number of seconds"))?;
        let farthest = time::macros::datetime!(9999-12-31 00:00 UTC);
        Ok(OffsetDateTime::from_unix_timestamp(seconds).map_or(farthest, |time| time.saturating_add(SKEW)))
    }

    fn check_signature(&self, keys: [&Key; 2]) -> Result<(), Failure> {
        self.check_signature_by(keys.map(Key::as_slice))
    }

    fn check_signature_by(&self, keys: [impl AsRef<[u8]>; 2]) -> Result<(), Failure> {
        let signed = format!("{}\n{}", self.resource, self.expiry);
        // Both keys are always tried, and ring compares in constant time.
        let matching = keys.map(|key| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
            hmac::verify(&key, signed.as_bytes(), &self.signature).is_ok()
        });
        if matching.contains(&true) {
            return Ok(());
        }
        Err(Failure::unauthorized("the signature does not match"))
    }
}

/// The device or module whose own key signs for `devices/{id}[/modules/{id}]`, however much path follows.
fn target_of(path: &str) -> Result<Target, Failure> {
    let segments: Vec<&str> = path.split('/').collect();
    let (device, module) = match segments[..] {
        [devices, device, modules, module, ..]
            if devices.eq_ignore_ascii_case("devices") && modules.eq_ignore_ascii_case("modules") =>
        {
            (device, Some(module))
        }
        [devices, device, ..] if devices.eq_ignore_ascii_case("devices") => (device, None),
        _ => return Err(Failure::unauthorized("without skn, sr has to name a device")),
    };
    Target::parse(device, module).map_err(|failure| Failure::unauthorized(failure.message))
}

/// The path as it is, or, if it names nobody, with the ids in it decoded once more: .NET encodes ids, and then all of `sr`.
fn decoded_again(path: &str, hub: &Hub) -> String {
    let names_nobody = |path: &str| target_of(path).is_ok_and(|target| hub.registry().identity(&target).is_err());
    if path.contains('%')
        && names_nobody(path)
        && let Some(decoded) = percent_decode(path)
    {
        return decoded.into_owned();
    }
    path.to_owned()
}

/// `None` if the bytes behind the percent signs are not UTF-8; a percent sign that begins no escape stays.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%')
            .then(|| Some((hex(*bytes.get(at + 1)?)?, hex(*bytes.get(at + 2)?)?)))
            .flatten();
        match escape {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// How far a client's clock may be behind. The real figure is not published; client libraries allow five minutes.
const SKEW: Duration = Duration::minutes(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{
        DataAction, SharedAccessPolicy, authentication::Authentication, identity_request::DeviceRequest,
        if_match::IfMatch, policy::SERVICE_CONNECT,
    };

    /// The tokens below were made in Python and JavaScript with this key.
    const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

    fn hub() -> Hub {
        let policy = |name: &str, rights| SharedAccessPolicy {
            name: name.to_owned(),
            primary: Key::generated().unwrap(),
            secondary: Key::parse(KEY).unwrap(),
            rights,
        };
        let policies = vec![policy("service", SERVICE_CONNECT), policy("device", DEVICE_CONNECT)];
        let hub = Hub::new(vec!["hub.azure-devices.net".to_owned()], policies);
        add(&hub, "d#1", false);
        add(&hub, "off", true);
        hub
    }

    fn add(hub: &Hub, id: &str, disabled: bool) {
        let key = Key::parse(KEY).unwrap();
        let request = DeviceRequest {
            disabled,
            status_reason: None,
            authentication: Authentication::Sas(Box::new([Key::generated().unwrap(), key])),
            edge: false,
            scope: None,
            parents: Vec::new(),
        };
        hub.put_device(&Grant::unlimited(), &id.parse().unwrap(), &IfMatch::Absent, request)
            .unwrap();
    }

    #[test]
    fn tokens_of_every_sdk_hold() {
        let hub = hub();
        for token in [
            // Python
            "SharedAccessSignature sr=Hub.azure-devices.net&sig=ou46OHyDTpzIXR99bmgFIUcONL3%2BE5AR4SmD8BXbYbU%3D&se=4102444800&skn=service",
            // Java, which lowers the host and leaves the slash of a signature alone when it likes
            "SharedAccessSignature sr=hub.azure-devices.net&sig=3y8Aoszxleuc8wq4ucKF4RyJlnaWigRtRBqu3UM5%2FAg%3D&se=4102444800&skn=service",
            "SharedAccessSignature sr=hub.azure-devices.net&sig=3y8Aoszxleuc8wq4ucKF4RyJlnaWigRtRBqu3UM5/Ag%3d&se=4102444800&skn=service",
            // Node, with skn before se
            "SharedAccessSignature sr=Hub.azure-devices.net&sig=ou46OHyDTpzIXR99bmgFIUcONL3%2BE5AR4SmD8BXbYbU%3D&skn=service&se=4102444800",
            "sharedaccesssignature SE=4102444800&SKN=service&SIG=ou46OHyDTpzIXR99bmgFIUcONL3%2BE5AR4SmD8BXbYbU%3D&SR=Hub.azure-devices.net",
        ] {
            let grant = hub.authorize_sas(token).unwrap();
            assert_eq!(*grant.principal(), Principal::Policy("service".into()));
            assert!(grant.check(DataAction::ReadTwins, "twins/lamp").is_ok());
            assert!(grant.check(DataAction::ReadDevices, "devices/lamp").is_err());
        }
    }

    /// Made with `azure-eventhub` 5.15.1 for Python.
    #[test]
    fn clients_of_event_hubs_sign_with_the_text_of_a_key() {
        let hub = hub();
        let partition = "iothub-ehub-hub/ConsumerGroups/$Default/Partitions/0";
        let whole = "SharedAccessSignature sr=sb%3A%2F%2Fhub.azure-devices.net%2Fiothub-ehub-hub&sig=Phy8zF1y5m0e1zX80GGmVXZYfuUQYqpVqZZ5Mbln3FY%3D&se=4102444800&skn=service";
        let narrow = "SharedAccessSignature sr=sb%3A%2F%2Fhub.azure-devices.net%2Fiothub-ehub-hub%2FConsumerGroups%2F%24Default%2FPartitions%2F0&sig=lz5Osc1BP%2ByggUOcYTI5rSp3O0UseuHy7WjQjRG4ytE%3D&se=4102444800&skn=service";
        for (token, covers_all) in [(whole, true), (narrow, false)] {
            let grant = hub.authorize_sas(token).unwrap();
            assert!(grant.check(DataAction::ReadTelemetry, partition).is_ok());
            let management = grant.check(DataAction::ReadTelemetry, "iothub-ehub-hub/$management");
            assert_eq!(management.is_ok(), covers_all);
            assert!(grant.check(DataAction::SendMessages, "messages/devicebound").is_err());
        }
        // Signed the same way for the hub as a whole, which its own clients do not.
        let root = "SharedAccessSignature sr=sb%3A%2F%2Fhub.azure-devices.net&sig=nYuM3zV92TEqq6FyPKUiEH4WJwEmcVr8HW0NZZzLObo%3D&se=4102444800&skn=service";
        assert!(hub.authorize_sas(root).unwrap_err().message.contains("does not match"));
    }

    #[test]
    fn device_tokens_are_for_their_device() {
        let hub = hub();
        for token in [
            "SharedAccessSignature sr=Hub.azure-devices.net%2Fdevices%2Fd%231&sig=pRKlg%2FRVV8z%2BWiWCTxXQsbDLlr3eaFFOd6I6URLoTY0%3D&se=4102444800",
            // The same with hex digits in lower case, which is another text and another signature.
            "SharedAccessSignature sr=Hub.azure-devices.net%2fdevices%2fd%231&sig=TpkSXNbR4ClYhkY%2F%2FM2OduCyawjkofpDON1gIAhvdHk%3D&se=4102444800",
            // .NET, which encodes the id on its own before.
            "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fd%25231&sig=9rJ7KDC9NpgN%2BhegfzcjP9U%2B0Y4aRsm%2FPJ7vy%2FKD8ME%3D&se=4102444800",
        ] {
            let grant = hub.authorize_sas(token).unwrap();
            assert_eq!(
                *grant.principal(),
                Principal::Device(Target::parse("d#1", None).unwrap())
            );
            assert!(grant.check(DataAction::Connect, "devices/d#1/messages/events").is_ok());
            assert!(grant.check(DataAction::Connect, "devices/other").is_err());
            assert!(grant.check(DataAction::ReadDevices, "devices/d#1").is_err());
        }
        let on_behalf = "SharedAccessSignature sr=Hub.azure-devices.net/devices&sig=cWxILEp0%2BUou7ckB5azbIYQb7nbLo3iGdJkF39HVnHc%3D&se=4102444800&skn=device";
        let grant = hub.authorize_sas(on_behalf).unwrap();
        assert!(grant.check(DataAction::Connect, "devices/anybody").is_ok());
        assert!(grant.check(DataAction::Connect, "messages").is_err());
    }

    #[test]
    fn what_does_not_hold_says_why() {
        let hub = hub();
        let good = "SharedAccessSignature sr=Hub.azure-devices.net&sig=ou46OHyDTpzIXR99bmgFIUcONL3%2BE5AR4SmD8BXbYbU%3D&se=4102444800&skn=service";
        for (from, to, why) in [
            ("sr=Hub", "sr=hub", "does not match"),
            ("4102444800", "4102444801", "does not match"),
            ("ou46", "ou47", "does not match"),
            ("skn=service", "skn=device2", "no shared access policy"),
            ("&skn=service", "", "has to name a device"),
            ("Hub.azure", "other.azure", "names the host"),
            ("se=4102444800", "se=1700000000", "expired"),
            ("se=4102444800", "se=", "not a number"),
            ("se=4102444800", "se=-1", "not a number"),
            ("&se=4102444800", "", "has no se"),
            (
                "&sig=ou46OHyDTpzIXR99bmgFIUcONL3%2BE5AR4SmD8BXbYbU%3D",
                "",
                "has no sig",
            ),
            ("sig=ou46", "sig=!", "not base64"),
            (
                "sr=Hub.azure-devices.net",
                "sr=Hub.azure-devices.net&sr=x",
                "stands twice",
            ),
            ("sr=Hub.azure-devices.net", "sr=%ff", "not UTF-8"),
            ("sr=", "sr", "has no value"),
            (
                "SharedAccessSignature ",
                "Basic ",
                "expected SharedAccessSignature or Bearer",
            ),
        ] {
            let token = good.replacen(from, to, 1);
            let failure = hub.authorize(&token).unwrap_err();
            assert!(failure.message.contains(why), "{from} -> {to}: {}", failure.message);
            assert_eq!(failure.code, iothub_core::HubErrorCode::IotHubUnauthorizedAccess);
        }
    }

    #[test]
    fn a_known_token_signs_the_literal_resource() {
        let token = "SharedAccessSignature sr=hub.azure-devices.net&sig=kADNeqsIjw7bmdN5sSo2kB5ektrlLni%2BwXBJxX2MmH0%3D&se=1700000000&skn=service";
        let key = Key::parse(KEY).unwrap();
        assert!(SasToken::parse(token).unwrap().check_signature([&key, &key]).is_ok());
    }

    #[test]
    fn tokens_end_with_their_time_and_a_little_patience() {
        let hub = hub();
        let good = "SharedAccessSignature sr=Hub.azure-devices.net&sig=ou46OHyDTpzIXR99bmgFIUcONL3%2BE5AR4SmD8BXbYbU%3D&se=4102444800&skn=service";
        let end = hub.authorize_sas(good).unwrap().expires();
        assert_eq!(end, time::macros::datetime!(2100-01-01 00:05 UTC));
        let left = std::time::Duration::try_from(end - hub.clock().now()).unwrap();
        hub.clock().advance(left);
        assert!(hub.authorize_sas(good).unwrap_err().message.contains("expired"));
    }

    #[test]
    fn the_token_of_a_device_ends_with_its_keys() {
        let hub = hub();
        let token = "SharedAccessSignature sr=Hub.azure-devices.net%2Fdevices%2Fd%231&sig=pRKlg%2FRVV8z%2BWiWCTxXQsbDLlr3eaFFOd6I6URLoTY0%3D&se=4102444800";
        hub.authorize_sas(token).unwrap();
        let other_keys = DeviceRequest {
            disabled: false,
            status_reason: None,
            authentication: Authentication::generated().unwrap(),
            edge: false,
            scope: None,
            parents: Vec::new(),
        };
        hub.put_device(&Grant::unlimited(), &"d#1".parse().unwrap(), &IfMatch::Any, other_keys)
            .unwrap();
        assert!(hub.authorize_sas(token).unwrap_err().message.contains("does not match"));
    }

    #[test]
    fn a_disabled_device_does_not_get_in() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, Key::parse(KEY).unwrap().as_slice());
        let resource = "hub.azure-devices.net/devices/off";
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{resource}\n4102444800").as_bytes()));
        let signature = signature.replace('+', "%2B");
        let token = format!("SharedAccessSignature sr={resource}&sig={signature}&se=4102444800");
        assert!(hub().authorize_sas(&token).unwrap_err().message.contains("has no key"));
    }
}
