use ring::rand::{SecureRandom, SystemRandom};

/// From 0 up to 1. Without randomness it is the middle: renewals then only fall together.
pub(crate) fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}
