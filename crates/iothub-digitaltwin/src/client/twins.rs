use azure_core::http::Method;
use iothub_core::Result;

use super::DigitalTwinClient;
use crate::{
    DigitalTwin, DigitalTwinId, GetDigitalTwinOptions, JsonPatch, UpdateDigitalTwinOptions, UpdatedDigitalTwin,
};

/// Digital twins.
impl DigitalTwinClient {
    /// Reads the digital twin of a device or module.
    ///
    /// Every device has one; the model in it is `None` until the device has named one.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::DeviceNotFound`](iothub_core::HubErrorCode::DeviceNotFound) if there is no such device or module.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_digitaltwin::{DigitalTwinClient, models::BasicDigitalTwin};
    ///
    /// # async fn example(twins: DigitalTwinClient) -> iothub_core::Result<()> {
    /// let twin = twins.get_digital_twin(&"gateway~filter".parse()?, None).await?;
    /// println!("{}", twin.as_str());
    /// for (name, property) in twin.parse::<BasicDigitalTwin>()?.metadata.properties {
    ///     println!("{name}: reported {:?}, wanted {:?}", property.last_update_time, property.desired_value);
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "GetDigitalTwinAsync")]
    #[doc(alias = "getDigitalTwin")]
    pub async fn get_digital_twin(
        &self,
        id: &DigitalTwinId,
        options: Option<GetDigitalTwinOptions<'_>>,
    ) -> Result<DigitalTwin> {
        let options = options.unwrap_or_default();
        let request = self.hub.request(Method::Get, &["digitaltwins", &id.to_string()])?;
        let response = self.hub.send(&options.method_options.context, request).await?;
        DigitalTwin::read(&response)
    }

    /// Asks for changes to the properties of a device or module.
    ///
    /// The hub writes down what is wanted, and tells the device at once if it is connected, and when it connects if not.
    /// The values in the digital twin are those that the device reports, and change when it has.
    ///
    /// Without other options the changes are made to whatever is there.
    ///
    /// # Errors
    ///
    /// [`HubErrorCode::PreconditionFailed`](iothub_core::HubErrorCode::PreconditionFailed) if the options name another
    /// version than the hub's. [`HubErrorCode::DeviceNotFound`](iothub_core::HubErrorCode::DeviceNotFound) if there is no
    /// such device or module. A code that begins with `InvalidDigitalTwin`, or
    /// [`HubErrorCode::ArgumentInvalid`](iothub_core::HubErrorCode::ArgumentInvalid), if the hub refuses a name, a value,
    /// or a component where it has a property. Without a request, if the patch is empty or a path leads nowhere.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use iothub_digitaltwin::{DigitalTwinClient, IfMatch, JsonPatch, UpdateDigitalTwinOptions};
    ///
    /// # async fn example(twins: DigitalTwinClient) -> iothub_core::Result<()> {
    /// let id = "controller-3".parse()?;
    /// let twin = twins.get_digital_twin(&id, None).await?;
    /// let patch = JsonPatch::new().add("/thermostat1/targetTemperature", 21.5);
    /// let as_read = UpdateDigitalTwinOptions {
    ///     if_match: twin.etag.map(IfMatch::Tag),
    ///     ..UpdateDigitalTwinOptions::default()
    /// };
    /// let updated = twins.update_digital_twin(&id, &patch, Some(as_read)).await?;
    /// println!("now it is version {:?}", updated.etag);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "UpdateDigitalTwinAsync")]
    #[doc(alias = "updateDigitalTwin")]
    pub async fn update_digital_twin(
        &self,
        id: &DigitalTwinId,
        patch: &JsonPatch,
        options: Option<UpdateDigitalTwinOptions<'_>>,
    ) -> Result<UpdatedDigitalTwin> {
        let options = options.unwrap_or_default();
        patch.check()?;
        let mut request = self
            .hub
            .request(Method::Patch, &["digitaltwins", &id.to_string()])?
            .json(patch)?;
        if let Some(condition) = &options.if_match {
            request = request.if_match(condition)?;
        }
        let response = self.hub.send(&options.method_options.context, request).await?;
        Ok(UpdatedDigitalTwin::read(&response))
    }
}

#[cfg(test)]
mod tests {
    use azure_core::{error::ErrorKind, http::StatusCode};
    use iothub_core::{
        HubError, HubErrorCode, IfMatch,
        testing::{HttpAnswer, ScriptedHttp},
    };

    use super::*;
    use crate::{DigitalTwinClientOptions, models::BasicDigitalTwin, scripted::twins};

    const TWIN: &str = r#"{"$dtId":"gate~f","$metadata":{"$model":"dtmi:x;1"},"level": 1.50}"#;

