use http::StatusCode;
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};
use uuid::Uuid;

/// Why Entra gives no token: an error of OAuth 2.0 (RFC 6749 section 5.2) with a code of Entra's own.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    error: &'static str,
    code: u32,
    message: String,
}

impl Refusal {
    /// The client could not say who it is.
    pub(crate) fn invalid_client(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", code, message)
    }

    pub(crate) fn invalid_request(code: u32, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", code, message)
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        let message = format!("The request body must contain the following parameter: '{parameter}'.");
        Self::invalid_request(900_144, message)
    }

    pub(crate) fn unknown_tenant(tenant: &str) -> Self {
        let message = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud."
        );
        Self::invalid_request(90_002, message)
    }

    pub(crate) fn new(status: StatusCode, error: &'static str, code: u32, message: impl Into<String>) -> Self {
        Self {
            status,
            error,
            code,
            message: message.into(),
        }
    }

    /// The body. `correlation` is what the client sent to find its request again.
    pub(crate) fn to_json(&self, now: OffsetDateTime, correlation: Option<&str>) -> Value {
        let trace = Uuid::new_v4().to_string();
        let correlation = correlation.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        let timestamp = now.format(format).unwrap_or_default();
        let (code, message) = (self.code, &self.message);
        json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{code}: {message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"
            ),
            "error_codes": [code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_body_has_the_form_that_clients_parse() {
        let refusal = Refusal::invalid_client(7_000_215, "Invalid client secret provided.");
        let body = refusal.to_json(
            datetime!(2022-06-18 03:16:39 UTC),
            Some("54752956-bf4f-48f1-b808-6ecae2522f59"),
        );
        let trace = body["trace_id"].as_str().unwrap();
        assert_eq!(body["error"], "invalid_client");
        assert_eq!(body["error_codes"], json!([7_000_215]));
        assert_eq!(
            body["error_description"],
            format!(
                "AADSTS7000215: Invalid client secret provided. Trace ID: {trace} Correlation ID: \
                 54752956-bf4f-48f1-b808-6ecae2522f59 Timestamp: 2022-06-18 03:16:39Z"
            )
        );
    }
}
