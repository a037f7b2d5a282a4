use std::fmt;

use bytes::Bytes;
use iothub_core::Result;
use uuid::Uuid;

use super::line::Line;
use crate::hub::methods::MethodRequests;

/// The methods that services invoke on a [`Device`](crate::Device), one by one. Dropping it ends the subscription.
pub struct Methods {
    line: Line,
    requests: MethodRequests,
}

/// A method that a service has invoked, and whose answer it waits for.
pub struct ReceivedMethod {
    line: Line,
    id: Uuid,
    name: String,
    payload: Bytes,
}

impl Methods {
    pub(super) fn new(line: Line, requests: MethodRequests) -> Self {
        Self { line, requests }
    }

    /// Waits for the next method. `None` if the device has gone offline or listens elsewhere.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<ReceivedMethod> {
        let request = self.requests.recv().await?;
        Some(ReceivedMethod {
            line: self.line.clone(),
            id: request.id,
            name: request.name,
            payload: request.payload,
        })
    }
}

impl ReceivedMethod {
    /// The name of the method.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// JSON, byte for byte as the service wrote it; `null` if it sent nothing.
    pub fn payload(&self) -> &str {
        // The hub has parsed it, so that it is UTF-8.
        std::str::from_utf8(&self.payload).unwrap_or_default()
    }

    /// Answers with a status and JSON, which goes to the service byte for byte. An empty payload is null.
    ///
    /// # Errors
    ///
    /// The service does not wait any more, the device has gone offline, or the payload is not JSON, which the service
    /// hears of, too.
    pub fn answer(self, status: i32, payload: impl Into<Bytes>) -> Result<()> {
        Ok(self.line.answer_method(self.id, status, payload.into())?)
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Methods").field(self.line.target()).finish()
    }
}

impl fmt::Debug for ReceivedMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedMethod")
            .field("target", self.line.target())
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
