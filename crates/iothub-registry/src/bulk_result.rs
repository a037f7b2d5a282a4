use std::sync::Arc;

use azure_core::error::ErrorKind;
use iothub_core::{
    CallFacts, Error, HubError, HubErrorCode, Result, RetryAdvice,
    models::{BulkRegistryOperationResult, DeviceRegistryOperationError, DeviceRegistryOperationWarning},
};

use crate::{BulkOperation, bulk_item::BulkItem};

/// What became of each item of one bulk call.
///
/// # Examples
///
/// ```no_run
/// use iothub_registry::models::Device;
///
/// # async fn example(registry: iothub_registry::RegistryClient, lamps: Vec<Device>) -> iothub_core::Result<()> {
/// let result = registry.create_devices(&lamps, None).await?;
/// for (lamp, outcome) in lamps.iter().zip(&result.outcomes) {
///     if let Some(code) = outcome.code() {
///         println!("{} was not created: {code}", lamp.device_id);
///     }
/// }
/// # Ok(()) }
/// ```
#[doc(alias = "BulkRegistryOperationResult")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BulkResult {
    /// One for each item, in the order of the items.
    pub outcomes: Vec<BulkOutcome>,
}

impl BulkResult {
    /// Whether every item was done, and done wholly.
    pub fn is_successful(&self) -> bool {
        self.outcomes.iter().all(BulkOutcome::is_done)
    }
}

/// What became of one item of a bulk call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BulkOutcome {
    /// It was done.
    Done,
    /// It was done, but not wholly: a device was registered without its twin.
    DoneWithWarning(DeviceRegistryOperationWarning),
    /// The hub refused this item.
    Failed(DeviceRegistryOperationError),
    /// There is no answer about this item: the call that it was in failed as a whole, or the answer does not say which
    /// of its items failed. All items of the call share the error.
    Unanswered(Arc<Error>),
}

impl BulkOutcome {
    /// Whether it was done, and done wholly.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Why it was not done. `None` if it was, or if the hub gave no code.
    pub fn code(&self) -> Option<&HubErrorCode> {
        match self {
            Self::Done | Self::DoneWithWarning(_) => None,
            Self::Failed(failure) => failure.error_code.as_ref(),
            Self::Unanswered(error) => HubError::of(error).map(|hub| &hub.code),
        }
    }

    /// Whether the hub may have done it although it is not reported as done. Then look before doing it again.
    pub fn maybe_applied(&self) -> bool {
        match self {
            Self::Done | Self::DoneWithWarning(_) => false,
            Self::Failed(failure) => {
                let advice = failure.error_code.as_ref().map(HubErrorCode::retry_advice);
                advice == Some(RetryAdvice::IfRepeatable)
            }
            Self::Unanswered(error) => CallFacts::of(error).is_some_and(|facts| facts.maybe_applied),
        }
    }

    /// Makes an error of what is not done, to be passed on with `?`. A warning is none.
    ///
    /// # Errors
    ///
    /// What the hub said about the item, with [`HubError`] inside, or what became of the call that it was in.
    pub fn into_result(self) -> Result<()> {
        let maybe_applied = self.maybe_applied();
        match self {
            Self::Done | Self::DoneWithWarning(_) => Ok(()),
            Self::Failed(failure) => {
                let code = failure.error_code.unwrap_or(HubErrorCode::BulkRegistryOperationFailure);
                let text = failure.error_status.unwrap_or_default();
                let facts = CallFacts {
                    maybe_applied,
                    ..CallFacts::default()
                };
                Err(facts.attach(HubError::new(code, text).into()))
            }
            Self::Unanswered(error) => {
                let (kind, message) = (error.kind().clone(), error.to_string());
                Err(Error::with_error(kind, error, message))
            }
        }
    }
}