    #[tokio::test]
    async fn a_digital_twin_is_kept_as_the_hub_wrote_it() -> Result<()> {
        for (id, path) in [
            ("a%b?c", "/digitaltwins/a%25b%3Fc"),
            ("gate#1~f:2", "/digitaltwins/gate%231~f%3A2"),
        ] {
            let answer = HttpAnswer::new(StatusCode::Ok, TWIN).with_header("etag", "\"AAAAAAAAAAM=\"");
            let http = ScriptedHttp::new([answer]);
            let twin = twins(&http).get_digital_twin(&id.parse()?, None).await?;
            assert_eq!(twin.as_str(), TWIN);
            assert_eq!(twin.etag, Some("\"AAAAAAAAAAM=\"".into()));
            assert_eq!(twin.parse::<BasicDigitalTwin>()?.get("level")?, Some(1.5));
            assert_eq!(http.seen(), [format!("GET {path}?api-version=2021-04-12")]);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_patch_is_an_array_of_operations() -> Result<()> {
        let answer = HttpAnswer::new(StatusCode::Accepted, "")
            .with_header("etag", "\"AAAAAAAAAAQ=\"")
            .with_header("location", "/digitaltwins/lamp");
        let http = ScriptedHttp::new([answer]);
        let options = UpdateDigitalTwinOptions {
            if_match: Some(IfMatch::Tag("AAAAAAAAAAM=".into())),
            ..Default::default()
        };
        let patch = JsonPatch::new().add("/level", 7).remove("/part/old");
        let updated = twins(&http)
            .update_digital_twin(&"lamp".parse()?, &patch, Some(options))
            .await?;
        assert_eq!(updated.etag, Some("\"AAAAAAAAAAQ=\"".into()));
        assert_eq!(updated.location.as_deref(), Some("/digitaltwins/lamp"));
        assert_eq!(http.seen(), ["PATCH /digitaltwins/lamp?api-version=2021-04-12"]);
        let request = &http.requests()[0];
        let expected = r#"[{"op":"add","path":"/level","value":7},{"op":"remove","path":"/part/old"}]"#;
        assert_eq!(request.body, expected);
        assert_eq!(request.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(request.header("if-match"), Some("\"AAAAAAAAAAM=\""));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_patch_sets_values_and_so_may_be_sent_again() -> Result<()> {
        let http = ScriptedHttp::new([HttpAnswer::Lost, HttpAnswer::new(StatusCode::Accepted, "")]);
        let patch = JsonPatch::new().add("/level", 7);
        let updated = twins(&http).update_digital_twin(&"lamp".parse()?, &patch, None).await?;
        assert_eq!((updated.etag, updated.location), (None, None));
        assert_eq!(http.seen().len(), 2);
        assert_eq!(http.requests()[0].header("if-match"), None);
        Ok(())
    }

    #[tokio::test]
    async fn what_no_hub_takes_is_not_sent() -> Result<()> {
        let http = ScriptedHttp::default();
        let error = twins(&http)
            .update_digital_twin(&"lamp".parse()?, &JsonPatch::new().add("level", 7), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::DataConversion);
        assert!(http.seen().is_empty());
        Ok(())
    }

    #[tokio::test]
    async fn refusals_have_the_hubs_code() -> Result<()> {
        let body = r#"{"Message":"ErrorCode:InvalidDigitalTwinPatchPath;text","ExceptionMessage":""}"#;
        let http = ScriptedHttp::answering(StatusCode::BadRequest, body);
        let patch = JsonPatch::new().add("/1", 7);
        let error = twins(&http)
            .update_digital_twin(&"lamp".parse()?, &patch, None)
            .await
            .unwrap_err();
        let code = HubError::of(&error).map(|hub| &hub.code);
        assert_eq!(code, Some(&HubErrorCode::InvalidDigitalTwinPatchPath));
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_that_is_no_twin_is_an_error() -> Result<()> {
        for answer in [b"<html>".to_vec(), b"\xff".to_vec()] {
            let http = ScriptedHttp::answering(StatusCode::Ok, answer);
            let error = twins(&http).get_digital_twin(&"lamp".parse()?, None).await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::DataConversion);
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_client_speaks_the_version_that_it_was_made_with() -> Result<()> {
        let http = ScriptedHttp::answering(StatusCode::Ok, TWIN);
        let options = DigitalTwinClientOptions {
            api_version: Some("2020-09-30".to_owned()),
            client_options: http.client_options(),
            ..Default::default()
        };
        let text = "HostName=hub.example;SharedAccessKeyName=service;SharedAccessKey=bm90LWEta2V5LWp1c3QtYS10ZXN0";
        let twins = DigitalTwinClient::from_connection_string(text, Some(options))?;
        twins.get_digital_twin(&"lamp".parse()?, None).await?;
        assert_eq!(http.seen(), ["GET /digitaltwins/lamp?api-version=2020-09-30"]);
        Ok(())
    }
}
