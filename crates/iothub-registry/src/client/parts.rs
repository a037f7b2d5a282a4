use azure_core::{
    error::ErrorKind,
    http::{Context, RawResponse, StatusCode},
};
use iothub_core::{CallFacts, CallReport, Error, HubPipeline, HubRequest, Result};
use serde::de::DeserializeOwned;

/// The answer to a call that does several things, of which some may fail: then it comes with the status 400, in the
/// same shape as otherwise.
pub(super) trait InParts: DeserializeOwned {
    /// Whether a refusal has this shape because the parts were tried, and not because every object has it.
    fn is_about_parts(&self) -> bool;
}

/// Sends the call and returns what became of its parts, and how often it was tried.
pub(super) async fn send<T: InParts>(hub: &HubPipeline, ctx: &Context<'_>, request: HubRequest) -> Result<(T, u32)> {
    // A report of the caller's own is filled in, too.
    let report: CallReport = ctx.value().cloned().unwrap_or_default();
    let ctx = ctx.to_borrowed().with_value(report.clone());
    let outcome = hub.send(&ctx, request).await;
    let facts = report.facts().unwrap_or_default();
    let answer = match outcome {
        // A call that went through and whose answer nobody can read has been carried out.
        Ok(response) => read(&response).map_err(|error| {
            let facts = CallFacts {
                maybe_applied: true,
                ..facts
            };
            facts.attach(error)
        }),
        Err(error) => partial_failure(&error).ok_or(error),
    };
    Ok((answer?, facts.attempts))
}

fn read<T: InParts>(response: &RawResponse) -> Result<T> {
    serde_json::from_slice(response.body()).map_err(|error| Error::new(ErrorKind::DataConversion, error))
}

fn partial_failure<T: InParts>(error: &Error) -> Option<T> {
    let ErrorKind::HttpResponse {
        status: StatusCode::BadRequest,
        raw_response: Some(response),
        ..
    } = error.kind()
    else {
        return None;
    };
    read(response).ok().filter(T::is_about_parts)
}
