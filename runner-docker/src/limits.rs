//! Changing what a container may use, and freezing it.

use bollard::models::ContainerUpdateBody;
use runner_core::resources::ResourceUpdate;
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::wait::inspect;

const UPDATE: &str = "change the container's limits";
const PAUSE: &str = "pause the container";
const UNPAUSE: &str = "unpause the container";

pub(crate) async fn update(engine: &Engine, id: &ContainerId, update: &ResourceUpdate) -> Result<()> {
    update.validate().map_err(|e| e.with_container(id))?;
    let memory = update.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let body = ContainerUpdateBody {
        memory,
        // Together, or the engine refuses a limit above the old swap limit; and equal, so that there is no swap.
        memory_swap: memory,
        nano_cpus: update.cpu_millis.map(|millis| i64::from(millis) * 1_000_000),
        pids_limit: update.pids.map(i64::from),
        ..ContainerUpdateBody::default()
    };
    // Boxed: the body has every field that an engine knows.
    let call = Box::pin(engine.docker().update_container(id.as_str(), body));
    engine.typed(engine.budgets.read, call).await.map_err(|e| error(UPDATE, e, id))
}

pub(crate) async fn pause(engine: &Engine, id: &ContainerId) -> Result<()> {
    let call = engine.docker().pause_container(id.as_str());
    match engine.typed(engine.budgets.read, call).await {
        Ok(()) => Ok(()),
        Err(e) => agree(engine, id, PAUSE, &ContainerState::Paused, e).await,
    }
}

pub(crate) async fn unpause(engine: &Engine, id: &ContainerId) -> Result<()> {
    let call = engine.docker().unpause_container(id.as_str());
    match engine.typed(engine.budgets.read, call).await {
        Ok(()) => Ok(()),
        Err(e) => agree(engine, id, UNPAUSE, &ContainerState::Running, e).await,
    }
}

/// What a refusal means is what the container is: engines refuse what is so already, each with its own status and
/// words (Docker 20.10: 409 for a pause, 500 for the other).
async fn agree(
    engine: &Engine,
    id: &ContainerId,
    operation: &'static str,
    wanted: &ContainerState,
    cause: EngineError,
) -> Result<()> {
    // Without an answer it may have worked all the same; a frozen container behind an error would just hang.
    let no_answer = matches!(cause, EngineError::Timeout { .. } | EngineError::Broken { .. });
    if (cause.status().is_none() && !no_answer) || cause.is_gone() {
        return Err(error(operation, cause, id));
    }
    match inspect(engine, id).await.map_err(|e| error(operation, e, id))?.state {
        state if state == *wanted => Ok(()),
        ContainerState::Running | ContainerState::Paused => Err(error(operation, cause, id)),
        _ => Err(Error::new(ErrorKind::NotReady, operation, "the container does not run")
            .with_container(id)
            .with_hint("start it first")),
    }
}

fn error(operation: &'static str, error: EngineError, id: &ContainerId) -> Error {
    error.into_core(operation).with_container(id)
}
