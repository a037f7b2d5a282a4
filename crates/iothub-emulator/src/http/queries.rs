use http::header::HeaderName;
use iothub_core::HubErrorCode;
use serde_json::Value;

use super::{answer::Answer, call::Call};
use crate::hub::{
    Failure, Hub,
    identity_request::object,
    queries::{PAGE, Page},
};

/// Runs a query on a thread of its own, because one over a million twins takes its time.
pub(crate) async fn run(hub: &Hub, call: Call) -> Result<Answer, Failure> {
    let hub = hub.clone();
    let run = tokio::task::spawn_blocking(move || query(&hub, &call));
    run.await
        .unwrap_or_else(|_| Err(Failure::new(HubErrorCode::ServerError, "the query was given up")))
}

fn query(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let body = object(&call.body)?;
    let Some(Value::String(text)) = body.get("query") else {
        return Err(Failure::argument("BadRequest: query has to be a string"));
    };
    let (most, continuation) = paging(call)?;
    hub.query(&call.grant, text, most, continuation).map(answer)
}

/// How many rows a client wants, and from where on.
pub(crate) fn paging(call: &Call) -> Result<(u64, Option<&str>), Failure> {
    let most = match call.header("x-ms-max-item-count") {
        None | Some("") => PAGE,
        // Some clients ask for as many as there are with -1.
        Some(count) => match count.parse::<i64>() {
            Ok(count) => u64::try_from(count).unwrap_or(PAGE),
            Err(_) => return Err(Failure::argument("x-ms-max-item-count has to be a number")),
        },
    };
    Ok((
        most,
        call.header(CONTINUATION.as_str()).filter(|token| !token.is_empty()),
    ))
}

/// The continuation is left out at the end, because some clients go on as long as the header is there.
pub(crate) fn answer(page: Page) -> Answer {
    let answer = Answer::json(page.json).with(ITEM_TYPE, page.item_type);
    match page.continuation {
        Some(token) => answer.with(CONTINUATION, &token),
        None => answer,
    }
}

pub(super) const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");
