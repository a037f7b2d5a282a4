use std::error::Error;

/// The first `T` among `error` and what caused it.
pub(crate) fn find<T: Error + 'static>(error: &azure_core::Error) -> Option<&T> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
