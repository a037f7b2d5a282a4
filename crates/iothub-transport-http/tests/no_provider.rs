//! What a build without a crypto provider does.
#![cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]

use iothub_transport_http::{HyperOptions, HyperTransport};

#[test]
fn without_a_crypto_provider_the_constructor_says_so() {
    let error = HyperTransport::new(HyperOptions::default()).unwrap_err();
    assert!(error.to_string().contains("`ring` or `aws-lc-rs`"), "{error}");
}
