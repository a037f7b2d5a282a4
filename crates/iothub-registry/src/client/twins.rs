use std::{borrow::Cow, collections::BTreeMap};

use azure_core::{
    error::ErrorKind,
    http::{Context, Method, Response},
};
use iothub_core::{
    Error, HubError, HubErrorCode, HubRequest, IfMatch, Result,
    models::{Twin, TwinFormat},
};
use serde::{Serialize, de::IgnoredAny};

use super::{RegistryClient, race};
use crate::{GetTwinOptions, ModifyTwinOptions, ReplaceTwinOptions, TwinId, UpdateTwinOptions};

/// Twins of devices and modules: tags, desired and reported properties.
///
/// These need the permission *ServiceConnect*, not those of the registry; with Microsoft Entra ID, the role *IoT Hub
/// Twin Contributor*.
impl RegistryClient {
    /// Reads the twin of a device or module.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceNotFound`] if there is no such device or module; [`try_get_twin`](Self::try_get_twin)
    /// makes that a `None`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let twin = registry.get_twin(&"lamp".parse()?, None).await?.into_model()?;
    /// let wanted: Option<u8> = twin.desired().get("fan.speed")?;
    /// let is: Option<u8> = twin.reported().get("fan.speed")?;
    /// println!("site {:?}: the fan should be at {wanted:?} and is at {is:?}", twin.tags().raw("site")?);
    ///
    /// // A module's twin.
    /// let filter = registry.get_twin(&"gateway/filter".parse()?, None).await?.into_model()?;
    /// # let _ = filter;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetTwinAsync")]
    pub async fn get_twin(
        &self,
        id: &TwinId,
        options: Option<GetTwinOptions<'_>>,
    ) -> Result<Response<Twin, TwinFormat>> {
        let options = options.unwrap_or_default();
        self.read_twin(id, &options.method_options.context).await
    }

