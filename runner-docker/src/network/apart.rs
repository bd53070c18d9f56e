//! A network for each container, where an engine cannot keep the containers of one network apart.
//!
//! Podman is such an engine: it takes the option that forbids traffic between containers with a warning, and does not
//! know it afterwards (4.3). But it has thousands of subnets, and networks that are made with its own option `isolate`
//! do not reach each other (measured, with netavark: a connection from another network times out, one from the same
//! network is made).

use bytes::Bytes;
use http::Method;
use runner_core::{Error, ErrorKind, Result};
use serde::de::IgnoredAny;

use super::LABEL;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::json;
use crate::rules::named_network::by_name;

const OPERATION: &str = "prepare the container's network";

/// Podman's own interface; Docker's has no word for the option. With a version of its own, which the wire leaves alone.
const CREATE: &str = "/v4.0.0/libpod/networks/create";

/// The network of a container. A container's name is unique, and so is this.
fn name(base: &str, container: &str) -> String {
    format!("{base}.{container}")
}

fn is_of(network: &json::Network, base: &str) -> bool {
    network.labels.get(LABEL).is_some_and(|of| of == base)
}

/// Makes a container's network; returns its name.
pub(super) async fn make(engine: &Engine, base: &str, container: &str) -> Result<String> {
    let name = name(base, container);
    let body = serde_json::json!({
        "name": name,
        "driver": "bridge",
        "options": { "isolate": "true" },
        "labels": { LABEL: base },
    });
    let body = Some(Bytes::from(body.to_string()));
    match engine.json::<IgnoredAny>(Method::POST, CREATE, body, engine.budgets.create).await {
        Ok(_) => Ok(name),
        // Left behind by a container that is gone, or made by somebody who creates one of the same name right now: it is
        // as good as a new one, and only one of the two containers will be created.
        Err(e) if e.is_name_taken() => {
            let found = by_name(engine, &name).await.map_err(|e| e.into_core(OPERATION))?;
            if found.iter().all(|network| is_of(network, base)) {
                Ok(name)
            } else {
                Err(e.into_core(OPERATION))
            }
        }
        Err(EngineError::Status { code: 404, .. }) => Err(unable()),
        Err(e) => Err(e.into_core(OPERATION)),
    }
}

/// Gives back a container's network, unless a container is on it.
pub(super) async fn give_back(engine: &Engine, base: &str, container: &str) -> Result<(), EngineError> {
    remove(engine, &name(base, container)).await
}

/// Gives back every such network on which no container is.
pub(super) async fn sweep(engine: &Engine, base: &str) -> Result<(), EngineError> {
    let all: Vec<json::Network> = engine.json(Method::GET, "/networks", None, engine.budgets.read).await?;
    for network in all.iter().filter(|network| is_of(network, base)) {
        // By its name: by its id, Podman 4.3 removes it under the containers that are on it.
        remove(engine, &network.name).await?;
    }
    Ok(())
}

/// Removes a network that is not in use.
pub(super) async fn remove(engine: &Engine, network: &str) -> Result<(), EngineError> {
    match engine.typed(engine.budgets.create, engine.docker().remove_network(network)).await {
        Ok(()) | Err(EngineError::Status { code: 404, .. }) => Ok(()),
        Err(e) if e.is_network_in_use() => Ok(()),
        Err(e) => Err(e),
    }
}

fn unable() -> Error {
    let message = "the engine lets the containers of one network reach each other, and has no other way to keep them apart";
    Error::new(ErrorKind::Unsupported, OPERATION, message)
        .with_hint("use Docker, or Podman 4 or later, or run without a network")
}
