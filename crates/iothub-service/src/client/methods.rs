use std::time::Duration;

use azure_core::{
    Error,
    error::ErrorKind,
    http::{Method, Response},
};
use iothub_core::{
    MethodTimeouts, OperationClass, Result,
    models::{DirectMethodRequest, DirectMethodResponse},
};

use super::ServiceClient;
use crate::{InvokeMethodOptions, Target};

/// Direct methods.
impl ServiceClient {
    /// Invokes a method on a device or module, and waits for its answer.
    ///
    /// The device has to be connected, or to connect within
    /// [`connect_timeout`](DirectMethodRequest::connect_timeout). The status in the answer is the device's own, and
    /// payloads travel both ways as the JSON text that they are, byte for byte.
    ///
    /// A call that the device may have got is never repeated. It ends after the two timeouts of the request and ten
    /// seconds at the latest, or at the deadline of the client if that is later, unless
    /// [`CallLimits`](iothub_core::CallLimits) in its context say something else.
    ///
    /// # Errors
    ///
    /// - [`HubErrorCode::DeviceNotFound`](iothub_core::HubErrorCode::DeviceNotFound) and
    ///   [`ModuleNotFound`](iothub_core::HubErrorCode::ModuleNotFound): the registry has none by this name.
    /// - [`HubErrorCode::DeviceNotOnline`](iothub_core::HubErrorCode::DeviceNotOnline): it is not connected, or listens to
    ///   no methods. Nothing has run.
    /// - [`HubErrorCode::GatewayTimeout`](iothub_core::HubErrorCode::GatewayTimeout): it has not answered in time. Whether
    ///   the method has run nobody knows, and [`CallFacts::maybe_applied`](iothub_core::CallFacts::maybe_applied) says so.
    /// - [`ErrorKind::DataConversion`], before anything is sent: a timeout that no hub takes, or no name.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use iothub_core::{HubError, HubErrorCode, models::DirectMethodRequest};
    /// use iothub_service::{ServiceClient, Target};
    /// use serde_json::json;
    ///
    /// # async fn example(service: ServiceClient, lamp: Target) -> iothub_core::Result<()> {
    /// let dim = DirectMethodRequest::new("dim")
    ///     .with_payload(json!({ "percent": 30 }))
    ///     .with_response_timeout(Duration::from_secs(10));
    /// match service.invoke_method(&lamp, &dim, None).await {
    ///     Ok(response) => {
    ///         let answer = response.into_model()?;
    ///         println!("{}: {}", answer.status, answer.payload.as_ref().map_or("nothing", |json| json.as_str()));
    ///     }
    ///     Err(error) if HubError::of(&error).is_some_and(|hub| hub.code == HubErrorCode::DeviceNotOnline) => {
    ///         println!("the lamp is not there");
    ///     }
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "InvokeDeviceMethodAsync")]
    #[doc(alias = "invokeDeviceMethod")]
    pub async fn invoke_method(
        &self,
        target: &Target,
        method: &DirectMethodRequest,
        options: Option<InvokeMethodOptions<'_>>,
    ) -> Result<Response<DirectMethodResponse>> {
        let options = options.unwrap_or_default();
        let head_timeout = check(method)?;
        let hub = self.http()?;
        let path = match target {
            Target::Device(device) => vec!["twins", device.as_str(), "methods"],
            Target::Module(id) => vec!["twins", id.device().as_str(), "modules", id.module(), "methods"],
        };
        let request = hub
            .request(Method::Post, &path)?
            .class(OperationClass::NonIdempotent)
            .head_timeout(head_timeout)
            .json(method)?;
        let response = hub.send(&options.method_options.context, request).await?;
        Ok(response.into())
    }
}

/// How long the answer may take to begin, if a hub takes the request at all.
fn check(method: &DirectMethodRequest) -> Result<Duration> {
    let length = method.method_name.chars().count();
    if !(1..=MAX_NAME).contains(&length) {
        let text = format!("the name of a method has 1 to {MAX_NAME} characters, and this one has {length}");
        return Err(Error::with_message(ErrorKind::DataConversion, text));
    }
    let timeouts = MethodTimeouts {
        connect: method.connect_timeout,
        response: method.response_timeout,
    };
    timeouts.head_timeout()
}

/// What Microsoft's documentation of direct methods allows.
const MAX_NAME: usize = 128;
