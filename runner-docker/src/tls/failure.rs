//! Why there is no secure connection.

use runner_core::ErrorKind;

/// A secure connection could not be made, for a reason that lasts until somebody changes something. What may pass
/// (a refused connection, one that breaks) is no failure of TLS.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub(crate) struct TlsFailure {
    pub(crate) kind: ErrorKind,
    /// Names files, never what is in them.
    pub(crate) what: String,
    pub(crate) hint: &'static str,
}

impl TlsFailure {
    pub(super) fn new(kind: ErrorKind, what: impl Into<String>, hint: &'static str) -> Self {
        Self { kind, what: what.into(), hint }
    }
}
