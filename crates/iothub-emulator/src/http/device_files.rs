//! Files that devices upload.

use serde::Deserialize;
use serde_json::json;

use super::{answer::Answer, call::Call};
use crate::hub::{Failure, Hub};

/// Tells a device where it may write a file.
pub(crate) fn begin(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let device = hub.admit(&call.grant, call.device_id()?)?;
    let request: Begin = read(&call.body)?;
    let begun = device.begin_upload(&request.blob_name)?;
    let answer = json!({
        "correlationId": begun.correlation_id.to_string(),
        "hostName": begun.place.host,
        "containerName": begun.place.container,
        "blobName": begun.blob,
        "sasToken": begun.place.sas_token,
    });
    Ok(Answer::json(answer.to_string().into_bytes()))
}

/// Takes the news that an upload has ended. Older clients have the correlation id in the path.
pub(crate) async fn end(hub: &Hub, call: &Call) -> Result<Answer, Failure> {
    let device = hub.admit(&call.grant, call.device_id()?)?;
    let request: End = read(&call.body)?;
    let in_path = Some(call.segment(4)).filter(|id| !id.is_empty());
    let id = in_path
        .or(request.correlation_id.as_deref())
        .ok_or_else(|| Failure::argument("there is no correlationId"))?;
    device.end_upload(id, request.is_success).await?;
    Ok(Answer::nothing())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begin {
    blob_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct End {
    correlation_id: Option<String>,
    is_success: bool,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::argument(format!("the body is not as expected: {error}")))
}
