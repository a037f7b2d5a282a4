use azure_core::{
    error::ErrorKind,
    http::{Context, Method},
};
use futures::Stream;
use iothub_core::{
    CallFacts, DeviceId, Error, HubPipeline, HubRequest, Result,
    models::{BulkRegistryOperationResult, Device, TwinContent, TwinPatch},
};

use super::{
    RegistryClient,
    bulk_stream::{BulkStream, Calls},
    devices::untagged,
    parts::{self, InParts},
};
use crate::{
    BulkCallOptions, BulkItemResult, BulkOperation, BulkOptions, BulkOutcome, BulkResult, CreateDeviceWithTwinOptions,
    CreateDevicesOptions, DeleteDevicesOptions, TwinId, UpdateDevicesOptions, UpdateTwinsOptions, bulk_item::BulkItem,
    bulk_result,
};

/// Many changes at once.
///
/// One call of the hub holds up to 100 changes, and each of them succeeds or fails by itself. A device, together with its
/// modules, is in one call once at most: the hub refuses the whole call otherwise, with
/// [`HubErrorCode::DeviceDefinedMultipleTimes`](iothub_core::HubErrorCode::DeviceDefinedMultipleTimes).
///
/// Making the same changes twice is not the same as making them once, so such a call is sent again only if the hub is
/// known not to have acted. If its outcome is unknown, [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied)
/// is true.
impl RegistryClient {
    /// Adds a device, and what is to stand in its twin from the beginning.
    ///
    /// There is no moment at which the device exists without tags and desired properties. Keys that the hub makes are
    /// not in the answer; [`get_device`](Self::get_device) reads them.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceAlreadyExists`](iothub_core::HubErrorCode::DeviceAlreadyExists) if a device has this id.
    /// [`HubErrorCode::ArgumentInvalid`](iothub_core::HubErrorCode::ArgumentInvalid) if the hub refuses a member of the
    /// identity or the twin. With [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied), if the hub has
    /// registered the device without its twin.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::{Device, DeviceCapabilities, TwinContent};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let edge = DeviceCapabilities::default().with_is_edge(true);
    /// let gateway = Device::new("gateway".parse()?).with_capabilities(edge);
    /// let twin = TwinContent::new().set_tag("site", "x").set_desired("interval", 60);
    /// registry.create_device_with_twin(&gateway, &twin, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "AddDeviceWithTwinAsync")]
    pub async fn create_device_with_twin(
        &self,
        device: &Device,
        twin: &TwinContent,
        options: Option<CreateDeviceWithTwinOptions<'_>>,
    ) -> Result<()> {
        let options = options.unwrap_or_default();
        let items = [BulkItem::create_device(device, Some(twin))];
        let result = self.bulk_items(&options.method_options.context, &items).await?;
        match result.outcomes.into_iter().next() {
            Some(BulkOutcome::DoneWithWarning(warning)) => Err(without_twin(device, warning.warning_status.as_deref())),
            Some(outcome) => outcome.into_result(),
            None => Ok(()),
        }
    }

    /// Adds up to 100 devices. [`bulk`](Self::bulk) adds any number.
    ///
    /// Devices that are refused do not keep the others from being added: see the outcomes. Keys that the hub makes are
    /// not in the answer. An empty list sends nothing.
    ///
    /// # Errors
    ///
    /// The call failed as a whole; or, without a request, there are more than 100 devices.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::{HubErrorCode, Result};
    /// use iothub_registry::models::Device;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> Result<()> {
    /// let lamps = (0..100).map(|n| Ok(Device::new(format!("lamp-{n}").parse()?))).collect::<Result<Vec<_>>>()?;
    /// let result = registry.create_devices(&lamps, None).await?;
    /// let exist = |code: Option<&HubErrorCode>| code == Some(&HubErrorCode::DeviceAlreadyExists);
    /// println!("{} were there before", result.outcomes.iter().filter(|outcome| exist(outcome.code())).count());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "AddDevices2Async")]
    #[doc(alias = "AddDevicesAsync")]
    #[doc(alias = "addDevices")]
    pub async fn create_devices(
        &self,
        devices: &[Device],
        options: Option<CreateDevicesOptions<'_>>,
    ) -> Result<BulkResult> {
        let options = options.unwrap_or_default();
        let items: Vec<_> = devices
            .iter()
            .map(|device| BulkItem::create_device(device, None))
            .collect();
        self.bulk_items(&options.method_options.context, &items).await
    }

