use iothub_core::models::{KeyOwner, KeyRotationError, RegeneratedKeys, RotatedKey};

/// What became of the keys of one device or module.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum KeyRenewal {
    /// The hub has made new keys, and these are they. It may tell the other key along with a new one.
    Renewed(RotatedKey),
    /// The old keys stay.
    Failed(KeyRotationError),
    /// The hub says neither. Read the identity to see its keys.
    Unanswered,
}

/// One renewal for each owner, whatever the hub lists.
pub(crate) fn renewals(owners: &[KeyOwner], answer: RegeneratedKeys) -> Vec<KeyRenewal> {
    let mut renewals = vec![KeyRenewal::Unanswered; owners.len()];
    for key in answer.rotated_keys {
        if let Some(at) = find(owners, key.id.as_str(), key.module_id.as_deref()) {
            renewals[at] = KeyRenewal::Renewed(key);
        }
    }
    for error in answer.errors {
        let at = error
            .id
            .as_deref()
            .and_then(|id| find(owners, id, error.module_id.as_deref()));
        if let Some(at) = at {
            renewals[at] = KeyRenewal::Failed(error);
        }
    }
    renewals
}

fn find(owners: &[KeyOwner], id: &str, module: Option<&str>) -> Option<usize> {
    let module = module.filter(|module| !module.is_empty());
    owners
        .iter()
        .position(|owner| owner.id == id && owner.module_id.as_deref() == module)
}

#[cfg(test)]
mod tests {
    use iothub_core::Result;
    use serde_json::json;

    use super::*;

    #[test]
    fn there_is_one_renewal_for_each_owner() -> Result<()> {
        let owner = |id: &str| Result::Ok(KeyOwner::new(id.parse()?));
        let owners = [owner("a")?, owner("b")?, owner("b")?.with_module_id("m"), owner("c")?];
        let answer = serde_json::from_value(json!({
            "policyKey": "both",
            "rotatedKeys": [
                { "id": "b", "moduleId": "m", "primaryKey": "cA==", "secondaryKey": "cw==" },
                { "id": "a", "moduleId": "", "primaryKey": "cA==", "secondaryKey": "cw==" },
                { "id": "stranger", "primaryKey": "cA==", "secondaryKey": "cw==" },
            ],
            "errors": [{ "id": "b", "errorCode": 404001, "errorStatus": "no b" }],
        }))?;

        let renewals = renewals(&owners, answer);

        assert!(matches!(&renewals[0], KeyRenewal::Renewed(key) if key.id == "a"));
        assert!(matches!(&renewals[1], KeyRenewal::Failed(error) if error.error_status.as_deref() == Some("no b")));
        assert!(matches!(&renewals[2], KeyRenewal::Renewed(key) if key.module_id.as_deref() == Some("m")));
        assert_eq!(renewals[3], KeyRenewal::Unanswered);
        assert!(!format!("{renewals:?}").contains("cA=="), "keys do not print");
        Ok(())
    }
}
