//! Numbers in records from which the hub goes on to count: never so large that it could come to their end.

use serde::{Deserialize, Deserializer, de::Error};

pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    check(u64::deserialize(deserializer)?).map_err(Error::custom)
}

/// The same for what may be missing.
pub(crate) fn read_option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let count = Option::<u64>::deserialize(deserializer)?;
    count.map(check).transpose().map_err(Error::custom)
}

pub(super) fn check(count: u64) -> Result<u64, String> {
    match count <= MOST {
        true => Ok(count),
        false => Err(format!("{count} is more than a hub counts, {MOST} at most")),
    }
}

/// As many again are left.
const MOST: u64 = i64::MAX as u64;
