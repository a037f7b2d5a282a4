use azure_core::Uuid;

/// An id that no other run has: `name` with a random end. What a run left behind is not in the way of the next.
pub fn new_id(name: &str) -> String {
    let mut random = Uuid::new_v4().simple().to_string();
    random.truncate(8);
    format!("{name}-{random}")
}
