use azure_core::http::Method;

/// Whether a call may be made twice, which decides when the pipeline may repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationClass {
    /// Changes nothing.
    Read,
    /// Ends in the same state however often it is done: replacing an identity, deleting a device.
    Idempotent,
    /// Twice is not once: invoking a method, a bulk request, starting a job. It is repeated only if the hub is known
    /// not to have acted.
    NonIdempotent,
}

impl OperationClass {
    /// What the method promises by RFC 9110, section 9.2.2; a patch of the hub sets values and so may be repeated.
    pub fn of(method: Method) -> Self {
        match method {
            Method::Get | Method::Head => Self::Read,
            Method::Put | Method::Patch | Method::Delete => Self::Idempotent,
            _ => Self::NonIdempotent,
        }
    }
}