/// What became of one of any number of operations; see [`RegistryClient::bulk`](crate::RegistryClient::bulk).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BulkItemResult {
    /// Which operation of the stream it was, counted from 0. Results come without gaps: after a stop, go on with the
    /// operation after the last result.
    pub index: u64,
    /// The operation, to be looked at or done again.
    pub operation: BulkOperation,
    /// What became of it.
    pub outcome: BulkOutcome,
}

/// Says of each item what an answer says of it.
///
/// The hub lists what failed; what it does not list went through. An answer that speaks of a failure without saying of
/// which item leaves every other item in doubt.
pub(crate) fn outcomes(items: &[BulkItem<'_>], answer: BulkRegistryOperationResult) -> Vec<BulkOutcome> {
    let mut outcomes = vec![BulkOutcome::Done; items.len()];
    for warning in answer.warnings {
        let at = warning
            .device_id
            .as_deref()
            .and_then(|device| find(items, 0, device, None));
        if let Some(at) = at {
            outcomes[at] = BulkOutcome::DoneWithWarning(warning);
        }
    }
    let mut told_nothing = !answer.is_successful && answer.errors.is_empty();
    let mut stray = None;
    // Errors come in the order of the items, if not from every hub.
    let mut next = 0;
    for error in answer.errors {
        let module = error.module_id.as_deref().filter(|module| !module.is_empty());
        let at = match error.device_id.as_deref() {
            Some(device) => find(items, next, device, module),
            None if items.len() == 1 => Some(0),
            None => None,
        };
        match at {
            Some(at) => {
                next = at + 1;
                outcomes[at].add(error);
            }
            None => {
                told_nothing = true;
                stray = stray.or(Some(error));
            }
        }
    }
    if told_nothing {
        let doubt = Arc::new(doubt(stray));
        for outcome in &mut outcomes {
            if !matches!(outcome, BulkOutcome::Failed(_)) {
                *outcome = BulkOutcome::Unanswered(Arc::clone(&doubt));
            }
        }
    }
    outcomes
}

impl BulkOutcome {
    /// Keeps the first code and the texts of all, should the hub have more than one thing to say of an item.
    fn add(&mut self, error: DeviceRegistryOperationError) {
        match self {
            Self::Failed(known) => {
                known.error_code = known.error_code.take().or(error.error_code);
                known.error_status = match (known.error_status.take(), error.error_status) {
                    (Some(known), Some(more)) => Some(format!("{known}; {more}")),
                    (known, more) => known.or(more),
                };
            }
            _ => *self = Self::Failed(error),
        }
    }
}

/// The item that is about this module or device, looked for from `start` on. An error about a module may leave out the
/// module: it is found if the call has one item about the device.
fn find(items: &[BulkItem<'_>], start: usize, device: &str, module: Option<&str>) -> Option<usize> {
    let around = || (start..items.len()).chain(0..start.min(items.len()));
    let exact = around().find(|&at| items[at].id == device && items[at].module_id == module);
    exact.or_else(|| {
        let mut of_the_device = around().filter(|&at| items[at].id == device);
        of_the_device.next().filter(|_| of_the_device.next().is_none())
    })
}

fn doubt(stray: Option<DeviceRegistryOperationError>) -> Error {
    let facts = CallFacts {
        maybe_applied: true,
        ..CallFacts::default()
    };
    let error = match stray {
        Some(DeviceRegistryOperationError {
            error_code: Some(code),
            error_status,
            ..
        }) => HubError::new(code, error_status.unwrap_or_default()).into(),
        _ => Error::with_message(
            ErrorKind::DataConversion,
            "the hub says that some items of the call failed, but not which",
        ),
    };
    facts.attach(error)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn there_is_one_outcome_for_each_item_whatever_the_hub_lists() {
        let (exists, gone) = ("DeviceAlreadyExists", "DeviceNotFound");
        for (answer, expected) in [
            (json!({"isSuccessful": true, "errors": [], "warnings": []}), ["done"; 3]),
            (json!({"isSuccessful": true}), ["done"; 3]),
            (
                failures(&json!([{"deviceId": "b", "errorCode": 409001}])),
                ["done", exists, "done"],
            ),
            // In another order, and as names.
            (
                failures(&json!([
                    {"deviceId": "c", "moduleId": "m", "errorCode": "DeviceNotFound"},
                    {"deviceId": "a", "errorCode": "DeviceAlreadyExists"},
                ])),
                [exists, "done", gone],
            ),
            // The error of a module without the module, and with an empty one.
            (
                failures(&json!([{"deviceId": "c", "errorCode": 404001}])),
                ["done", "done", gone],
            ),
            (
                failures(&json!([{"deviceId": "b", "moduleId": "", "errorCode": 404001}])),
                ["done", gone, "done"],
            ),
            // Nobody knows whose the failure is.
            (failures(&json!([])), ["doubt"; 3]),
            (
                failures(&json!([{"deviceId": "other", "errorCode": 404001}])),
                [gone; 3],
            ),
            (failures(&json!([{"deviceId": null, "errorCode": null}])), ["doubt"; 3]),
            (
                failures(&json!([{"deviceId": "a", "errorCode": 409001}, {"deviceId": "z"}])),
                [exists, "doubt", "doubt"],
            ),
        ] {
            let outcomes = outcomes(&items(), serde_json::from_value(answer.clone()).unwrap());
            let found: Vec<&str> = outcomes.iter().map(name).collect();
            assert_eq!(found, expected, "{answer}");
        }
    }

    #[test]
    fn doubt_may_be_done() {
        let outcomes = outcomes(&items(), serde_json::from_value(failures(&json!([]))).unwrap());
        assert!(outcomes.iter().all(BulkOutcome::maybe_applied));
        let error = outcomes[0].clone().into_result().unwrap_err();
        assert!(CallFacts::of(&error).unwrap().maybe_applied);
        assert!(error.to_string().contains("but not which"), "{error}");
    }

    #[test]
    fn an_error_of_the_hub_about_one_item_is_found_in_the_error() {
        let answer = failures(&json!([
            {"deviceId": "a", "errorCode": 500001, "errorStatus": "no"},
            {"deviceId": "a", "errorCode": 400004, "errorStatus": "never"},
        ]));
        let outcomes = outcomes(&items(), serde_json::from_value(answer).unwrap());
        let error = outcomes[0].clone().into_result().unwrap_err();
        let hub = HubError::of(&error).unwrap();
        assert_eq!(
            (&hub.code, hub.message.as_str()),
            (&HubErrorCode::ServerError, "no; never")
        );
        assert!(
            CallFacts::of(&error).unwrap().maybe_applied,
            "an internal error does not say what was done"
        );
    }

    #[test]
    fn a_device_without_its_twin_is_a_warning() {
        let answer = json!({
            "isSuccessful": true,
            "warnings": [{"deviceId": "a", "warningCode": "DeviceRegisteredWithoutTwin", "warningStatus": "later"}],
        });
        let outcomes = outcomes(&items(), serde_json::from_value(answer).unwrap());
        assert!(matches!(&outcomes[0], BulkOutcome::DoneWithWarning(_)));
        assert!(!outcomes[0].is_done() && outcomes[1].is_done());
        assert!(!BulkResult { outcomes }.is_successful());
    }

    fn items() -> [BulkItem<'static>; 3] {
        let item = |id, module_id| {
            let mut item = BulkItem::delete_device(id, None);
            item.module_id = module_id;
            item
        };
        [item("a", None), item("b", None), item("c", Some("m"))]
    }

    fn failures(errors: &Value) -> Value {
        json!({ "isSuccessful": false, "errors": errors })
    }

    fn name(outcome: &BulkOutcome) -> &str {
        match outcome {
            BulkOutcome::Done => "done",
            _ => outcome.code().map_or("doubt", HubErrorCode::as_str),
        }
    }
}
