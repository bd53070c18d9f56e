//! The place of TLS in a build without it.

use runner_core::ErrorKind;
use tokio::net::TcpStream;

use super::failure::TlsFailure;
use super::{BUILD_WITH_IT, TlsFiles};
use crate::wire::WireError;

/// Cannot be made.
#[derive(Debug)]
pub(crate) enum Tls {}

impl Tls {
    #[expect(clippy::unused_async, reason = "its counterpart waits for files")]
    pub(crate) async fn open(_: &str, _: &TlsFiles) -> Result<Self, TlsFailure> {
        let what = "the engine is to be reached over TLS, which this build does not have";
        Err(TlsFailure::new(ErrorKind::Unsupported, what, BUILD_WITH_IT))
    }

    #[expect(clippy::unused_async, reason = "its counterpart waits for the engine")]
    pub(crate) async fn secure(&self, _: TcpStream) -> Result<TcpStream, WireError> {
        match *self {}
    }

    pub(crate) fn explain(&self, _: WireError) -> WireError {
        match *self {}
    }
}