    /// Replaces up to 100 device identities. [`bulk`](Self::bulk) replaces any number.
    ///
    /// Each is replaced only in the version that was read, unless the options say otherwise. An empty list sends
    /// nothing.
    ///
    /// # Errors
    ///
    /// The call failed as a whole; or, without a request, there are more than 100 devices, or one has no tag and the
    /// options do not say that this is right.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::HubErrorCode;
    /// use iothub_registry::models::{Device, DeviceStatus};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient, mut lamps: Vec<Device>) -> iothub_core::Result<()> {
    /// for lamp in &mut lamps {
    ///     lamp.status = DeviceStatus::Disabled;
    /// }
    /// let result = registry.update_devices(&lamps, None).await?;
    /// for (lamp, outcome) in lamps.iter().zip(result.outcomes) {
    ///     if outcome.code() == Some(&HubErrorCode::PreconditionFailed) {
    ///         println!("somebody else has changed {}", lamp.device_id);
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "UpdateDevices2Async")]
    #[doc(alias = "UpdateDevicesAsync")]
    #[doc(alias = "updateDevices")]
    pub async fn update_devices(
        &self,
        devices: &[Device],
        options: Option<UpdateDevicesOptions<'_>>,
    ) -> Result<BulkResult> {
        let options = options.unwrap_or_default();
        let item = |device| match options.unconditional {
            true => Ok(BulkItem::update_device(device, None)),
            false if device.etag.is_none() => Err(untagged(device)),
            false => Ok(BulkItem::update_device(device, device.etag.as_ref())),
        };
        let items: Vec<_> = devices.iter().map(item).collect::<Result<_>>()?;
        self.bulk_items(&options.method_options.context, &items).await
    }

    /// Deletes up to 100 devices, whatever their versions. [`bulk`](Self::bulk) deletes any number.
    ///
    /// An empty list sends nothing. To delete a device only in the version that was read, use
    /// [`BulkOperation::DeleteDevice`].
    ///
    /// # Errors
    ///
    /// The call failed as a whole; or, without a request, there are more than 100 devices.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let result = registry.delete_devices(&["lamp".parse()?, "candle".parse()?], None).await?;
    /// assert_eq!(result.outcomes.len(), 2);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "RemoveDevices2Async")]
    #[doc(alias = "RemoveDevicesAsync")]
    #[doc(alias = "removeDevices")]
    pub async fn delete_devices(
        &self,
        ids: &[DeviceId],
        options: Option<DeleteDevicesOptions<'_>>,
    ) -> Result<BulkResult> {
        let options = options.unwrap_or_default();
        let items: Vec<_> = ids
            .iter()
            .map(|id| BulkItem::delete_device(id.as_str(), None))
            .collect();
        self.bulk_items(&options.method_options.context, &items).await
    }

    /// Merges tags and desired properties into up to 100 twins, whatever their versions. [`bulk`](Self::bulk) does it for any number.
    ///
    /// An empty list sends nothing. To change a twin only in the version that was read, use
    /// [`BulkOperation::UpdateTwin`].
    ///
    /// # Errors
    ///
    /// The call failed as a whole; or, without a request, there are more than 100 twins.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::TwinPatch;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let dim = TwinPatch::new().set_desired("brightness", 10);
    /// let patches = [("lamp".parse()?, dim.clone()), ("gateway/dimmer".parse()?, dim)];
    /// assert!(registry.update_twins(&patches, None).await?.is_successful());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "UpdateTwins2Async")]
    #[doc(alias = "UpdateTwinsAsync")]
    pub async fn update_twins(
        &self,
        patches: &[(TwinId, TwinPatch)],
        options: Option<UpdateTwinsOptions<'_>>,
    ) -> Result<BulkResult> {
        let options = options.unwrap_or_default();
        let items: Vec<_> = patches
            .iter()
            .map(|(id, patch)| BulkItem::update_twin(id, patch, None))
            .collect();
        self.bulk_items(&options.method_options.context, &items).await
    }

    /// Makes up to 100 changes of any kind in one call: devices, modules and twins, created, changed and deleted.
    ///
    /// An empty list sends nothing. [`bulk`](Self::bulk) makes any number of changes.
    ///
    /// # Errors
    ///
    /// The call failed as a whole; or, without a request, there are more than 100 changes.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_core::ModuleId;
    /// use iothub_registry::{BulkOperation, models::Module};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let dimmer = |lamp: &str| ModuleId::new(lamp.parse()?, "dimmer");
    /// let operations = [
    ///     BulkOperation::create_module(Module::new(dimmer("lamp")?)),
    ///     BulkOperation::create_module(Module::new(dimmer("candle")?)),
    /// ];
    /// let result = registry.bulk_call(&operations, None).await?;
    /// assert_eq!(result.outcomes.len(), 2);
    /// # Ok(()) }
    /// ```
    pub async fn bulk_call(
        &self,
        operations: &[BulkOperation],
        options: Option<BulkCallOptions<'_>>,
    ) -> Result<BulkResult> {
        let options = options.unwrap_or_default();
        let items: Vec<_> = operations.iter().map(BulkItem::from).collect();
        self.bulk_items(&options.method_options.context, &items).await
    }

    /// Makes any number of changes, in calls of up to 100, and tells of each what became of it.
    ///
    /// There is one result for each operation, in the order of the operations, whatever happens to the calls. An
    /// operation whose call failed has an outcome that says so, and the next call is made nevertheless; drop the stream
    /// to stop.
    ///
    /// A few calls are under way at once. While the hub throttles, the calls become fewer, wait, and go on; only when
    /// [patience](BulkOptions::patience) ends are operations given up. Operations on one device, its modules included,
    /// keep their order: a later one is sent after the answer to the earlier one. Across devices there is no order.
    ///
    /// Operations are taken from the stream as they are needed. While it has none, what was taken is sent without
    /// waiting for a full call, unless another call is under way.
    ///
    /// # To stop and go on
    ///
    /// Nothing happens while nobody asks for results. When the results are dropped, the calls under way are cut off, and
    /// operations without a result may or may not have been carried out; these are at most those of
    /// [`calls_in_flight`](BulkOptions::calls_in_flight) calls. Begin again after the
    /// [index](BulkItemResult::index) of the last result, and expect
    /// [`DeviceAlreadyExists`](iothub_core::HubErrorCode::DeviceAlreadyExists) or
    /// [`DeviceNotFound`](iothub_core::HubErrorCode::DeviceNotFound) for what had been done.
    ///
    /// # Errors
    ///
    /// Options that cannot be: no calls, or calls of none or more than 100 operations.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use futures::{StreamExt, stream};
    /// use iothub_core::Result;
    /// use iothub_registry::{BulkOperation, models::Device};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> Result<()> {
    /// let ids = (0..1_000_000).map(|n| format!("lamp-{n}").parse()).collect::<Result<Vec<_>>>()?;
    /// let operations = stream::iter(ids).map(|id| BulkOperation::create_device(Device::new(id)));
    ///
    /// let mut results = registry.bulk(operations, None)?;
    /// while let Some(result) = results.next().await {
    ///     let id = result.operation.device_id();
    ///     match &result.outcome {
    ///         outcome if outcome.is_done() => {}
    ///         outcome if outcome.maybe_applied() => println!("{id} may have been created"),
    ///         outcome => println!("{id} was not created: {:?}", outcome.code()),
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn bulk<'s, S>(
        &self,
        operations: S,
        options: Option<BulkOptions<'_>>,
    ) -> Result<impl Stream<Item = BulkItemResult> + Send + Unpin + use<'s, S>>
    where
        S: Stream<Item = BulkOperation> + Send + 's,
    {
        let calls = Calls::new(self.hub.clone(), options.unwrap_or_default())?;
        Ok(BulkStream::new(operations, calls))
    }

    async fn bulk_items(&self, ctx: &Context<'_>, items: &[BulkItem<'_>]) -> Result<BulkResult> {
        if items.len() > MOST {
            return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
                let count = items.len();
                format!("a bulk call holds up to {MOST} items, and {count} are too many: `bulk` takes any number")
            }));
        }
        if items.is_empty() {
            return Ok(BulkResult { outcomes: Vec::new() });
        }
        let (answer, _) = parts::send(&self.hub, ctx, request(&self.hub, items)?).await?;
        Ok(BulkResult {
            outcomes: bulk_result::outcomes(items, answer),
        })
    }
}

