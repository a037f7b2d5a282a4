use std::fmt;

use azure_core::credentials::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{AuthenticationType, SymmetricKey, X509Thumbprints};

/// How a device or module proves who it is.
///
/// # Examples
///
/// ```
/// use iothub_core::models::{Authentication, Device, X509Thumbprints};
///
/// let thumbprints = X509Thumbprints::new("0123456789ABCDEF0123456789ABCDEF01234567");
/// let lamp = Device::new("lamp".parse()?).with_authentication(Authentication::Thumbprints(thumbprints));
/// # Ok::<(), iothub_core::Error>(())
/// ```
#[doc(alias = "AuthenticationMechanism")]
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum Authentication {
    /// Tokens signed with either of two keys.
    Keys(SymmetricKey),
    /// The same, with keys that the hub makes when it gets this, **in an update, too**: the old ones stop working.
    ///
    /// Read it only occurs where keys were left out, as in an export without keys.
    #[default]
    GeneratedKeys,
    /// A certificate that the hub knows by its thumbprint, whoever issued it. The hub accepts it without a thumbprint; such a
    /// device cannot connect.
    Thumbprints(X509Thumbprints),
    /// A certificate that was issued by an authority registered with the hub, with the device's id as its common name.
    CertificateAuthority,
    /// No way of its own: the system modules of an edge device. The hub refuses it for a device.
    None,
    /// A way that this version does not know, as the hub sent it.
    Other(Map<String, Value>),
}

impl From<SymmetricKey> for Authentication {
    fn from(keys: SymmetricKey) -> Self {
        Self::Keys(keys)
    }
}

impl From<X509Thumbprints> for Authentication {
    fn from(thumbprints: X509Thumbprints) -> Self {
        Self::Thumbprints(thumbprints)
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => f.debug_tuple("Keys").field(keys).finish(),
            Self::GeneratedKeys => f.write_str("GeneratedKeys"),
            Self::Thumbprints(thumbprints) => f.debug_tuple("Thumbprints").field(thumbprints).finish(),
            Self::CertificateAuthority => f.write_str("CertificateAuthority"),
            Self::None => f.write_str("None"),
            // Nobody knows which of its members are secret.
            Self::Other(members) => f
                .debug_tuple("Other")
                .field(&members.get("type"))
                .finish_non_exhaustive(),
        }
    }
}

impl Serialize for Authentication {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Keys(keys) => {
                map.serialize_entry("type", &AuthenticationType::Sas)?;
                map.serialize_entry("symmetricKey", keys)?;
            }
            Self::GeneratedKeys => map.serialize_entry("type", &AuthenticationType::Sas)?,
            Self::Thumbprints(thumbprints) => {
                map.serialize_entry("type", &AuthenticationType::SelfSigned)?;
                map.serialize_entry("x509Thumbprint", thumbprints)?;
            }
            Self::CertificateAuthority => map.serialize_entry("type", &AuthenticationType::CertificateAuthority)?,
            Self::None => map.serialize_entry("type", &AuthenticationType::None)?,
            Self::Other(members) => {
                for (name, member) in members {
                    map.serialize_entry(name, member)?;
                }
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Authentication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        let member = |name| members.get(name).cloned().unwrap_or(Value::Null);
        let kind = match members.get("type") {
            Some(Value::String(kind)) => AuthenticationType::from(kind.as_str()),
            // Records from before there was a type have keys.
            None | Some(Value::Null) => AuthenticationType::Sas,
            Some(_) => return Err(de::Error::custom("the type of an authentication is not a word")),
        };
        match kind {
            AuthenticationType::Sas => keys(member("symmetricKey")).map_err(de::Error::custom),
            AuthenticationType::SelfSigned => {
                let thumbprints: Option<X509Thumbprints> =
                    serde_json::from_value(member("x509Thumbprint")).map_err(de::Error::custom)?;
                Ok(Self::Thumbprints(thumbprints.unwrap_or_default()))
            }
            AuthenticationType::CertificateAuthority => Ok(Self::CertificateAuthority),
            AuthenticationType::None => Ok(Self::None),
            AuthenticationType::Other(_) => Ok(Self::Other(members)),
        }
    }
}

