//! Removing a container until it is gone, whoever else is at it.

use std::time::Duration;

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use http::Method;
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result, StopReason};

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::json;
use crate::wait::inspect;

const OPERATION: &str = "remove the container";

/// One attempt, of several within the limit: an engine that is stuck with a container must not use up all of it.
const ATTEMPT: Duration = Duration::from_secs(30);

/// How soon an engine that is well tells what it is.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Removes it, and keeps in view what cannot be removed.
pub(crate) async fn remove(engine: &Engine, id: &ContainerId) -> Result<()> {
    // Whoever waits for its end learns that it was us.
    let is_first = !engine.exits.is_stopping(id, None);
    engine.exits.stopping(id, StopReason::Requested, Duration::ZERO, is_first);
    let result = until_gone(engine, id).await;
    match &result {
        Ok(()) => engine.stuck.clear(id),
        Err(e) => {
            if is_first {
                engine.exits.withdraw(id);
            }
            // An engine that is away, or hangs as a whole, is not this container's trouble.
            let lost = matches!(e.kind(), ErrorKind::EngineUnavailable | ErrorKind::Connection);
            if !lost && answers(engine).await {
                engine.stuck.add(id, e);
            }
        }
    }
    result
}

/// Whether the engine answers a question that no container can hold up.
async fn answers(engine: &Engine) -> bool {
    engine.json::<json::Version>(Method::GET, "/version", None, SIGN_OF_LIFE).await.is_ok()
}

async fn until_gone(engine: &Engine, id: &ContainerId) -> Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1), engine.budgets.remove);
    loop {
        // With its anonymous volumes: nobody would ever find them again.
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let call = engine.docker().remove_container(id.as_str(), Some(options));
        let left = backoff.left().clamp(Duration::from_millis(1), ATTEMPT);
        // Without a place: removals that hang must not keep others from being inspected.
        let cause = match engine.waiting(left, call).await {
            Ok(()) => return Ok(()),
            Err(e) if e.is_gone() => return Ok(()),
            Err(e) if e.is_removal_in_progress() => {
                if gone(engine, id, &mut backoff).await? {
                    return Ok(());
                }
                continue;
            }
            // A file system that is still busy frees itself, and an engine that is being restarted comes back:
            // whatever may pass gets its chance within the limit.
            Err(e) if e.may_pass() => e,
            Err(e) => return Err(error(e, id)),
        };
        tracing::debug!(container = id.short(), error = %cause, "a removal failed; trying again");
        if !backoff.pause().await {
            // Lost in the middle: the container tells whether it worked.
            let look = tokio::time::timeout(SIGN_OF_LIFE, inspect(engine, id)).await;
            if matches!(look, Ok(Err(ref found)) if found.is_gone()) {
                return Ok(());
            }
            let is_status = cause.status().is_some();
            let error = error(cause, id);
            return Err(if is_status {
                error.with_hint(
                    "something on the host holds the container's files; it is left in the state `dead`",
                )
            } else {
                error
            });
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
            Err(e) if e.may_pass() => {}
            Err(e) => return Err(error(e, id)),
            Ok(info) if info.state == ContainerState::Removing => {}
            Ok(_) => return Ok(false),
        }
    }
}

fn error(error: EngineError, id: &ContainerId) -> Error {
    error.into_core(OPERATION).with_container(id)
}