    /// Reads the twin of a device or module, or `None` if there is no such device or module.
    ///
    /// # Errors
    ///
    /// As [`get_twin`](Self::get_twin), except for [`HubErrorCode::DeviceNotFound`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// if registry.try_get_twin(&"gateway/filter".parse()?, None).await?.is_none() {
    ///     println!("the gateway has no filter");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn try_get_twin(
        &self,
        id: &TwinId,
        options: Option<GetTwinOptions<'_>>,
    ) -> Result<Option<Response<Twin, TwinFormat>>> {
        match self.get_twin(id, options).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Merges changes into the tags and desired properties of a twin, and returns the whole twin.
    ///
    /// What the patch does not name stays, and null deletes; see [`TwinPatch`](iothub_core::models::TwinPatch). Any
    /// other value that serializes to an object with `tags` and `properties.desired` will do as well. The device sees
    /// new desired properties at once if it is connected, and when it connects if not.
    ///
    /// Without other options the changes are merged into whatever is there, so that two writers of different
    /// properties do not disturb each other. If what you write depends on what you have read, use
    /// [`modify_twin`](Self::modify_twin).
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::PreconditionFailed`] if the options name another version than the hub's.
    /// [`HubErrorCode::DeviceNotFound`] if there is no such device or module. [`HubErrorCode::ArgumentInvalid`] if the
    /// hub refuses a key or a value, or the twin would become too large. Without a request, if the patch has members
    /// but neither `tags` nor `properties`: a hub would ignore it and answer with success.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::TwinPatch;
    /// use serde_json::json;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let lamp = "lamp".parse()?;
    /// let patch = TwinPatch::new().set_tag("site", "x").set_desired("fan", json!({ "speed": 3 })).remove_tag("old");
    /// let twin = registry.update_twin(&lamp, &patch, None).await?.into_model()?;
    /// println!("desired properties are now in version {:?}", twin.desired().version());
    ///
    /// // The same as JSON, which can also empty a whole section.
    /// registry.update_twin(&lamp, &json!({ "tags": null, "properties": { "desired": { "on": true } } }), None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "UpdateTwinAsync")]
    #[doc(alias = "updateTwin")]
    pub async fn update_twin<P: Serialize + ?Sized>(
        &self,
        id: &TwinId,
        patch: &P,
        options: Option<UpdateTwinOptions<'_>>,
    ) -> Result<Response<Twin, TwinFormat>> {
        let options = options.unwrap_or_default();
        let json = written(patch)?;
        self.write_twin(
            Method::Patch,
            id,
            json,
            options.if_match.as_ref(),
            &options.method_options.context,
        )
        .await
    }

    /// Replaces the tags and desired properties of a twin as a whole, and returns the twin.
    ///
    /// What `content` leaves out is gone afterwards, whoever wrote it. So the condition is no option here:
    /// [`IfMatch::Tag`] with the tag of the twin that you have read, or [`IfMatch::Any`]. Reported properties belong to
    /// the device and stay.
    ///
    /// `content` is a [`TwinContent`](iothub_core::models::TwinContent), or any other value that serializes to an
    /// object with `tags` and `properties.desired`, such as a [`Twin`], of which the hub ignores all other members.
    ///
    /// # Errors
    ///
    /// As [`update_twin`](Self::update_twin).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::IfMatch;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let lamp = "lamp".parse()?;
    /// let twin = registry.get_twin(&lamp, None).await?.into_model()?;
    /// let content = twin.content()?.set_tag("site", "x");
    /// let as_read = twin.etag().map_or(IfMatch::Any, IfMatch::Tag);
    /// registry.replace_twin(&lamp, &content, as_read, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "ReplaceTwinAsync")]
    #[doc(alias = "replaceTwin")]
    pub async fn replace_twin<C: Serialize + ?Sized>(
        &self,
        id: &TwinId,
        content: &C,
        if_match: IfMatch,
        options: Option<ReplaceTwinOptions<'_>>,
    ) -> Result<Response<Twin, TwinFormat>> {
        let options = options.unwrap_or_default();
        let json = written(content)?;
        self.write_twin(Method::Put, id, json, Some(&if_match), &options.method_options.context)
            .await
    }

    /// Changes a twin by what it is: reads it, asks `change` for a patch, and merges that if nobody else has written in
    /// between.
    ///
    /// If somebody has, it begins again with the newer twin, so that of several writers none undoes what another one
    /// did. `change` may therefore be called more than once. An empty patch writes nothing. Returns the twin as it is
    /// in the end.
    ///
    /// # Errors
    ///
    /// What `change` returns. [`HubErrorCode::PreconditionFailed`] if others were faster each time; or if an answer
    /// was lost and the faster one may have been this call: then
    /// [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true, and the change is not made a second
    /// time. And as [`get_twin`](Self::get_twin) and [`update_twin`](Self::update_twin).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::TwinPatch;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let lamp = "lamp".parse()?;
    /// let twin = registry
    ///     .modify_twin(
    ///         &lamp,
    ///         |twin| {
    ///             let restarts: u64 = twin.tags().get("restarts")?.unwrap_or_default();
    ///             Ok(TwinPatch::new().set_tag("restarts", restarts + 1))
    ///         },
    ///         None,
    ///     )
    ///     .await?;
    /// println!("{:?} restarts", twin.tags().raw("restarts")?);
    /// # Ok(()) }
    /// ```
    pub async fn modify_twin<P: Serialize>(
        &self,
        id: &TwinId,
        mut change: impl FnMut(&Twin) -> Result<P>,
        options: Option<ModifyTwinOptions<'_>>,
    ) -> Result<Twin> {
        let options = options.unwrap_or_default();
        let context = &options.method_options.context;
        let mut rounds = race::rounds(options.rounds);
        loop {
            let twin = self.read_twin(id, context).await?.into_model()?;
            let patch = written(&change(&twin)?)?;
            if patch == b"{}" {
                return Ok(twin);
            }
            let as_read = IfMatch::Tag(twin.etag().ok_or_else(|| untagged(id))?);
            match self.write_twin(Method::Patch, id, patch, Some(&as_read), context).await {
                Err(error) if race::lost(&error) && rounds.next().is_some() => {}
                outcome => return outcome?.into_model(),
            }
        }
    }

    async fn read_twin(&self, id: &TwinId, context: &Context<'_>) -> Result<Response<Twin, TwinFormat>> {
        let request = self.twin_request(Method::Get, id)?;
        Ok(self.hub.send(context, request).await?.into())
    }

    async fn write_twin(
        &self,
        method: Method,
        id: &TwinId,
        json: Vec<u8>,
        if_match: Option<&IfMatch>,
        context: &Context<'_>,
    ) -> Result<Response<Twin, TwinFormat>> {
        let mut request = self
            .twin_request(method, id)?
            .body(json, "application/json; charset=utf-8");
        if let Some(condition) = if_match {
            request = request.if_match(condition)?;
        }
        Ok(self.hub.send(context, request).await?.into())
    }

    fn twin_request(&self, method: Method, id: &TwinId) -> Result<HubRequest> {
        let device = id.device().as_str();
        match id.module() {
            None => self.hub.request(method, &["twins", device]),
            Some(module) => self.hub.request(method, &["twins", device, "modules", module]),
        }
    }
}

