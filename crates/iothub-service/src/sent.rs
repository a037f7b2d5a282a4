/// A message that the hub has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The id that it was sent with, given or generated. Feedback names it.
    pub message_id: Option<String>,
    /// How often it was tried. More than one means under
    /// [`at_least_once`](crate::SendOptions::at_least_once) that it may be there twice.
    pub attempts: u32,
}
