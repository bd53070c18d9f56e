//! TLS to an engine, and what there is without the feature `tls`.
//!
//! Both builds have the same types: the wire knows nothing of the feature.

mod failure;

#[cfg(feature = "tls")]
mod explain;
#[cfg(feature = "tls")]
mod load;
#[cfg(feature = "tls")]
mod secure;

#[cfg(not(feature = "tls"))]
#[path = "absent.rs"]
mod secure;

use std::path::PathBuf;

pub(crate) use failure::TlsFailure;
pub(crate) use secure::Tls;

/// Whether this build speaks TLS.
pub(crate) const AVAILABLE: bool = cfg!(feature = "tls");

/// The way out where it does not.
pub(crate) const BUILD_WITH_IT: &str =
    "build with the feature `tls` (runner-docker, or runner-compat above it)";

/// Files for TLS with an engine, all PEM. They are read once, when connecting: replaced ones count for the next
/// [`DockerRuntime::connect`](crate::DockerRuntime::connect). What is in them appears in no error and no log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of authorities. One of them, and nobody else, must have signed the engine's certificate.
    ///
    /// `None`: the system's roots (those of `SSL_CERT_FILE` or `SSL_CERT_DIR`, which the reader of the system's
    /// roots honours by itself). Single roots that cannot be read are left out.
    pub ca: Option<PathBuf>,
    /// What we show to an engine that asks who we are.
    pub client: Option<ClientFiles>,
}

/// A client's certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate, followed by the intermediate ones, if any.
    pub certificate: PathBuf,
    /// Its private key (PKCS #8, PKCS #1 or SEC 1), not encrypted.
    pub key: PathBuf,
}
