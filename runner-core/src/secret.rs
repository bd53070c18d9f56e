//! A value that cannot be printed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A password or key. `Debug` and `Display` never show it, it is not `Serialize`, and its memory is wiped on drop.
///
/// The wrapper keeps the maintained `secrecy` crate (chosen for the wiping and the explicit access) out of the
/// public signatures of the ports.
///
/// ```
/// let key = runner_core::Secret::new("sk-123");
/// assert_eq!(format!("{key} {key:?}"), "[redacted] [redacted]");
/// assert_eq!(key.expose(), "sk-123");
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes ownership of a secret value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The value itself. Call this only where it leaves the process on its way to its owner.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
