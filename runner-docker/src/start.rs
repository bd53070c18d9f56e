//! Starting a container: its mounts judged again, its network there, its ports published, and a failure explained.

use std::collections::HashSet;
use std::time::Duration;

use runner_core::error::StartFailure;
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result};

use crate::backoff::Backoff;
use crate::convert;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::network::IsolatedNetwork;
use crate::rules::approve::Rules;
use crate::rules::named_network;
use crate::wait::{document, inspect};

const OPERATION: &str = "start the container";

/// Starts that are tried while the network is being made again.
const NETWORK_ATTEMPTS: usize = 5;

pub(crate) async fn start(
    engine: &Engine,
    network: &IsolatedNetwork,
    rules: &Rules,
    id: &ContainerId,
) -> Result<()> {
    let doc = document(engine, id).await.map_err(|e| error(e, id))?;
    // The engine looks at what is mounted only now: what was judged at the creation may be something else since.
    if !matches!(convert::state(&doc.state), ContainerState::Running | ContainerState::Paused) {
        let sources = convert::host_paths(&doc.host_config);
        rules.still_approve(sources, engine.budgets.read).await.map_err(|e| e.with_container(id))?;
    }
    let joined = doc.host_config.network_mode;
    let mut attempt = 1;
    loop {
        let call = engine.docker().start_container(id.as_str(), None);
        match engine.typed(engine.budgets.start, call).await {
            Ok(()) => break,
            // Another's network is not ours to make.
            Err(e) if e.is_network_unusable() && joined != network.name() => {
                return Err(named_network::unusable(OPERATION, &joined, e).with_container(id));
            }
            // Nothing is checked at the creation: a network that was removed since, or that another controller
            // made a second time, shows here.
            Err(e) if e.is_network_unusable() && attempt < NETWORK_ATTEMPTS => {
                tracing::info!(container = id.short(), error = %e, "preparing the runners' network again");
                network.ensure_again().await.map_err(|e| e.with_container(id))?;
                attempt += 1;
            }
            Err(e) => return Err(explained(engine, id, e).await),
        }
    }
    published(engine, id).await
}

/// Waits until every port that was asked for is published. Engines in a virtual machine answer a start before
/// that. A container that has ended by then was started all the same; its end is for `wait` and `inspect` to tell.
async fn published(engine: &Engine, id: &ContainerId) -> Result<()> {
    let mut backoff =
        Backoff::new(Duration::from_millis(5), Duration::from_millis(200), engine.budgets.ports);
    loop {
        let doc = document(engine, id).await.map_err(|e| error(e, id))?;
        let wanted: HashSet<u16> = convert::requested_ports(&doc.host_config).into_iter().collect();
        let info = convert::container(doc).map_err(|e| error(e, id))?;
        let there: HashSet<u16> = info.ports.iter().map(|p| p.container).collect();
        if !matches!(info.state, ContainerState::Running) || wanted.is_subset(&there) {
            return Ok(());
        }
        if !backoff.pause().await {
            let mut missing: Vec<_> = wanted.difference(&there).collect();
            missing.sort_unstable();
            let message =
                format!("the ports {missing:?} were not published within {:?}", engine.budgets.ports);
            return Err(Error::new(ErrorKind::Timeout, OPERATION, message)
                .temporary()
                .with_container(id)
                .with_hint("the container runs; see the engine's log for its proxy or firewall"));
        }
    }
}

/// The failure with what the engine has kept about it: the exit code (127: not found, 126: not executable) and its
/// words.
async fn explained(engine: &Engine, id: &ContainerId, cause: EngineError) -> Error {
    let is_refusal = cause.status().is_some();
    let error = error(cause, id);
    if !is_refusal || error.kind() == ErrorKind::NotFound {
        return error;
    }
    match inspect(engine, id).await.map(|info| info.state) {
        Ok(ContainerState::Exited(mut exit)) => {
            // The message says it already, and Display shows both.
            exit.error = None;
            error.with_start_failure(StartFailure { exit: Some(exit), ..StartFailure::default() })
        }
        _ => error,
    }
}

fn error(error: EngineError, id: &ContainerId) -> Error {
    error.into_core(OPERATION).with_container(id)
}
