use azure_core::{error::ErrorKind, http::Method};
use iothub_core::{
    Error, Result,
    models::{KeyOwner, KeyToRegenerate, RegenerateKeys, RegeneratedKeys},
};

use super::{
    RegistryClient,
    parts::{self, InParts},
};
use crate::{KeyRenewal, RegenerateKeysOptions, key_renewal::renewals};

/// Keys.
impl RegistryClient {
    /// Has the hub make new keys for up to 100 devices and modules, and returns one outcome for each, in their order.
    ///
    /// The old keys stop working at once. To renew keys that are in use, renew the secondary ones, have the devices
    /// change over to them, and renew the primary ones. An empty list sends nothing.
    ///
    /// This call is of api-version 2024-03-31, which is sent whatever the client's is. Its second execution would make
    /// other keys, so it is sent again only if the hub is known not to have acted.
    ///
    /// # Errors
    ///
    /// The call failed as a whole; with [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied), keys may
    /// have changed, and the identities tell them. Without a request, there are more than 100 owners.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::{KeyRenewal, models::{KeyOwner, KeyToRegenerate}};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let owners = [KeyOwner::new("lamp".parse()?), KeyOwner::new("lamp".parse()?).with_module_id("dimmer")];
    /// let renewals = registry.regenerate_keys(KeyToRegenerate::Secondary, &owners, None).await?;
    /// for (owner, renewal) in owners.iter().zip(renewals) {
    ///     match renewal {
    ///         KeyRenewal::Renewed(keys) => println!("{} has a new key: {}", owner.id, keys.secondary_key.is_some()),
    ///         KeyRenewal::Failed(error) => println!("{} keeps its key: {:?}", owner.id, error.error_code),
    ///         _ => println!("{} is to be looked at", owner.id),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn regenerate_keys(
        &self,
        key: KeyToRegenerate,
        owners: &[KeyOwner],
        options: Option<RegenerateKeysOptions<'_>>,
    ) -> Result<Vec<KeyRenewal>> {
        let options = options.unwrap_or_default();
        if owners.len() > MOST {
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                let count = owners.len();
                format!("keys are renewed for up to {MOST} devices and modules a call, and {count} are too many")
            }));
        }
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let hub = self.hub.clone().with_api_version(API_VERSION);
        let request = hub
            .request(Method::Post, &["devices", "keys", "regenerate"])?
            .json(&RegenerateKeys::new(key, owners.to_vec()))?;
        let (answer, _) = parts::send(&hub, &options.method_options.context, request).await?;
        Ok(renewals(owners, answer))
    }
}

impl InParts for RegeneratedKeys {
    fn is_about_parts(&self) -> bool {
        !(self.rotated_keys.is_empty() && self.errors.is_empty())
    }
}

const API_VERSION: &str = "2024-03-31";

/// What the hub takes in one call.
const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_core::{
        CallFacts, HubErrorCode,
        testing::{HttpAnswer, ScriptedHttp},
    };
    use serde_json::json;

    use super::*;
    use crate::scripted::{body, code, refusal, registry};

    #[tokio::test]
    async fn all_some_or_none_renewed_is_one_kind_of_answer() -> Result<()> {
        let answer = r#"{"policyKey":"secondaryKey","rotatedKeys":[{"id":"a","moduleId":null,"secondaryKey":"cw=="}],
            "errors":[{"id":"b","errorCode":404001,"errorStatus":"no b"}]}"#;
        for status in [StatusCode::Ok, StatusCode::from(207), StatusCode::BadRequest] {
            let http = ScriptedHttp::answering(status, answer);
            let owners = [KeyOwner::new("a".parse()?), KeyOwner::new("b".parse()?)];
            let renewals = registry(&http)
                .regenerate_keys(KeyToRegenerate::Secondary, &owners, None)
                .await?;
            assert!(matches!(&renewals[0], KeyRenewal::Renewed(keys) if keys.primary_key.is_none()));
            assert!(matches!(
                &renewals[1],
                KeyRenewal::Failed(error) if error.error_code == Some(HubErrorCode::DeviceNotFound)
            ));
            assert_eq!(http.seen(), ["POST /devices/keys/regenerate?api-version=2024-03-31"]);
            let sent = json!({ "policyKey": "secondaryKey", "devices": [{ "id": "a" }, { "id": "b" }] });
            assert_eq!(body(&http, 0), sent);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_and_what_is_lost_is_not_done_again() -> Result<()> {
        let owners = [KeyOwner::new("a".parse()?)];
        let message = r#"{"Message":"ErrorCode:ArgumentInvalid;no","ExceptionMessage":""}"#;
        let http = ScriptedHttp::new([
            HttpAnswer::new(StatusCode::BadRequest, message),
            refusal(StatusCode::BadRequest, "ArgumentInvalid"),
            HttpAnswer::Lost,
        ]);
        let registry = registry(&http);
        for _ in 0..2 {
            let error = registry
                .regenerate_keys(KeyToRegenerate::Both, &owners, None)
                .await
                .unwrap_err();
            assert_eq!(code(&error), Some(&HubErrorCode::ArgumentInvalid));
            assert!(!CallFacts::of(&error).unwrap().maybe_applied);
        }
        let error = registry
            .regenerate_keys(KeyToRegenerate::Both, &owners, None)
            .await
            .unwrap_err();
        assert!(CallFacts::of(&error).unwrap().maybe_applied);
        assert_eq!(http.seen().len(), 3);
        Ok(())
    }

    #[tokio::test]
    async fn a_call_holds_a_hundred() -> Result<()> {
        let http = ScriptedHttp::default();
        let owners = vec![KeyOwner::new("a".parse()?); 101];
        let registry = registry(&http);
        let error = registry
            .regenerate_keys(KeyToRegenerate::Both, &owners, None)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("up to 100"), "{error}");
        assert!(
            registry
                .regenerate_keys(KeyToRegenerate::Both, &[], None)
                .await?
                .is_empty()
        );
        assert!(http.seen().is_empty());
        Ok(())
    }
}
