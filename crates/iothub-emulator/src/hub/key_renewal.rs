//! New keys for up to a hundred devices and modules in one call. Each succeeds or fails by itself.

use iothub_core::HubErrorCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    DataAction, Event, Failure, Grant, Hub, Target,
    authentication::{Authentication, Key},
    identities::to_json,
    identity_request::{Members, object},
    journal::Operation,
};

/// What became of a call.
#[derive(Debug)]
pub(crate) struct KeyRenewals {
    pub(crate) renewed: usize,
    pub(crate) failed: usize,
    pub(crate) json: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    policy_key: &'a str,
    rotated_keys: Vec<Renewed>,
    errors: Vec<NotRenewed>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    id: String,
    module_id: Option<String>,
    primary_key: String,
    secondary_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotRenewed {
    id: String,
    module_id: Option<String>,
    error_code: Option<u32>,
    error_status: String,
}

impl Hub {
    /// Makes new keys for every device and module of a request, in its order.
    pub(crate) fn renew_keys(&self, grant: &Grant, body: &[u8]) -> Result<KeyRenewals, Failure> {
        self.allow(grant, DataAction::WriteDevices)?;
        let body = object(body)?;
        let body = Members(&body);
        let name = body.text("policyKey")?.unwrap_or_default();
        let which: [bool; 2] = match () {
            () if name.eq_ignore_ascii_case("primaryKey") => [true, false],
            () if name.eq_ignore_ascii_case("secondaryKey") => [false, true],
            () if name.eq_ignore_ascii_case("both") => [true, true],
            () => {
                let text = format!("policyKey is {name:?}, and primaryKey, secondaryKey or both was expected");
                return Err(Failure::argument(text));
            }
        };
        let owners = body.value("devices").and_then(Value::as_array);
        let owners = owners.ok_or_else(|| Failure::argument("devices is not an array"))?;
        if owners.is_empty() || owners.len() > MOST {
            let text = format!(
                "one call holds 1 to {MOST} devices and modules, this one {}",
                owners.len()
            );
            return Err(Failure::new(HubErrorCode::TooManyDevices, text));
        }
        let owners: Vec<&Map<String, Value>> = owners
            .iter()
            .map(|owner| {
                owner
                    .as_object()
                    .ok_or_else(|| Failure::argument("an item of devices is not an object"))
            })
            .collect::<Result<_, _>>()?;
        let (mut rotated_keys, mut errors) = (Vec::new(), Vec::new());
        for owner in owners.into_iter().map(Members) {
            let id = owner.text("id")?.unwrap_or_default();
            let module = owner.text("moduleId")?.filter(|module| !module.is_empty());
            let (id, module_id) = (id.to_owned(), module.map(str::to_owned));
            match Target::parse(&id, module).and_then(|target| self.renew_keys_of(&target, which)) {
                Ok([primary, secondary]) => rotated_keys.push(Renewed {
                    id,
                    module_id,
                    primary_key: primary.to_base64(),
                    secondary_key: secondary.to_base64(),
                }),
                Err(failure) => errors.push(NotRenewed {
                    id,
                    module_id,
                    error_code: failure.code.number(),
                    error_status: failure.message,
                }),
            }
        }
        let (renewed, failed) = (rotated_keys.len(), errors.len());
        let json = to_json(&Summary {
            policy_key: name,
            rotated_keys,
            errors,
        })?;
        Ok(KeyRenewals { renewed, failed, json })
    }

    fn renew_keys_of(&self, target: &Target, which: [bool; 2]) -> Result<[Key; 2], Failure> {
        let fresh = [Key::generated()?, Key::generated()?];
        let keys = {
            let mut registry = self.registry_mut();
            let etag = registry.next_etag();
            let identity = registry.identity_mut(target)?;
            let Authentication::Sas(keys) = &mut identity.authentication else {
                let kind = identity.authentication.kind();
                return Err(Failure::argument(format!("{target} has no keys but {kind}")));
            };
            for ((key, fresh), wanted) in keys.iter_mut().zip(fresh).zip(which) {
                if wanted {
                    *key = fresh;
                }
            }
            let keys = (**keys).clone();
            identity.etag = etag;
            keys
        };
        self.journal().record(Event::Executed {
            operation: Operation::Update,
            on: target.to_string(),
        });
        Ok(keys)
    }
}

/// The published limit of a call.
const MOST: usize = 100;
