/// Tags, desired and reported properties, kept as compact JSON text.
#[derive(Debug, Default)]
pub(crate) struct Twin;