/// The JSON of what is to be written. A hub takes out `tags` and `properties` and ignores the rest without a word.
fn written<T: Serialize + ?Sized>(content: &T) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(content)?;
    let members: BTreeMap<Cow<'_, str>, IgnoredAny> = serde_json::from_slice(&json).map_err(|_| shapeless())?;
    if members.is_empty() || members.contains_key("tags") || members.contains_key("properties") {
        Ok(json)
    } else {
        Err(shapeless())
    }
}

fn shapeless() -> Error {
    Error::with_message(
        ErrorKind::DataConversion,
        "this changes nothing of a twin: it takes an object with `tags` or `properties`, as in {\"tags\": {…}, \
         \"properties\": {\"desired\": {…}}}",
    )
}

fn is_missing(error: &Error) -> bool {
    HubError::of(error)
        .is_some_and(|hub| matches!(hub.code, HubErrorCode::DeviceNotFound | HubErrorCode::ModuleNotFound))
}

fn untagged(id: &TwinId) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!("the hub gave the twin of `{id}` without its etag, so it cannot be changed on condition")
    })
}

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_core::{
        CallFacts,
        models::{TwinContent, TwinPatch},
        testing::{HttpAnswer, ScriptedHttp},
    };
    use serde_json::json;

    use super::*;
    use crate::scripted::{body, code, refusal, registry};

    #[tokio::test]
    async fn a_twin_is_named_by_its_device_or_its_module() -> Result<()> {
        for (id, path) in [
            ("a%b?c", "/twins/a%25b%3Fc"),
            ("gate#1/f:2", "/twins/gate%231/modules/f%3A2"),
        ] {
            let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"x","etag":"AAE="}"#);
            let twin = registry(&http).get_twin(&id.parse()?, None).await?.into_model()?;
            assert_eq!(twin.etag(), Some("AAE=".into()));
            assert_eq!(http.seen(), [format!("GET {path}?api-version=2021-04-12")]);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_missing_twin_is_none_and_other_errors_are_errors() -> Result<()> {
        let missing = |code| refusal(StatusCode::NotFound, code);
        let http = ScriptedHttp::new(["DeviceNotFound", "ModuleNotFound", "IotHubFailingOver"].map(missing));
        let registry = registry(&http);
        let filter = "gateway/filter".parse()?;
        assert!(registry.try_get_twin(&filter, None).await?.is_none());
        assert!(registry.try_get_twin(&filter, None).await?.is_none());
        let error = registry.try_get_twin(&filter, None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::IotHubFailingOver));
        Ok(())
    }

    #[tokio::test]
    async fn a_patch_goes_out_as_it_is_on_the_condition_that_was_asked_for() -> Result<()> {
        for (if_match, expected) in [
            (None, None),
            (Some(IfMatch::Any), Some("*")),
            (Some(IfMatch::Tag("AAE=".into())), Some("\"AAE=\"")),
        ] {
            let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"lamp"}"#);
            let patch = TwinPatch::new().set_tag("site", "x").remove_desired("fan");
            let options = UpdateTwinOptions {
                if_match,
                ..UpdateTwinOptions::default()
            };
            registry(&http)
                .update_twin(&"lamp".parse()?, &patch, Some(options))
                .await?;
            assert_eq!(http.seen(), ["PATCH /twins/lamp?api-version=2021-04-12"]);
            assert_eq!(http.requests()[0].header("if-match"), expected);
            let content_type = http.requests()[0].header("content-type").map(str::to_owned);
            assert_eq!(content_type.as_deref(), Some("application/json; charset=utf-8"));
            let sent = json!({ "tags": { "site": "x" }, "properties": { "desired": { "fan": null } } });
            assert_eq!(body(&http, 0), sent);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_replacement_takes_the_place_of_the_whole() -> Result<()> {
        let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"gateway"}"#);
        let content = TwinContent::new().set_desired("speed", 3);
        let as_read = IfMatch::Tag("AAE=".into());
        registry(&http)
            .replace_twin(&"gateway/filter".parse()?, &content, as_read, None)
            .await?;
        assert_eq!(
            http.seen(),
            ["PUT /twins/gateway/modules/filter?api-version=2021-04-12"]
        );
        assert_eq!(http.requests()[0].header("if-match"), Some("\"AAE=\""));
        assert_eq!(body(&http, 0), json!({ "properties": { "desired": { "speed": 3 } } }));
        Ok(())
    }

    #[tokio::test]
    async fn what_a_hub_would_ignore_is_refused_without_a_request() -> Result<()> {
        let http = ScriptedHttp::default();
        let lamp = "lamp".parse()?;
        for patch in [
            json!({ "speed": 3 }),
            json!({ "desired": {} }),
            json!(null),
            json!([]),
            json!("x"),
        ] {
            let error = registry(&http).update_twin(&lamp, &patch, None).await.unwrap_err();
            assert!(
                error.to_string().contains("an object with `tags` or `properties`"),
                "{error}"
            );
        }
        assert!(http.seen().is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn a_modification_begins_again_when_somebody_was_faster() -> Result<()> {
        let stale = || refusal(StatusCode::PreconditionFailed, "PreconditionFailed");
        let http = ScriptedHttp::new([counted(1), stale(), counted(5), counted(6)]);
        let twin = registry(&http).modify_twin(&"lamp".parse()?, increment, None).await?;

        assert_eq!(twin.tags().get::<u32>("n")?, Some(6));
        let conditions: Vec<_> = http
            .requests()
            .iter()
            .map(|seen| seen.header("if-match").map(str::to_owned))
            .collect();
        assert_eq!(
            conditions,
            [None, Some("\"E1\"".to_owned()), None, Some("\"E5\"".to_owned())]
        );
        assert_eq!(body(&http, 1), json!({ "tags": { "n": 2 } }));
        assert_eq!(body(&http, 3), json!({ "tags": { "n": 6 } }));
        Ok(())
    }

    #[tokio::test]
    async fn a_modification_gives_up_after_its_rounds() -> Result<()> {
        let stale = || refusal(StatusCode::PreconditionFailed, "PreconditionFailed");
        let http = ScriptedHttp::new([counted(1), stale(), counted(2), stale()]);
        let twice = ModifyTwinOptions {
            rounds: Some(2),
            ..ModifyTwinOptions::default()
        };
        let changed = registry(&http)
            .modify_twin(&"lamp".parse()?, increment, Some(twice))
            .await;
        assert_eq!(code(&changed.unwrap_err()), Some(&HubErrorCode::PreconditionFailed));
        assert_eq!(http.requests().len(), 4);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_modification_that_may_have_been_made_is_not_made_twice() -> Result<()> {
        let stale = refusal(StatusCode::PreconditionFailed, "PreconditionFailed");
        let http = ScriptedHttp::new([counted(1), HttpAnswer::Lost, stale]);
        let error = registry(&http)
            .modify_twin(&"lamp".parse()?, increment, None)
            .await
            .unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::PreconditionFailed));
        assert!(CallFacts::of(&error).expect("it was tried").maybe_applied);
        Ok(())
    }

    #[tokio::test]
    async fn a_modification_that_changes_nothing_writes_nothing() -> Result<()> {
        let http = ScriptedHttp::new([counted(1)]);
        let twin = registry(&http)
            .modify_twin(&"lamp".parse()?, |_| Ok(TwinPatch::new()), None)
            .await?;
        assert_eq!(twin.tags().get::<u32>("n")?, Some(1));
        Ok(())
    }

    fn counted(n: u32) -> HttpAnswer {
        let twin = json!({ "deviceId": "lamp", "etag": format!("E{n}"), "tags": { "n": n } });
        HttpAnswer::new(StatusCode::Ok, twin.to_string())
    }

    fn increment(twin: &Twin) -> Result<TwinPatch> {
        let n = twin.tags().get::<u32>("n")?.unwrap_or_default();
        Ok(TwinPatch::new().set_tag("n", n + 1))
    }
}
