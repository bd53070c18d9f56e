//! Who named an engine.

use std::fmt;
use std::path::PathBuf;

/// What says where the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A setting of the application's own, by its name.
    Explicit(String),
    /// `DOCKER_HOST`.
    DockerHost,
    /// A Docker context.
    Context {
        /// Its name.
        name: String,
        /// The `config.json` whose `currentContext` it is; `None` where `DOCKER_CONTEXT` names it.
        chosen_in: Option<PathBuf>,
    },
    /// Nobody: a usual socket, of the named kind of engine, was the first where an engine answered.
    UsualSocket(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit(name) => f.write_str(name),
            Self::DockerHost => f.write_str("DOCKER_HOST"),
            Self::Context { name, chosen_in: None } => {
                write!(f, "the Docker context {name:?} (DOCKER_CONTEXT)")
            }
            Self::Context { name, chosen_in: Some(file) } => {
                write!(f, "the Docker context {name:?} (currentContext in {})", file.display())
            }
            Self::UsualSocket(engine) => write!(f, "the usual socket of {engine}"),
        }
    }
}

impl Origin {
    /// What a person can do when the engine that was named is not the right one.
    pub(super) fn way_out(&self) -> String {
        const OTHERWISE: &str = "so that the Docker context or the usual sockets count";
        match self {
            Self::Explicit(name) => format!("unset {name} {OTHERWISE}"),
            Self::DockerHost => format!("unset DOCKER_HOST {OTHERWISE}"),
            Self::Context { chosen_in: None, .. } => "set DOCKER_CONTEXT to another context".to_owned(),
            Self::Context { .. } => {
                "choose another context (`docker context use default` for the usual sockets)".to_owned()
            }
            Self::UsualSocket(_) => "name another one (DOCKER_HOST)".to_owned(),
        }
    }
}