/// The hub writes null, and some clients an empty text, where there is no key.
fn keys(member: Value) -> Result<Authentication, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Keys {
        primary_key: Option<Secret>,
        secondary_key: Option<Secret>,
    }

    // The value is not quoted in the message: it may hold a key.
    let keys: Option<Keys> =
        serde_json::from_value(member).map_err(|_| "the symmetric key is not an object of texts")?;
    let Some(keys) = keys else {
        return Ok(Authentication::GeneratedKeys);
    };
    let given = |key: Option<Secret>| key.filter(|key| !key.secret().is_empty());
    match (given(keys.primary_key), given(keys.secondary_key)) {
        (Some(primary), Some(secondary)) => Ok(Authentication::Keys(SymmetricKey::new(primary, secondary))),
        (None, None) => Ok(Authentication::GeneratedKeys),
        _ => Err("a symmetric key has one of its two keys only".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Authentication {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_type_says_which_members_count() {
        let unused = json!({ "primaryThumbprint": null, "secondaryThumbprint": null });
        let no_keys = json!({ "primaryKey": null, "secondaryKey": null });
        let keys = json!({ "primaryKey": "cA==", "secondaryKey": "cw==" });
        let sas = read(json!({ "type": "sas", "symmetricKey": keys, "x509Thumbprint": unused }));
        assert_eq!(sas, Authentication::Keys(SymmetricKey::new("cA==", "cw==")));
        assert_eq!(
            read(
                json!({ "type": "selfSigned", "symmetricKey": no_keys, "x509Thumbprint": { "primaryThumbprint": "AB" } })
            ),
            Authentication::Thumbprints(X509Thumbprints::new("AB"))
        );
        let authority = json!({ "type": "CertificateAuthority", "symmetricKey": no_keys, "x509Thumbprint": unused });
        assert_eq!(read(authority), Authentication::CertificateAuthority);
        assert_eq!(read(json!({ "type": "none" })), Authentication::None);
    }

    #[test]
    fn absent_null_and_empty_keys_are_keys_for_the_hub_to_make() {
        for keys in [
            json!(null),
            json!({ "primaryKey": null, "secondaryKey": null }),
            json!({ "primaryKey": "", "secondaryKey": "" }),
        ] {
            assert_eq!(
                read(json!({ "type": "sas", "symmetricKey": keys })),
                Authentication::GeneratedKeys
            );
        }
        assert_eq!(read(json!({ "symmetricKey": null })), Authentication::GeneratedKeys);
        assert_eq!(
            serde_json::to_value(Authentication::GeneratedKeys).unwrap(),
            json!({ "type": "sas" })
        );
    }

    #[test]
    fn half_a_pair_of_keys_is_an_error_that_does_not_show_the_half() {
        let half = json!({ "type": "sas", "symmetricKey": { "primaryKey": "c2VjcmV0", "secondaryKey": null } });
        let error = serde_json::from_value::<Authentication>(half).unwrap_err().to_string();
        assert_eq!(error, "a symmetric key has one of its two keys only");
    }

    #[test]
    fn an_unknown_way_survives_and_does_not_print_what_may_be_secret() {
        let wire = json!({ "type": "tpm", "endorsementKey": "c2VjcmV0" });
        let tpm = read(wire.clone());
        assert_eq!(serde_json::to_value(&tpm).unwrap(), wire);
        assert!(!format!("{tpm:?}").contains("c2VjcmV0"), "{tpm:?}");
    }

    #[test]
    fn keys_do_not_print() {
        let keys = Authentication::Keys(SymmetricKey::new("c2VjcmV0", "c2VjcmV0"));
        assert!(!format!("{keys:?}").contains("c2VjcmV0"), "{keys:?}");
    }
}
