//! Stopping a container: the engine's own ladder first, and ours where that does not end.
//!
//! Signal → grace → kill is one call of the engine. Where it does not come back, or the engine was lost in it: a kill
//! of our own. Where that does not end the container either, it is kept in view as stuck, and `remove` is what is
//! left to try.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};
use runner_core::container::{StopOptions, StopOutcome};
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, ExitReason, Result};

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::limits;
use crate::wait::inspect;

const OPERATION: &str = "stop the container";

pub(crate) async fn stop(engine: &Engine, id: &ContainerId, options: StopOptions) -> Result<StopOutcome> {
    let (started_at, is_frozen) = match inspect(engine, id).await {
        Ok(info) => match info.state {
            // Nobody's stop: it is never taken for ours, however close.
            ContainerState::Exited(_) | ContainerState::Created | ContainerState::Removing => {
                return Ok(StopOutcome::NotRunning);
            }
            state => (info.started_at, state == ContainerState::Paused),
        },
        Err(e) if e.is_gone() => return Ok(StopOutcome::Gone),
        // An engine that is stuck with this container may still end it.
        Err(EngineError::Timeout { .. } | EngineError::Decode { .. }) => (None, false),
        Err(e) => return Err(error(e, id)),
    };
    // One that was not to be ended before gets no patience again.
    let grace = if engine.stuck.has(id) { Duration::ZERO } else { options.grace };
    let seconds = whole_seconds(grace);
    let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let is_first = !engine.exits.is_stopping(id, started_at);
    engine.exits.stopping(id, options.why, grace, is_first);
    // A frozen one cannot act on its signal: Docker waits out the grace and kills it, Podman refuses (4.3).
    if is_frozen && let Err(e) = limits::unpause(engine, id).await {
        tracing::debug!(container = id.short(), error = %e, "a paused container is stopped as it is");
    }
    let query = StopContainerOptionsBuilder::default().t(seconds).build();
    let call = engine.docker().stop_container(id.as_str(), Some(query));
    match engine.waiting(grace + engine.budgets.stop_margin, call).await {
        // The answer says nothing about how it ended.
        Ok(()) => settled(engine, id).await,
        Err(e) if e.is_not_running() => settled(engine, id).await,
        Err(e) if e.is_gone() => Ok(StopOutcome::Gone),
        // The engine may be stuck with this container, or have been lost half way. What is true now?
        Err(e) if e.may_pass() && !matches!(e, EngineError::Dial { .. }) => kill(engine, id, e).await,
        Err(e) => {
            // It was refused, or never sent: what ends the container later is something else.
            if is_first {
                engine.exits.withdraw(id);
            }
            Err(error(e, id))
        }
    }
}

async fn kill(engine: &Engine, id: &ContainerId, cause: EngineError) -> Result<StopOutcome> {
    if let Some(outcome) = outcome(engine, id).await? {
        return Ok(outcome);
    }
    tracing::warn!(container = id.short(), error = %cause, "a stop did not end; killing");
    let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    let call = engine.docker().kill_container(id.as_str(), Some(options));
    match engine.typed(engine.budgets.stop_margin, call).await {
        Err(e) if e.is_gone() => return Ok(StopOutcome::Gone),
        Err(e) if e.is_not_running() => {}
        // Without an answer it may have worked all the same; the container tells.
        Ok(()) => {}
        Err(e) if e.may_pass() => {}
        Err(e) => return Err(error(e, id)),
    }
    settled(engine, id).await
}

/// Returns when it has ended, and how.
async fn settled(engine: &Engine, id: &ContainerId) -> Result<StopOutcome> {
    let mut backoff =
        Backoff::new(Duration::from_millis(20), Duration::from_millis(500), engine.budgets.stop_margin);
    loop {
        if let Some(outcome) = outcome(engine, id).await? {
            engine.stuck.clear(id);
            return Ok(outcome);
        }
        if !backoff.pause().await {
            let message = "the container runs on after a stop and a kill";
            let error =
                Error::new(ErrorKind::Timeout, OPERATION, message).temporary().with_container(id).with_hint(
                    "a process in it hangs in the kernel, or the engine has lost it; see the engine's log",
                );
            engine.stuck.add(id, &error);
            return Err(error);
        }
    }
}

/// `None` while it lives.
async fn outcome(engine: &Engine, id: &ContainerId) -> Result<Option<StopOutcome>> {
    match inspect(engine, id).await {
        Ok(info) => Ok(match info.state {
            ContainerState::Exited(exit) => Some(match exit.reason {
                ExitReason::KilledAfterGrace(_) => StopOutcome::KilledAfterGrace,
                ExitReason::Stopped(_) => StopOutcome::Stopped,
                // It was faster than the stop.
                _ => StopOutcome::NotRunning,
            }),
            ContainerState::Created => Some(StopOutcome::NotRunning),
            _ => None,
        }),
        Err(e) if e.is_gone() => Ok(Some(StopOutcome::Gone)),
        Err(e) => Err(error(e, id)),
    }
}

/// The engine counts grace in seconds; a part of one is a whole one.
fn whole_seconds(grace: Duration) -> i32 {
    let up = u64::from(grace.subsec_nanos() > 0);
    i32::try_from(grace.as_secs().saturating_add(up)).unwrap_or(i32::MAX)
}

fn error(error: EngineError, id: &ContainerId) -> Error {
    error.into_core(OPERATION).with_container(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_rounded_up_and_never_overflows() {
        for (grace, want) in [
            (Duration::ZERO, 0),
            (Duration::from_millis(1), 1),
            (Duration::from_secs(10), 10),
            (Duration::from_millis(10_001), 11),
            (Duration::MAX, i32::MAX),
        ] {
            assert_eq!(whole_seconds(grace), want, "{grace:?}");
        }
    }
}
