use std::str::FromStr;

use azure_core::{Error, Result, error::ErrorKind};
use iothub_core::HubHost;

use crate::{
    credential::Credential, shared_access_key::SharedAccessKey, shared_access_signature::SharedAccessSignature,
};

/// The connection string of a shared access policy, `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`.
///
/// In the portal it is under *Shared access policies*, with the CLI
/// `az iot hub connection-string show --hub-name my-hub --policy-name service`. Instead of name and key it may hold
/// `SharedAccessSignature=SharedAccessSignature sr=…`, signed elsewhere.
///
/// Names of fields are read without regard to case; values are split off at the first `=` and kept as they are. One `;`
/// at the end and white space around the whole are let pass, everything else that is not known is an error: a misspelt
/// field is better found here than as a 401. `GatewayHostName` is known and ignored. No error repeats a value, nor a name
/// that is not known: either may be a key that slipped out of place.
///
/// # Examples
///
/// ```
/// use iothub_auth::ConnectionString;
///
/// let text = "HostName=my-hub.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=bm90LWEtcmVhbC1rZXk=";
/// let ConnectionString { host, credential, .. } = text.parse()?;
/// assert_eq!(host.name(), "my-hub.azure-devices.net");
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[doc(alias = "IotHubConnectionStringBuilder")]
pub struct ConnectionString {
    /// Where the hub listens.
    pub host: HubHost,
    /// Who is asking.
    pub credential: Credential,
}

impl FromStr for ConnectionString {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fields = Fields::read(text)?;
        for device in [&fields.device_id, &fields.module_id, &fields.x509] {
            if device.is_some() {
                return Err(refused(
                    "it is a device's (it names DeviceId, ModuleId or x509); a backend needs that of a policy, from \
                     `az iot hub connection-string show`",
                ));
            }
        }
        let host = required(fields.host_name, "HostName")?.parse()?;
        let credential = match (fields.shared_access_key, fields.shared_access_signature) {
            (Some(key), None) => {
                let policy = required(fields.shared_access_key_name, "SharedAccessKeyName")?;
                SharedAccessKey::new(policy, key)
                    .map_err(|error| refused(&error.to_string()))?
                    .into()
            }
            (None, Some(signature)) => signature
                .parse::<SharedAccessSignature>()
                .map_err(|error| refused(&error.to_string()))?
                .into(),
            (Some(_), Some(_)) => return Err(refused("it has a SharedAccessKey and a SharedAccessSignature")),
            (None, None) => return Err(refused("SharedAccessKey is missing")),
        };
        Ok(Self { host, credential })
    }
}

#[derive(Default)]
struct Fields<'a> {
    host_name: Option<&'a str>,
    shared_access_key_name: Option<&'a str>,
    shared_access_key: Option<&'a str>,
    shared_access_signature: Option<&'a str>,
    device_id: Option<&'a str>,
    module_id: Option<&'a str>,
    x509: Option<&'a str>,
    gateway_host_name: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self> {
        let text = text.trim();
        let text = text.strip_suffix(';').unwrap_or(text);
        if text.is_empty() {
            return Err(refused("it is empty"));
        }
        let mut fields = Self::default();
        for (index, pair) in text.split(';').enumerate() {
            let nth = index + 1;
            let Some((name, value)) = pair.split_once('=') else {
                return Err(refused(&format!("part {nth} has no `=`")));
            };
            let field = fields.named(name).ok_or_else(|| refused(&unknown(name, nth)))?;
            if value.is_empty() {
                return Err(refused(&format!("part {nth} has no value after the `=`")));
            }
            if field.replace(value).is_some() {
                return Err(refused(&format!("part {nth} has a name that was there before")));
            }
        }
        Ok(fields)
    }

    fn named(&mut self, name: &str) -> Option<&mut Option<&'a str>> {
        let field = match name.to_ascii_lowercase().as_str() {
            "hostname" => &mut self.host_name,
            "sharedaccesskeyname" => &mut self.shared_access_key_name,
            "sharedaccesskey" => &mut self.shared_access_key,
            "sharedaccesssignature" => &mut self.shared_access_signature,
            "deviceid" => &mut self.device_id,
            "moduleid" => &mut self.module_id,
            "x509" => &mut self.x509,
            "gatewayhostname" => &mut self.gateway_host_name,
            _ => return None,
        };
        Some(field)
    }
}

fn unknown(name: &str, nth: usize) -> String {
    if name.eq_ignore_ascii_case("Endpoint") || name.eq_ignore_ascii_case("EntityPath") {
        return "it is that of an Event Hubs-compatible endpoint, which reads telemetry; this client needs that of a \
                shared access policy"
            .to_owned();
    }
    format!("part {nth} is none of HostName, SharedAccessKeyName, SharedAccessKey, SharedAccessSignature")
}

fn required<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str> {
    value.ok_or_else(|| refused(&format!("{name} is missing")))
}

