use ring::hmac;

/// Whether somebody presents the secret that was expected, in a time that tells nothing of how much of it is right: what
/// is compared are two authentication codes, by ring.
pub(crate) fn is_same(expected: &str, presented: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"comparison of secrets");
    let expected = hmac::sign(&key, expected.as_bytes());
    hmac::verify(&key, presented.as_bytes(), expected.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_whole_secret() {
        for (presented, same) in [
            ("secret", true),
            ("secre", false),
            ("secret ", false),
            ("Secret", false),
            ("", false),
        ] {
            assert_eq!(is_same("secret", presented), same, "{presented:?}");
        }
    }
}
