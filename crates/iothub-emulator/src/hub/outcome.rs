use serde::Serialize;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Outcome {
    /// Its receiver took it and is done with it.
    Completed,
    /// Its receiver refused it.
    Rejected,
    /// Its receiver gave it back, and it waits again.
    Abandoned,
    /// Nobody took it in time.
    Expired,
    /// It was given back once too often.
    DeliveredTooOften,
    /// It was removed with everything else that waited.
    Purged,
}
