//! Ids of jobs, which the application may choose.

use azure_core::error::ErrorKind;
use iothub_core::{Error, Result};
use uuid::Uuid;

pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// Refuses what cannot be the id of a job, and the word behind which the hub has its list of jobs.
pub(crate) fn checked(id: &str) -> Result<&str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.'".contains(c);
    if id.is_empty() || id.len() > 64 || !id.chars().all(allowed) || id.eq_ignore_ascii_case("query") {
        let shown: String = id.chars().take(96).collect();
        return Err(Error::with_message_fn(ErrorKind::DataConversion, || {
            format!("{shown:?} is not the id of a job: 1 to 64 of A-Z a-z 0-9 - _ . ', and not `query`")
        }));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_and_made() {
        for good in ["j1", "Az09-_.'", &"x".repeat(64), &new_id()] {
            assert_eq!(checked(good).unwrap(), good);
        }
        for bad in ["", "query", "Query", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            let error = checked(bad).unwrap_err().to_string();
            assert!(error.contains("is not the id of a job: 1 to 64"), "{error}");
        }
        assert_ne!(new_id(), new_id());
    }
}
