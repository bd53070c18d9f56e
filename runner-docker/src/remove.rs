//! Removing a container until it is gone, whoever else is at it.

use std::time::Duration;

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result};

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::wait::inspect;

const OPERATION: &str = "remove the container";

pub(crate) async fn remove(engine: &Engine, id: &ContainerId) -> Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1), engine.budgets.remove);
    loop {
        // With its anonymous volumes: nobody would ever find them again.
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let call = engine.docker().remove_container(id.as_str(), Some(options));
        let left = backoff.left().max(Duration::from_millis(1));
        match engine.typed(left, call).await {
            Ok(()) => return Ok(()),
            Err(e) if e.is_gone() => return Ok(()),
            Err(e) if e.is_removal_in_progress() => {
                if gone(engine, id, &mut backoff).await? {
                    return Ok(());
                }
            }
            // A file system that is still busy frees itself; anything else that may pass gets its chance, too.
            Err(e) if e.is_temporary_status() => {
                tracing::debug!(container = id.short(), error = %e, "a removal failed; trying again");
                if !backoff.pause().await {
                    return Err(error(e, id).with_hint(
                        "something on the host holds the container's files; it is left in the state `dead`",
                    ));
                }
            }
            // Lost in the middle: the container tells whether it worked.
            Err(e @ (EngineError::Timeout { .. } | EngineError::Broken { .. })) => {
                return match inspect(engine, id).await {
                    Err(found) if found.is_gone() => Ok(()),
                    _ => Err(error(e, id)),
                };
            }
            Err(e) => return Err(error(e, id)),
        }
    }
}

/// Waits while somebody else removes it. `false`: they gave up, it is our turn again.
async fn gone(engine: &Engine, id: &ContainerId, backoff: &mut Backoff) -> Result<bool> {
    loop {
        if !backoff.pause().await {
            let message = "another removal of it does not come to an end";
            return Err(Error::new(ErrorKind::Timeout, OPERATION, message)
                .temporary()
                .with_container(id)
                .with_hint("see the engine's log"));
        }
        match inspect(engine, id).await {
            Err(e) if e.is_gone() => return Ok(true),
            Err(e) => return Err(error(e, id)),
            Ok(info) if info.state == ContainerState::Removing => {}
            Ok(_) => return Ok(false),
        }
    }
}

fn error(error: EngineError, id: &ContainerId) -> Error {
    error.into_core(OPERATION).with_container(id)
}
