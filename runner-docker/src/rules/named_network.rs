//! A network that is not ours: its name, and whether it is there.
//!
//! An engine creates a container on a network that does not exist and then does not start it (measured on 20.10.24), so
//! it is looked for before.

use http::Method;
use runner_core::{Error, ErrorKind, Result};

use crate::engine::{Engine, escape, is_name};
use crate::error::EngineError;
use crate::json;

/// Names that are modes or the engine's own networks, of Docker and of Podman. On these a container would share the
/// host's network, or be on one with strangers.
const RESERVED: &[&str] = &[
    "host",
    "none",
    "bridge",
    "default",
    "nat",
    "private",
    "slirp4netns",
    "pasta",
    "podman",
    "docker_gwbridge",
    "ingress",
];

/// Refuses what cannot be a network of its own. A network's name is also a network mode, and some modes are the
/// host's.
pub(crate) fn check_name(operation: &'static str, name: &str) -> Result<()> {
    let reserved = RESERVED.iter().any(|mode| name.eq_ignore_ascii_case(mode));
    if is_name(name, 128) && !reserved {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, operation, format!("{name:?} cannot be a network for runners"))
        .with_hint("use letters, digits, '_', '.' and '-', and none of the engine's own names"))
}

/// The networks of exactly this name. The engine's filter matches parts of names, and its own lookup ids as well.
pub(crate) async fn by_name(engine: &Engine, name: &str) -> Result<Vec<json::Network>, EngineError> {
    let filter = serde_json::json!({ "name": [name] }).to_string();
    let path = format!("/networks?filters={}", escape(&filter));
    let found: Vec<json::Network> = engine.json(Method::GET, &path, None, engine.budgets.read).await?;
    Ok(found.into_iter().filter(|n| n.name == name).collect())
}

/// Makes sure that a container can join it.
pub(crate) async fn must_exist(engine: &Engine, operation: &'static str, name: &str) -> Result<()> {
    let found = by_name(engine, name).await.map_err(|e| e.into_core(operation))?;
    match found.as_slice() {
        [] => Err(missing(ErrorKind::NotFound, operation, name)),
        [one] if matches!(one.driver.as_str(), "host" | "null") => {
            let message = format!("the network {name:?} is the host's own");
            Err(Error::new(ErrorKind::InvalidInput, operation, message).with_hint("use another"))
        }
        [_] => Ok(()),
        _ => Err(missing(ErrorKind::AlreadyExists, operation, name)),
    }
}

/// The engine says that a container cannot start for its network. Nothing that a retry would mend: it is not ours to
/// make.
pub(crate) fn unusable(operation: &'static str, name: &str, error: EngineError) -> Error {
    let kind = ErrorKind::Engine;
    match error.status() {
        Some((404, _)) => missing(kind, operation, name),
        _ => error.into_core(operation).with_hint("one network of that name must remain"),
    }
}

fn missing(kind: ErrorKind, operation: &'static str, name: &str) -> Error {
    let (message, hint) = match kind {
        ErrorKind::AlreadyExists => (
            format!("the engine has several networks {name:?} and starts no container on any of them"),
            "remove all but one",
        ),
        _ => (
            format!("the engine has no network {name:?}"),
            "make it (docker network create), or name one that exists",
        ),
    };
    Error::new(kind, operation, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_name_is_never_one_of_the_engines_modes() {
        for bad in
            ["", "host", "HOST", "none", "bridge", "default", "pasta", "container:abc", "a/b", "-a", "a b"]
        {
            assert_eq!(check_name("x", bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
        check_name("x", "cnap-runner").unwrap();
    }
}
