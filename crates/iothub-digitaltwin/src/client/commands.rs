use azure_core::http::Method;
use iothub_core::{Error, HubError, HubErrorCode, OperationClass, Result};

use super::DigitalTwinClient;
use crate::{Command, CommandResponse, DigitalTwinId, InvokeCommandOptions};

/// Commands.
impl DigitalTwinClient {
    /// Invokes a command on a device or module, and waits for its answer.
    ///
    /// The device has to be connected, or to connect within [`connect_timeout`](Command::connect_timeout). The status in
    /// the answer is the device's own, and payloads travel both ways as the JSON text that they are, byte for byte.
    ///
    /// A call that the device may have got is never repeated. It ends after the two timeouts of the command and ten
    /// seconds at the latest, or at the deadline of the client if that is later, unless
    /// [`CallLimits`](iothub_core::CallLimits) in its context say something else.
    ///
    /// # Errors
    ///
    /// - [`HubErrorCode::DeviceNotFound`]: there is no such device or module.
    /// - [`HubErrorCode::DeviceNotOnline`]: it is not connected, or listens to no methods. Nothing has run.
    /// - [`HubErrorCode::GatewayTimeout`]: it has not answered in time. Whether the command has run nobody knows, and
    ///   [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) says so.
    /// - [`HubErrorCode::IotHubUnauthorizedAccess`]: with Microsoft Entra ID, whatever the role. The message says what to
    ///   do instead.
    /// - Of kind `DataConversion`, before anything is sent: a timeout that no hub takes, or no name.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iothub_core::{HubError, HubErrorCode};
    /// use iothub_digitaltwin::{Command, DigitalTwinClient};
    /// use serde_json::json;
    ///
    /// # async fn example(twins: DigitalTwinClient) -> iothub_core::Result<()> {
    /// let reboot = Command::new("reboot").with_payload(json!(3)).with_response_timeout(Duration::from_secs(10));
    /// match twins.invoke_command(&"controller-3".parse()?, &reboot, None).await {
    ///     Ok(answer) => println!("{}", answer.status),
    ///     Err(error) if HubError::of(&error).is_some_and(|hub| hub.code == HubErrorCode::DeviceNotOnline) => {
    ///         println!("the controller is not there");
    ///     }
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "InvokeCommandAsync")]
    #[doc(alias = "InvokeComponentCommandAsync")]
    #[doc(alias = "invokeComponentCommand")]
    #[doc(alias = "invoke_component_command")]
    pub async fn invoke_command(
        &self,
        id: &DigitalTwinId,
        command: &Command,
        options: Option<InvokeCommandOptions<'_>>,
    ) -> Result<CommandResponse> {
        let options = options.unwrap_or_default();
        let timeouts = command.timeouts();
        let id = id.to_string();
        let path = match &command.component {
            None => vec!["digitaltwins", &id, "commands", &command.name],
            Some(component) => vec!["digitaltwins", &id, "components", component, "commands", &command.name],
        };
        let mut request = self
            .hub
            .request(Method::Post, &path)?
            .class(OperationClass::NonIdempotent)
            .head_timeout(timeouts.head_timeout()?);
        for (name, seconds) in timeouts.in_seconds() {
            request = request.query(name, &seconds.to_string());
        }
        if let Some(payload) = &command.payload {
            request = request.body(payload.as_str().to_owned(), "application/json; charset=utf-8");
        }
        let sent = self.hub.send(&options.method_options.context, request).await;
        let response = sent.map_err(|error| self.explained(error, command))?;
        CommandResponse::read(&response)
    }

    /// The same error. If it is the one for tokens of Entra, it also says what to do.
    fn explained(&self, error: Error, command: &Command) -> Error {
        let code = HubError::of(&error).map(|hub| &hub.code);
        if !self.shows_entra || code != Some(&HubErrorCode::IotHubUnauthorizedAccess) {
            return error;
        }
        let (kind, method) = (error.kind().clone(), command.method_name());
        let text = format!(
            "{error}; a hub refuses commands of digital twins to tokens of Microsoft Entra ID, whatever the role: show a \
             shared access key or signature, or invoke the direct method `{method}`, for which Entra is fine"
        );
        Error::with_error(kind, error, text)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use azure_core::{
        credentials::{AccessToken, TokenCredential, TokenRequestOptions},
        error::ErrorKind,
        http::{ClientMethodOptions, Context, StatusCode},
        time::OffsetDateTime,
    };
    use iothub_core::{
        CallFacts, CallLimits,
        models::JsonText,
        testing::{HttpAnswer, ScriptedHttp},
    };
    use tokio::time::Instant;

    use super::*;
    use crate::scripted::{twins, twins_of};

    /// What a device may send: spaces, zeros, digits and order are its own.
    const EXACT: &str = r#"{"z": 1.50, "a":[ 12345678901234567890123 ],"d":"2030-01-01T00:00:00.100+02:00"}"#;

    fn done(body: &str) -> HttpAnswer {
        HttpAnswer::new(StatusCode::Ok, body.to_owned())
            .with_header("x-ms-command-statuscode", "202")
            .with_header("x-ms-request-id", "5d0c0a57-6fd0-4b3c-9f6e-2f6f7f1f1a11")
    }

    fn refusal(status: StatusCode, code: u32, name: &str) -> HttpAnswer {
        let body =
            format!(r#"{{"Message":"{{\"errorCode\":{code},\"message\":\"for a test\"}}","ExceptionMessage":""}}"#);
        HttpAnswer::new(status, body).with_header("iothub-errorcode", name.to_owned())
    }

    async fn invoke(http: &ScriptedHttp, command: &Command) -> Result<CommandResponse> {
        twins(http).invoke_command(&"gate~f".parse()?, command, None).await
    }

    fn maybe_applied(error: &Error) -> bool {
        CallFacts::of(error).expect("facts").maybe_applied
    }

    #[tokio::test(start_paused = true)]
    async fn commands_of_the_root_and_of_components_are_invoked() -> Result<()> {
        let seconds = Duration::from_secs;
        for (command, path) in [
            (Command::new("reboot"), "/commands/reboot?api-version=2021-04-12"),
            (
                Command::new("a/b").on_component("x#1"),
                "/components/x%231/commands/a%2Fb?api-version=2021-04-12",
            ),
            (
                Command::new("reboot")
                    .with_connect_timeout(seconds(5))
                    .with_response_timeout(seconds(9)),
                "/commands/reboot?api-version=2021-04-12&connectTimeoutInSeconds=5&responseTimeoutInSeconds=9",
            ),
        ] {
            let http = ScriptedHttp::new([done("null")]);
            let answer = invoke(&http, &command).await?;
            assert_eq!((answer.status, answer.payload), (202, None));
            assert_eq!(
                answer.request_id.as_deref(),
                Some("5d0c0a57-6fd0-4b3c-9f6e-2f6f7f1f1a11")
            );
            assert_eq!(http.seen(), [format!("POST /digitaltwins/gate~f{path}")]);
            assert_eq!(http.requests()[0].body, "");
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn payloads_keep_every_byte() -> Result<()> {
        let http = ScriptedHttp::new([done(EXACT)]);
        let command = Command::new("run").with_payload(EXACT.parse::<JsonText>()?);
        let answer = invoke(&http, &command).await?;
        assert_eq!(answer.payload.as_ref().map(JsonText::as_str), Some(EXACT));
        let request = &http.requests()[0];
        assert_eq!(request.body, EXACT);
        assert_eq!(request.header("content-type"), Some("application/json; charset=utf-8"));
        assert!(!format!("{answer:?} {command:?}").contains("2030"));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_run_is_not_run_again() {
        for answer in [
            HttpAnswer::Lost,
            HttpAnswer::CutOff(StatusCode::Ok),
            HttpAnswer::new(StatusCode::InternalServerError, ""),
            HttpAnswer::new(StatusCode::Ok, ""),
            HttpAnswer::new(StatusCode::Ok, "").with_header("x-ms-command-statuscode", "fine"),
            done("{"),
            refusal(StatusCode::GatewayTimeout, 504_101, "GatewayTimeout"),
        ] {
            let http = ScriptedHttp::always(answer);
            let error = invoke(&http, &Command::new("run")).await.unwrap_err();
            assert_eq!(http.seen().len(), 1, "{error}");
            assert!(maybe_applied(&error), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_not_run_is_tried_again() -> Result<()> {
        let busy = refusal(StatusCode::TooManyRequests, 429_001, "ThrottlingException");
        let http = ScriptedHttp::new([HttpAnswer::Refused, busy, done("7")]);
        invoke(&http, &Command::new("run")).await?;
        assert_eq!(http.seen().len(), 3);
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_is_away_is_not_one_that_is_unknown() {
        for (number, name, expected) in [
            (404_103, "DeviceNotOnline", HubErrorCode::DeviceNotOnline),
            (404_001, "DeviceNotFound", HubErrorCode::DeviceNotFound),
        ] {
            let http = ScriptedHttp::new([refusal(StatusCode::NotFound, number, name)]);
            let error = invoke(&http, &Command::new("run")).await.unwrap_err();
            assert_eq!(HubError::of(&error).map(|hub| &hub.code), Some(&expected));
            assert!(!maybe_applied(&error));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_awaited_as_long_as_it_may_take_unless_the_call_says_otherwise() -> Result<()> {
        let slow = Command::new("run")
            .with_connect_timeout(Duration::from_secs(60))
            .with_response_timeout(Duration::from_secs(300));
        let soon = CallLimits {
            deadline: Some(Duration::from_secs(3)),
            ..CallLimits::default()
        };
        for (limits, expected) in [(CallLimits::default(), 370), (soon, 3)] {
            let options = InvokeCommandOptions {
                method_options: ClientMethodOptions {
                    context: Context::new().with_value(limits),
                },
            };
            let http = ScriptedHttp::always(HttpAnswer::Silence);
            let begin = Instant::now();
            let invoked = twins(&http)
                .invoke_command(&"lamp".parse()?, &slow, Some(options))
                .await;
            assert!(maybe_applied(&invoked.unwrap_err()));
            assert_eq!(begin.elapsed().as_secs(), expected);
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_no_hub_takes_is_not_sent() {
        for command in [
            Command::new(""),
            Command::new("run").on_component(""),
            Command::new("run").with_response_timeout(Duration::from_secs(4)),
            Command::new("run").with_connect_timeout(Duration::from_secs(31)),
        ] {
            let http = ScriptedHttp::default();
            let error = invoke(&http, &command).await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::DataConversion);
            assert!(http.seen().is_empty());
        }
    }

    #[derive(Debug)]
    struct Token;

    #[async_trait::async_trait]
    impl TokenCredential for Token {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> Result<AccessToken> {
            Ok(AccessToken::new(
                "token",
                OffsetDateTime::now_utc() + Duration::from_secs(3600),
            ))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_entra_says_what_to_do() -> Result<()> {
        let refused = || refusal(StatusCode::Unauthorized, 401_002, "IotHubUnauthorizedAccess");
        let command = Command::new("run").on_component("part");

        let http = ScriptedHttp::always(refused());
        let entra = twins_of(Arc::new(Token), &http);
        let error = entra
            .invoke_command(&"lamp".parse()?, &command, None)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("Entra") && text.contains("shared access key"), "{text}");
        assert!(text.contains("`part*run`"), "{text}");
        let code = HubError::of(&error).map(|hub| &hub.code);
        assert_eq!(code, Some(&HubErrorCode::IotHubUnauthorizedAccess));
        assert!(!maybe_applied(&error));
        assert!(matches!(
            error.kind(),
            ErrorKind::HttpResponse {
                status: StatusCode::Unauthorized,
                ..
            }
        ));

        let http = ScriptedHttp::always(refused());
        let error = invoke(&http, &command).await.unwrap_err().to_string();
        assert!(!error.contains("Entra"), "{error}");
        Ok(())
    }
}
