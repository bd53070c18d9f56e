//! A TCP connection becomes a secure one.

use std::fmt;
use std::sync::Arc;

use runner_core::ErrorKind;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::TlsFiles;
use super::failure::TlsFailure;
use super::{explain, load};
use crate::wire::WireError;

/// TLS with one engine.
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
    files: TlsFiles,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds the private key.
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. `host`: whom the engine's certificate must be for.
    pub(crate) async fn open(host: &str, files: &TlsFiles) -> Result<Self, TlsFailure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            let what = format!("{host:?} is not a name that a certificate can be for");
            TlsFailure::new(
                ErrorKind::InvalidInput,
                what,
                "use the name or address in the engine's certificate",
            )
        })?;
        let ours = files.clone();
        let config = tokio::task::spawn_blocking(move || load::config(&ours)).await.unwrap_or_else(|_| {
            Err(TlsFailure::new(ErrorKind::Internal, "reading the TLS files was interrupted", ""))
        })?;
        Ok(Self { connector: Arc::new(config).into(), name, files: files.clone() })
    }

    /// The handshake: proves that the engine is the one it should be.
    pub(crate) async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, WireError> {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| {
            // Without a word of TLS in it, it is a connection like any other that could not be made.
            match explain::find(&error) {
                Some(found) => WireError::Tls(explain::failure(found, &self.files)),
                None => WireError::Dial(error),
            }
        })
    }

    /// An exchange's error, in words of TLS where it is one: an engine may refuse our certificate after the
    /// handshake.
    pub(crate) fn explain(&self, error: WireError) -> WireError {
        match error {
            WireError::Broken(broken) => match explain::find(&broken) {
                Some(found) => WireError::Tls(explain::failure(found, &self.files)),
                None => WireError::Broken(broken),
            },
            other => other,
        }
    }
}
