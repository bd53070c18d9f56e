//! What can go wrong on disk, and its one conversion into the error of the ports.

use std::io;
use std::path::PathBuf;

use runner_core::{Error, ErrorKind};

#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkspaceError {
    #[error("{} is not a directory but a {found}", path.display())]
    NotADirectory { path: PathBuf, found: &'static str },
    #[error("{} belongs to root, and a container never runs as root", path.display())]
    OwnedByRoot { path: PathBuf, uid: u32, gid: u32 },
    #[error("{step} {} failed", path.display())]
    Io { step: &'static str, path: PathBuf, source: io::Error },
    #[error("{provider:?} cannot be a provider id")]
    ProviderId { provider: String },
    #[error("the settings at {path} should be an object")]
    NotAnObject { path: String },
    #[error("the built-in settings template is not a JSON object")]
    Template { source: serde_json::Error },
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    #[error("the work was given up")]
    Abandoned { source: tokio::task::JoinError },
}

impl WorkspaceError {
    pub(crate) fn io(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { step, path, source }
    }

    /// The error of the ports for it, during the given operation.
    pub(crate) fn into_core(self, operation: &'static str) -> Error {
        let (kind, hint) = self.class();
        let message = self.to_string();
        let temporary =
            matches!(&self, Self::Io { source, .. } if source.kind() == io::ErrorKind::Interrupted);
        let mut error = Error::new(kind, operation, message);
        if let Some(hint) = hint {
            error = error.with_hint(hint);
        }
        if temporary {
            error = error.temporary();
        }
        match self {
            Self::Io { source, .. } => error.with_source(source),
            Self::Template { source } => error.with_source(source),
            Self::Abandoned { source } => error.with_source(source),
            Self::NotADirectory { .. }
            | Self::OwnedByRoot { .. }
            | Self::ProviderId { .. }
            | Self::NotAnObject { .. }
            | Self::Random(_) => error,
        }
    }

    fn class(&self) -> (ErrorKind, Option<String>) {
        let hint = |text: &str| Some(text.to_owned());
        match self {
            Self::NotADirectory { .. } => {
                (ErrorKind::Workspace, hint("move it away, or choose another workspace directory"))
            }
            Self::OwnedByRoot { path, uid, gid } => (
                ErrorKind::Workspace,
                Some(format!("give it to another user: chown -R {uid}:{gid} {}", path.display())),
            ),
            Self::Io { source, path, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => (
                    ErrorKind::PermissionDenied,
                    Some(format!("let this process's user write to {}", path.display())),
                ),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    (ErrorKind::HostResources, hint("free some disk space"))
                }
                io::ErrorKind::NotADirectory => {
                    (ErrorKind::Workspace, hint("one of its parents is a file: move it away"))
                }
                _ => (ErrorKind::Workspace, None),
            },
            Self::ProviderId { .. } => (
                ErrorKind::InvalidInput,
                hint("use letters, digits, '_', '.' and '-', beginning with a letter or digit"),
            ),
            Self::NotAnObject { .. } => (ErrorKind::InvalidInput, hint("write it as {…}")),
            Self::Template { .. } | Self::Random(_) | Self::Abandoned { .. } => (ErrorKind::Internal, None),
        }
    }
}
