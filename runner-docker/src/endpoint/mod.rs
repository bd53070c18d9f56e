//! Which engine is meant.
//!
//! What somebody ordered (a setting, `DOCKER_HOST`, a Docker context) is used or is an error; it is never replaced
//! by something else that happens to answer. Only where nobody ordered anything, the usual sockets are tried.

mod certs;
mod context;
mod files;
mod order;
mod origin;
mod sockets;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use runner_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

pub use origin::Origin;

use crate::connect::{greet, unanswered};
use crate::error::EngineError;
use crate::host::{DockerHost, shown};

const FIND: &str = "find the container engine";

/// What says where an engine is. All of it comes from the caller: nothing here reads the environment.
///
/// The variables are read as the `docker` command reads them, so that the same environment means the same engine:
/// one that is empty is not set. The differences are that nothing is skipped over in silence, that TLS is always
/// verified, and that the usual sockets are tried where nothing is said.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EndpointSources {
    /// A setting of the application's own. It goes before everything else.
    pub explicit: Option<Setting>,
    /// `DOCKER_HOST`: an address as [`DockerHost`] reads it. It goes before any context, as for the `docker` command.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`: the name of a Docker context; `default` is none. It goes before the `currentContext` of
    /// `config.json`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`: the directory of `config.json` and of the contexts; `.docker` in the home directory without it.
    pub docker_config: Option<PathBuf>,
    /// `DOCKER_TLS_VERIFY`: with any value, `tcp://` in `explicit` and `docker_host` means TLS. Also with `0` or
    /// `false`, as for the `docker` command (which is logged as a warning): they must not switch verification off.
    /// Without it, `tcp://` is a plain connection, whatever the port. Contexts have their own TLS settings.
    pub docker_tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`: the directory of `ca.pem`, which must be there, and of `cert.pem` and `key.pem`, which
    /// come together or not at all. Without it, what there is of these in the directory of `config.json`.
    pub docker_cert_path: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where rootless engines have their sockets.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// What stands for `/` before the sockets of system-wide engines: for a controller in a container that sees its
    /// host's files below some directory, and for tests.
    pub system_root: Option<PathBuf>,
}

impl fmt::Debug for EndpointSources {
    /// Without what may be a password in an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointSources")
            .field("explicit", &self.explicit)
            .field("docker_host", &self.docker_host.as_deref().map(shown))
            .field("docker_context", &self.docker_context)
            .field("docker_config", &self.docker_config)
            .field("docker_tls_verify", &self.docker_tls_verify)
            .field("docker_cert_path", &self.docker_cert_path)
            .field("xdg_runtime_dir", &self.xdg_runtime_dir)
            .field("home", &self.home)
            .field("system_root", &self.system_root)
            .finish()
    }
}

/// An address from a setting of the application's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// What the setting is called, for messages.
    pub name: String,
    /// An address as [`DockerHost`] reads it.
    pub value: String,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("name", &self.name).field("value", &shown(&self.value)).finish()
    }
}

/// An engine, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Where it listens.
    pub host: DockerHost,
    /// What won.
    pub origin: Origin,
}

/// Finds the engine that is meant, and proves that an engine answers there within `limit`.
///
/// The order: `explicit`, `docker_host`, a Docker context, and where none of these is set, the usual sockets, one
/// after the other, until an engine answers: Docker, rootless Docker, Docker Desktop, Colima, rootless Podman, Podman.
///
/// Errors name what was asked for and where that came from, never a password in it:
///
/// - [`ErrorKind::InvalidInput`]: an address that cannot be read, a context that does not exist, a `config.json`
///   that is damaged, TLS files that cannot be used.
/// - [`ErrorKind::EngineUnavailable`], temporary: nobody answers at what was ordered; or at none of the usual
///   sockets, each of which is named with the reason.
/// - [`ErrorKind::PermissionDenied`]: this user may not use the socket, or may not read a file. Of the usual
///   sockets only where no other one answers.
/// - [`ErrorKind::Unsupported`]: `ssh://` and the like, a context that asks for TLS without verification, TLS
///   without the feature `tls`.
/// - What [`DockerRuntime::connect`](crate::DockerRuntime::connect) says of TLS and of what is not an engine.
///
/// Whether the version of the engine is one that we speak is left to `connect`. Warns in the log about settings
/// that have no effect. `limit` is for each place that is asked, so the usual sockets take at most eight times
/// that. Dropping the future gives up.
pub async fn find_endpoint(sources: &EndpointSources, limit: Duration) -> Result<Found> {
    let ours = sources.clone();
    // A dead network file system answers when it likes.
    let reading = tokio::task::spawn_blocking(move || ours.ordered());
    let ordered = match timeout(limit, reading).await {
        Ok(Ok(result)) => result?,
        Ok(Err(e)) => {
            let message = "reading Docker's configuration was interrupted";
            return Err(Error::new(ErrorKind::Internal, FIND, message).with_source(e));
        }
        Err(_) => {
            let message = "the file system of Docker's configuration does not answer";
            return Err(Error::new(ErrorKind::Timeout, FIND, message).temporary());
        }
    };
    let Some(found) = ordered else { return sockets::search(sockets::usual(sources), limit).await };
    for note in sources.notes(&found) {
        tracing::warn!("{note}");
    }
    match Box::pin(greet(&found.host, limit)).await {
        Ok(()) => Ok(found),
        Err(e) => Err(refused(e, &found)),
    }
}

/// What was ordered does not answer, and nothing else may.
fn refused(error: EngineError, found: &Found) -> Error {
    let Found { host, origin } = found;
    let error = unanswered(error, FIND, &format!("{origin}: "), &host.to_string());
    if error.kind() == ErrorKind::EngineUnavailable {
        let hint = format!("start that engine, or {}", origin.way_out());
        return error.with_hint(hint);
    }
    error
}