impl InParts for BulkRegistryOperationResult {
    /// No other answer of the hub has the member `isSuccessful`, without which this is not read.
    fn is_about_parts(&self) -> bool {
        true
    }
}

pub(super) fn request(hub: &HubPipeline, items: &[BulkItem<'_>]) -> Result<HubRequest> {
    hub.request(Method::Post, &["devices"])?.json(items)
}

fn without_twin(device: &Device, status: Option<&str>) -> Error {
    let facts = CallFacts {
        maybe_applied: true,
        ..CallFacts::default()
    };
    facts.attach(Error::with_message_fn(ErrorKind::Other, || {
        let (id, status) = (&device.device_id, status.unwrap_or("the hub does not say why"));
        format!("device `{id}` was registered without its twin: {status}")
    }))
}

/// What the hub takes in one call.
pub(super) const MOST: usize = 100;

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_core::{
        HubErrorCode,
        testing::{HttpAnswer, ScriptedHttp},
    };
    use serde_json::json;

    use super::*;
    use crate::scripted::{body, code, refusal, registry};

    #[tokio::test]
    async fn a_partial_failure_is_a_result() -> Result<()> {
        let answer = json!({
            "isSuccessful": false,
            "errors": [{"deviceId": "candle", "errorCode": 409001, "errorStatus": "there is one"}],
            "warnings": [],
        });
        let answer = HttpAnswer::new(StatusCode::BadRequest, answer.to_string())
            .with_header("iothub-errorcode", "BulkRegistryOperationFailure");
        let http = ScriptedHttp::new([answer]);
        let result = registry(&http).create_devices(&devices()?, None).await?;

        assert!(!result.is_successful());
        assert!(result.outcomes[0].is_done());
        assert_eq!(result.outcomes[1].code(), Some(&HubErrorCode::DeviceAlreadyExists));
        assert_eq!(http.seen(), ["POST /devices?api-version=2021-04-12"]);
        let modes: Vec<_> = body(&http, 0)
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["importMode"].clone())
            .collect();
        assert_eq!(modes, ["create", "create"]);
        Ok(())
    }

    #[tokio::test]
    async fn a_refusal_of_the_whole_call_is_an_error() -> Result<()> {
        let message = r#"{"Message":"ErrorCode:DeviceDefinedMultipleTimes;lamp","ExceptionMessage":""}"#;
        let http = ScriptedHttp::new([
            HttpAnswer::new(StatusCode::BadRequest, message),
            refusal(StatusCode::Forbidden, "IotHubQuotaExceeded"),
        ]);
        let registry = registry(&http);
        let error = registry.create_devices(&devices()?, None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::DeviceDefinedMultipleTimes));
        let error = registry.delete_devices(&["lamp".parse()?], None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::IotHubQuotaExceeded));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_call_is_not_made_again() -> Result<()> {
        let http = ScriptedHttp::new([HttpAnswer::Refused, HttpAnswer::Lost]);
        let error = registry(&http).create_devices(&devices()?, None).await.unwrap_err();
        let facts = CallFacts::of(&error).unwrap();
        assert_eq!((facts.attempts, facts.maybe_applied), (2, true));

        let http = ScriptedHttp::answering(StatusCode::Ok, "no JSON");
        let error = registry(&http).create_devices(&devices()?, None).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::DataConversion);
        assert!(
            CallFacts::of(&error).unwrap().maybe_applied,
            "it was carried out, and nobody knows how it went"
        );
        Ok(())
    }

    #[tokio::test]
    async fn a_call_holds_a_hundred() -> Result<()> {
        let http = ScriptedHttp::default();
        let registry = registry(&http);
        let ids = vec!["lamp".parse()?; 101];
        let error = registry.delete_devices(&ids, None).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "a bulk call holds up to 100 items, and 101 are too many: `bulk` takes any number"
        );
        assert!(registry.delete_devices(&[], None).await?.is_successful());
        assert!(http.seen().is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn updates_take_place_in_the_versions_that_were_read_unless_told_otherwise() -> Result<()> {
        let http = ScriptedHttp::always(HttpAnswer::new(StatusCode::Ok, r#"{"isSuccessful":true}"#));
        let registry = registry(&http);
        let error = registry.update_devices(&devices()?, None).await.unwrap_err();
        assert!(error.to_string().contains("device `lamp` has no etag"), "{error}");
        let anyway = UpdateDevicesOptions {
            unconditional: true,
            ..UpdateDevicesOptions::default()
        };
        registry.update_devices(&devices()?, Some(anyway)).await?;
        let mut read = devices()?;
        read[0].etag = Some("MQ==".into());
        registry.update_devices(&read[..1], None).await?;

        assert_eq!(body(&http, 0)[0]["importMode"], "update");
        assert_eq!(
            (&body(&http, 1)[0]["importMode"], &body(&http, 1)[0]["eTag"]),
            (&json!("updateIfMatchETag"), &json!("MQ=="))
        );
        Ok(())
    }

    #[tokio::test]
    async fn a_device_without_the_twin_that_came_with_it_is_an_error() -> Result<()> {
        let warning = r#"{"isSuccessful":true,"errors":[],"warnings":[{"deviceId":"lamp",
            "warningCode":"DeviceRegisteredWithoutTwin","warningStatus":"busy"}]}"#;
        let http = ScriptedHttp::new([
            HttpAnswer::new(StatusCode::Ok, r#"{"isSuccessful":true,"errors":[]}"#),
            HttpAnswer::new(StatusCode::Ok, warning),
            HttpAnswer::new(
                StatusCode::BadRequest,
                r#"{"isSuccessful":false,"errors":[{"deviceId":"lamp","errorCode":409001}]}"#,
            ),
        ]);
        let registry = registry(&http);
        let (lamp, twin) = (Device::new("lamp".parse()?), TwinContent::new().set_tag("site", "x"));
        registry.create_device_with_twin(&lamp, &twin, None).await?;
        let half = registry.create_device_with_twin(&lamp, &twin, None).await.unwrap_err();
        assert!(
            half.to_string()
                .starts_with("device `lamp` was registered without its twin: busy"),
            "{half}"
        );
        assert!(CallFacts::of(&half).unwrap().maybe_applied);
        let exists = registry.create_device_with_twin(&lamp, &twin, None).await.unwrap_err();
        assert_eq!(code(&exists), Some(&HubErrorCode::DeviceAlreadyExists));
        assert_eq!(body(&http, 0)[0]["tags"], json!({ "site": "x" }));
        Ok(())
    }

    fn devices() -> Result<Vec<Device>> {
        Ok(vec![Device::new("lamp".parse()?), Device::new("candle".parse()?)])
    }
}
