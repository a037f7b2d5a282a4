/// Of what becomes of a message the hub tells the backend, as feedback.
///
/// Feedback comes in batches: when there are 64 records, or 15 seconds after the last.
#[doc(alias = "DeliveryAcknowledgement")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ack {
    /// Nothing.
    #[default]
    #[doc(alias = "DeliveryAcknowledgement.None")]
    None,
    /// That the device has completed it.
    #[doc(alias = "PositiveOnly")]
    Positive,
    /// That it expired, was rejected by the device, or was delivered too often.
    #[doc(alias = "NegativeOnly")]
    Negative,
    /// Either.
    Full,
}

impl Ack {
    /// The value of the property `iothub-ack`; nothing where its absence says the same.
    pub(crate) fn as_wire(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Positive => Some("positive"),
            Self::Negative => Some("negative"),
            Self::Full => Some("full"),
        }
    }
}
