use azure_core::{
    error::ErrorKind,
    http::{Method, Response},
};
use iothub_core::{DeviceId, Error, HubError, HubErrorCode, IfMatch, Result, models::Device};

use super::{RegistryClient, race};
use crate::{CreateDeviceOptions, DeleteDeviceOptions, GetDeviceOptions, ModifyDeviceOptions, UpdateDeviceOptions};

/// Device identities.
impl RegistryClient {
    /// Adds a device, and its twin with it.
    ///
    /// Without keys or a certificate the device gets keys from the hub; they are in the answer.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceAlreadyExists`] if a device has this id, possibly from an earlier try of this call: then
    /// [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true.
    /// [`HubErrorCode::ArgumentInvalid`] if the hub refuses a member.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::{Authentication, Device};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let lamp = registry.create_device(&Device::new("lamp".parse()?), None).await?.into_model()?;
    /// if let Authentication::Keys(keys) = &lamp.authentication {
    ///     println!("the lamp connects with a key of {} letters", keys.primary_key.secret().len());
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "AddDeviceAsync")]
    #[doc(alias = "addDevice")]
    pub async fn create_device(
        &self,
        device: &Device,
        options: Option<CreateDeviceOptions<'_>>,
    ) -> Result<Response<Device>> {
        let options = options.unwrap_or_default();
        let request = self
            .hub
            .request(Method::Put, &["devices", device.device_id.as_str()])?
            .json(device)?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads one device identity.
    ///
    /// This is the registry's record: keys, status, last activity. Tags and properties are in the device's twin.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceNotFound`] if no device has this id; [`try_get_device`](Self::try_get_device) makes that
    /// a `None`.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let lamp = registry.get_device(&"lamp".parse()?, None).await?.into_model()?;
    /// println!("last seen {:?}", lamp.last_activity_time);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetDeviceAsync")]
    pub async fn get_device(&self, id: &DeviceId, options: Option<GetDeviceOptions<'_>>) -> Result<Response<Device>> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["devices", id.as_str()])?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads one device identity, or `None` if no device has this id.
    ///
    /// # Errors
    ///
    /// As [`get_device`](Self::get_device), except for [`HubErrorCode::DeviceNotFound`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// if registry.try_get_device(&"lamp".parse()?, None).await?.is_none() {
    ///     println!("there is no lamp");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn try_get_device(
        &self,
        id: &DeviceId,
        options: Option<GetDeviceOptions<'_>>,
    ) -> Result<Option<Response<Device>>> {
        match self.get_device(id, options).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a device identity.
    ///
    /// The record is replaced as a whole: read it, change it, send it back. Without other options it takes place only
    /// if nobody else has written in between. An identity with
    /// [`Authentication::GeneratedKeys`](iothub_core::models::Authentication::GeneratedKeys) gets new keys.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::PreconditionFailed`] if somebody else was faster: read again and decide again.
    /// [`HubErrorCode::DeviceNotFound`] if no device has this id. Without a request, if the identity has no tag and the
    /// options say nothing about it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::{IfMatch, UpdateDeviceOptions, models::DeviceStatus};
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// let mut lamp = registry.get_device(&"lamp".parse()?, None).await?.into_model()?;
    /// lamp.status = DeviceStatus::Disabled;
    /// lamp.status_reason = Some("sold".to_owned());
    /// let lamp = registry.update_device(&lamp, None).await?.into_model()?;
    ///
    /// // The same whatever others have written.
    /// let anyway = UpdateDeviceOptions { if_match: Some(IfMatch::Any), ..Default::default() };
    /// registry.update_device(&lamp, Some(anyway)).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "UpdateDeviceAsync")]
    pub async fn update_device(
        &self,
        device: &Device,
        options: Option<UpdateDeviceOptions<'_>>,
    ) -> Result<Response<Device>> {
        let options = options.unwrap_or_default();
        let as_read = || device.etag.clone().map(IfMatch::Tag);
        let condition = options.if_match.or_else(as_read).ok_or_else(|| untagged(device))?;
        let request = self
            .hub
            .request(Method::Put, &["devices", device.device_id.as_str()])?
            .if_match(&condition)?
            .json(device)?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }

    /// Reads a device identity, has it changed, and writes it if nobody else has written in between; otherwise it begins
    /// again.
    ///
    /// If `change` changes nothing, nothing is written. It is called once for each round, with what is stored then, so
    /// it should do nothing that cannot be done twice. After ten rounds, or as many as the options say, the last refusal is returned. So it is if a try of the
    /// write got no answer and the next one finds the identity changed: nobody knows who changed it.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::PreconditionFailed`] if others were faster each time. [`HubErrorCode::DeviceNotFound`] if no
    /// device has this id. Without a write, if `change` makes it another device.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_registry::models::Authentication;
    ///
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// // The keys change places, so that the one in use can be renewed as the secondary one.
    /// let swap = |lamp: &mut iothub_registry::models::Device| {
    ///     if let Authentication::Keys(keys) = &mut lamp.authentication {
    ///         std::mem::swap(&mut keys.primary_key, &mut keys.secondary_key);
    ///     }
    /// };
    /// registry.modify_device(&"lamp".parse()?, swap, None).await?;
    /// # Ok(()) }
    /// ```
    pub async fn modify_device(
        &self,
        id: &DeviceId,
        mut change: impl FnMut(&mut Device),
        options: Option<ModifyDeviceOptions<'_>>,
    ) -> Result<Device> {
        let ModifyDeviceOptions { rounds, method_options } = options.unwrap_or_default();
        let mut rounds = race::rounds(rounds);
        loop {
            let read = GetDeviceOptions {
                method_options: method_options.clone(),
            };
            let stored = self.get_device(id, Some(read)).await?.into_model()?;
            let mut device = stored.clone();
            change(&mut device);
            device.etag.clone_from(&stored.etag);
            if device == stored {
                return Ok(stored);
            }
            if device.device_id != *id {
                return Err(race::renamed("device", id, &device.device_id));
            }
            let write = UpdateDeviceOptions {
                if_match: None,
                method_options: method_options.clone(),
            };
            match self.update_device(&device, Some(write)).await {
                Err(error) if race::lost(&error) && rounds.next().is_some() => {}
                outcome => return outcome?.into_model(),
            }
        }
    }

    /// Deletes a device identity, and with it the twin, the modules and the messages that wait for the device.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceNotFound`] if no device has this id, possibly because an earlier try of this call has
    /// deleted it: then [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) is true.
    /// [`HubErrorCode::PreconditionFailed`] if the options name another version than the hub's.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(registry: iothub_registry::RegistryClient) -> iothub_core::Result<()> {
    /// registry.delete_device(&"lamp".parse()?, None).await?;
    /// # Ok(()) }
    /// ```
    #[doc(alias = "RemoveDeviceAsync")]
    #[doc(alias = "removeDevice")]
    pub async fn delete_device(&self, id: &DeviceId, options: Option<DeleteDeviceOptions<'_>>) -> Result<()> {
        let options = options.unwrap_or_default();
        // The hub refuses a delete without a condition.
        let condition = options.if_match.unwrap_or(IfMatch::Any);
        let request = self
            .hub
            .request(Method::Delete, &["devices", id.as_str()])?
            .if_match(&condition)?;
        self.hub.send(&options.method_options.context, request).await?;
        Ok(())
    }
}

fn is_missing(error: &Error) -> bool {
    HubError::of(error).is_some_and(|hub| hub.code == HubErrorCode::DeviceNotFound)
}

pub(super) fn untagged(device: &Device) -> Error {
    Error::with_message_fn(ErrorKind::DataConversion, || {
        format!(
            "the identity of device `{}` has no etag: read it from the hub first, or overwrite whatever is there with \
             IfMatch::Any",
            device.device_id
        )
    })
}

#[cfg(test)]
mod tests {
    use azure_core::http::StatusCode;
    use iothub_auth::SharedAccessKey;
    use iothub_core::{
        CallFacts,
        models::DeviceStatus,
        testing::{HttpAnswer, ScriptedHttp},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::RegistryClientOptions;

    #[tokio::test]
    async fn get_device_escapes_the_id() -> Result<()> {
        let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"a%b?c"}"#);
        let device = registry(&http)
            .get_device(&"a%b?c".parse()?, None)
            .await?
            .into_model()?;
        assert_eq!(device.device_id, "a%b?c");
        assert_eq!(http.seen(), ["GET /devices/a%25b%3Fc?api-version=2021-04-12"]);
        Ok(())
    }

    #[tokio::test]
    async fn create_device_has_no_condition_and_lets_the_hub_make_the_keys() -> Result<()> {
        let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"lamp","etag":"MQ=="}"#);
        let lamp = Device::new("lamp".parse()?).with_status(DeviceStatus::Disabled);
        let created = registry(&http).create_device(&lamp, None).await?.into_model()?;

        assert_eq!(created.etag, Some("MQ==".into()));
        assert_eq!(http.seen(), ["PUT /devices/lamp?api-version=2021-04-12"]);
        let seen = &http.requests()[0];
        assert_eq!(seen.header("if-match"), None);
        assert_eq!(seen.header("content-type"), Some("application/json; charset=utf-8"));
        let sent: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(
            (&sent["deviceId"], &sent["status"]),
            (&json!("lamp"), &json!("disabled"))
        );
        assert_eq!(sent["authentication"], json!({ "type": "sas" }));
        Ok(())
    }

    #[tokio::test]
    async fn update_device_replaces_what_was_read_unless_told_otherwise() -> Result<()> {
        for (if_match, expected) in [
            (None, "\"MQ==\""),
            (Some(IfMatch::Any), "*"),
            (Some(IfMatch::Tag("Mg==".into())), "\"Mg==\""),
        ] {
            let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"lamp"}"#);
            let options = UpdateDeviceOptions {
                if_match,
                ..UpdateDeviceOptions::default()
            };
            registry(&http).update_device(&read_lamp(), Some(options)).await?;
            assert_eq!(http.seen(), ["PUT /devices/lamp?api-version=2021-04-12"]);
            assert_eq!(http.requests()[0].header("if-match"), Some(expected));
        }
        Ok(())
    }

    #[tokio::test]
    async fn update_device_does_not_overwrite_by_accident() -> Result<()> {
        let http = ScriptedHttp::default();
        let lamp = Device::new("lamp".parse()?);
        let error = registry(&http).update_device(&lamp, None).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the identity of device `lamp` has no etag"),
            "{error}"
        );
        assert!(http.seen().is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn delete_device_always_has_a_condition() -> Result<()> {
        for (if_match, expected) in [(None, "*"), (Some(IfMatch::Tag("MQ==".into())), "\"MQ==\"")] {
            let http = ScriptedHttp::answering(StatusCode::NoContent, "");
            let options = DeleteDeviceOptions {
                if_match,
                ..DeleteDeviceOptions::default()
            };
            registry(&http).delete_device(&"lamp".parse()?, Some(options)).await?;
            assert_eq!(http.seen(), ["DELETE /devices/lamp?api-version=2021-04-12"]);
            assert_eq!(http.requests()[0].header("if-match"), Some(expected));
        }
        Ok(())
    }

    #[tokio::test]
    async fn try_get_device_is_none_for_a_missing_device_only() -> Result<()> {
        let missing = || refusal(StatusCode::NotFound, "DeviceNotFound");
        let http = ScriptedHttp::new([missing(), missing(), refusal(StatusCode::NotFound, "IotHubFailingOver")]);
        let registry = registry(&http);
        let lamp = "lamp".parse()?;

        assert!(registry.try_get_device(&lamp, None).await?.is_none());
        let error = registry.get_device(&lamp, None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::DeviceNotFound));
        let error = registry.try_get_device(&lamp, None).await.unwrap_err();
        assert_eq!(code(&error), Some(&HubErrorCode::IotHubFailingOver));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_exists_after_a_lost_answer_may_be_ours() -> Result<()> {
        let exists = refusal(StatusCode::Conflict, "DeviceAlreadyExists");
        let http = ScriptedHttp::new([HttpAnswer::Lost, exists]);
        let error = registry(&http)
            .create_device(&Device::new("lamp".parse()?), None)
            .await
            .unwrap_err();

        assert_eq!(code(&error), Some(&HubErrorCode::DeviceAlreadyExists));
        let facts = CallFacts::of(&error).expect("it was tried");
        assert_eq!((facts.attempts, facts.maybe_applied), (2, true));
        Ok(())
    }

    #[tokio::test]
    async fn requests_are_signed_and_nothing_prints_the_key() -> Result<()> {
        let http = ScriptedHttp::answering(StatusCode::Ok, r#"{"deviceId":"lamp"}"#);
        let registry = registry(&http);
        registry.get_device(&"lamp".parse()?, None).await?;

        let authorization = http.requests()[0]
            .header("authorization")
            .unwrap_or_default()
            .to_owned();
        assert!(
            authorization.starts_with("SharedAccessSignature sr=hub.example&sig="),
            "{authorization}"
        );
        let printed = format!("{registry:?}");
        assert!(!printed.contains(KEY) && !printed.contains("sig="), "{printed}");
        Ok(())
    }

    #[test]
    fn a_connection_string_names_hub_and_key() {
        let text = format!("HostName=hub.example;SharedAccessKeyName=owner;SharedAccessKey={KEY}");
        let http = ScriptedHttp::default();
        RegistryClient::from_connection_string(&text, Some(options(&http))).unwrap();
        let error = RegistryClient::from_connection_string("HostName=hub.example", Some(options(&http))).unwrap_err();
        assert!(error.to_string().contains("SharedAccessKey is missing"), "{error}");
    }

    #[cfg(not(feature = "hyper"))]
    #[test]
    fn without_a_transport_there_is_a_clear_error() {
        let error = RegistryClient::new("hub.example".parse().unwrap(), key(), None).unwrap_err();
        assert!(error.to_string().contains("enable the feature `hyper`"), "{error}");
    }

    fn registry(http: &ScriptedHttp) -> RegistryClient {
        RegistryClient::new("hub.example".parse().unwrap(), key(), Some(options(http))).unwrap()
    }

    fn options(http: &ScriptedHttp) -> RegistryClientOptions {
        RegistryClientOptions {
            client_options: http.client_options(),
            ..RegistryClientOptions::default()
        }
    }

    fn key() -> SharedAccessKey {
        SharedAccessKey::new("owner", KEY).unwrap()
    }

    fn read_lamp() -> Device {
        serde_json::from_value(json!({ "deviceId": "lamp", "etag": "MQ==" })).unwrap()
    }

    fn refusal(status: StatusCode, code: &'static str) -> HttpAnswer {
        HttpAnswer::new(status, "").with_header("iothub-errorcode", code)
    }

    fn code(error: &Error) -> Option<&HubErrorCode> {
        HubError::of(error).map(|hub| &hub.code)
    }

    const KEY: &str = "bm90LWEtcmVhbC1rZXktanVzdC1mb3ItdGhlLXRlc3Q=";
}
