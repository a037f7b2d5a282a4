use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::hmac;
use time::{Duration, OffsetDateTime};

use super::{Failure, Grant, Hub, Principal, Target, authentication::Key, policy::DEVICE_CONNECT};

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
            self.check_signature([&policy.primary, &policy.secondary])?;
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

    /// What stands after the host in `sr`, without the slash.
    fn path(&self, hub: &Hub) -> Result<String, Failure> {
        let resource = percent_decode(self.resource).ok_or_else(|| Failure::unauthorized("sr is not UTF-8"))?;
        let (host, path) = resource.split_once('/').unwrap_or((&resource, ""));
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        if !hub.names().iter().any(|known| known.eq_ignore_ascii_case(name)) {
            let message = format!("sr names the host {name:?}, and this is {}", hub.name());
            return Err(Failure::unauthorized(message));
        }
        Ok(path.trim_end_matches('/').to_owned())
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
        let signed = format!("{}\n{}", self.resource, self.expiry);
        // Both keys are always tried, and ring compares in constant time.
        let matching = keys.map(|key| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
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