fn refused(why: &str) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!(
            "this is not the connection string of a hub: {why}; it reads \
             HostName=…;SharedAccessKeyName=…;SharedAccessKey=…"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5";
    const SAS: &str = "SharedAccessSignature sr=hub.net&sig=Y2FuYXJ5&se=1700000000";

    #[track_caller]
    fn accepted(text: &str) -> ConnectionString {
        text.replace("<key>", KEY).replace("<sas>", SAS).parse().unwrap()
    }

    #[test]
    fn a_policys_string_is_read() {
        for text in [
            "HostName=hub.net;SharedAccessKeyName=service;SharedAccessKey=<key>",
            "HostName=hub.net;SharedAccessKeyName=service;SharedAccessKey=<key>;",
            " HostName=hub.net;SharedAccessKeyName=service;SharedAccessKey=<key>\n",
            "hostname=hub.net;SHAREDACCESSKEYNAME=service;sharedaccesskey=<key>",
            "SharedAccessKey=<key>;SharedAccessKeyName=service;HostName=HUB.net",
            "HostName=hub.net;SharedAccessKeyName=service;SharedAccessKey=<key>;GatewayHostName=edge",
        ] {
            let ConnectionString { host, credential } = accepted(text);
            assert_eq!(host.name(), "hub.net");
            let Credential::SharedAccessKey(key) = credential else {
                panic!("{text}");
            };
            assert_eq!(key.policy(), Some("service"));
        }
    }

    #[test]
    fn values_are_split_off_at_the_first_equals_sign() {
        let text = "HostName=hub.net:8443;SharedAccessKeyName=a@b.c;SharedAccessKey=AAECAwQFBgcICQoLDA0ODw==";
        let Credential::SharedAccessKey(key) = accepted(text).credential else {
            panic!();
        };
        let expires_on = azure_core::time::OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let token = key.sign("hub.azure-devices.net", expires_on);
        // As testdata/sas.json has it, made by Python.
        assert!(
            token
                .secret()
                .secret()
                .contains("&sig=kADNeqsIjw7bmdN5sSo2kB5ektrlLni%2BwXBJxX2MmH0%3D&")
        );
    }

    #[test]
    fn a_signature_may_stand_for_the_key() {
        for text in [
            "HostName=hub.net;SharedAccessSignature=<sas>",
            "HostName=hub.net;SharedAccessKeyName=service;SharedAccessSignature=<sas>;",
        ] {
            let Credential::SharedAccessSignature(signature) = accepted(text).credential else {
                panic!("{text}");
            };
            assert_eq!(signature.secret().secret(), SAS);
        }
    }

    #[test]
    fn anything_else_is_refused_by_name_and_without_a_value() {
        for (text, expected) in [
            ("", "it is empty"),
            (";", "it is empty"),
            ("<key>", "part 1 has no `=`"),
            ("<key>=", "part 1 is none of HostName"),
            ("HostName=hub.net;;SharedAccessKeyName=service", "part 2 has no `=`"),
            (
                "HostName=hub.net;SharedAccessKey=<key>",
                "SharedAccessKeyName is missing",
            ),
            (
                "HostName=hub.net;SharedAccessKeyName=service",
                "SharedAccessKey is missing",
            ),
            (
                "SharedAccessKeyName=service;SharedAccessKey=<key>",
                "HostName is missing",
            ),
            (
                "HostName=;SharedAccessKeyName=service;SharedAccessKey=<key>",
                "part 1 has no value",
            ),
            (
                "HostName=hub.net;SharedAccessKeyName=service;SharedAccesKey=<key>",
                "part 3 is none of",
            ),
            (
                "HostName=a.net;HOSTNAME=b.net;SharedAccessKeyName=s;SharedAccessKey=<key>",
                "part 2 has a name",
            ),
            (
                "HostName=https://hub.net;SharedAccessKeyName=s;SharedAccessKey=<key>",
                "is not the host of a hub",
            ),
            (
                "HostName=hub.net;SharedAccessKeyName=s/;SharedAccessKey=<key>",
                "A-Z a-z 0-9",
            ),
            (
                "HostName=hub.net;SharedAccessKeyName=s;SharedAccessKey=<key>!",
                "base64",
            ),
            (
                "HostName=hub.net;SharedAccessKeyName=s;SharedAccessKey=<key>;SharedAccessSignature=<sas>",
                "and a",
            ),
            (
                "HostName=hub.net;SharedAccessSignature=<key>",
                "not a shared access signature",
            ),
            (
                "HostName=hub.net;DeviceId=lamp;SharedAccessKey=<key>",
                "it is a device's",
            ),
            (
                "HostName=hub.net;DeviceId=lamp;ModuleId=m;SharedAccessKey=<key>",
                "it is a device's",
            ),
            ("HostName=hub.net;DeviceId=lamp;x509=true", "it is a device's"),
            (
                "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=s;SharedAccessKey=<key>",
                "Event Hubs",
            ),
        ] {
            let text = text.replace("<key>", KEY).replace("<sas>", SAS);
            let error = text.parse::<ConnectionString>().unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(expected), "{text}: {said}");
            assert!(!said.contains("Y2FuYXJ5"), "{said}");
        }
    }
}
