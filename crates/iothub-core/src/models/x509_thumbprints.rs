use serde::{Deserialize, Serialize};

/// The certificates that a device or module may show, by the hash of each.
///
/// A thumbprint is 40 (SHA-1) or 64 (SHA-256) hexadecimal digits without separators; two of them have the same length. Two,
/// so that a certificate can be renewed while the other is in use. Thumbprints are not secret.
///
/// # Examples
///
/// ```
/// use iothub_core::models::X509Thumbprints;
///
/// let thumbprints = X509Thumbprints::new("0123456789ABCDEF0123456789ABCDEF01234567");
/// assert_eq!(thumbprints.secondary, None);
/// ```
#[doc(alias = "X509Thumbprint")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct X509Thumbprints {
    /// The thumbprint of the certificate used ordinarily.
    // Twins spell the members with a capital letter, identities with a small one.
    #[serde(
        rename = "primaryThumbprint",
        alias = "PrimaryThumbprint",
        skip_serializing_if = "Option::is_none"
    )]
    pub primary: Option<String>,
    /// The thumbprint of the certificate to change over to.
    #[serde(
        rename = "secondaryThumbprint",
        alias = "SecondaryThumbprint",
        skip_serializing_if = "Option::is_none"
    )]
    pub secondary: Option<String>,
}

impl X509Thumbprints {
    /// One certificate.
    pub fn new(primary: impl Into<String>) -> Self {
        Self {
            primary: Some(primary.into()),
            secondary: None,
        }
    }

    /// Adds the certificate to change over to.
    #[must_use]
    pub fn with_secondary(mut self, secondary: impl Into<String>) -> Self {
        self.secondary = Some(secondary.into());
        self
    }
}
