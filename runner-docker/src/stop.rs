//! Stopping a container: the engine's own ladder first, and ours where that does not end.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};
use runner_core::container::StopOptions;
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result};

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::wait::inspect;

const OPERATION: &str = "stop the container";

/// The engine sends the stop signal, waits out the grace and kills; one call, which answers when it is over. Its
/// answer says nothing about how the container ended, so neither does ours: that is for inspect.
pub(crate) async fn stop(engine: &Engine, id: &ContainerId, options: StopOptions) -> Result<()> {
    let seconds = whole_seconds(options.grace);
    let call = engine
        .docker()
        .stop_container(id.as_str(), Some(StopContainerOptionsBuilder::default().t(seconds).build()));
    let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    match engine.waiting(grace + engine.budgets.stop_margin, call).await {
        Ok(()) => Ok(()),
        Err(e) if e.is_gone() || e.is_not_running() => Ok(()),
        // The engine may be stuck with this container, or have been lost half way. What is true now?
        Err(e @ (EngineError::Timeout { .. } | EngineError::Broken { .. })) => kill(engine, id, e).await,
        Err(e) => Err(error(e, id)),
    }
}

async fn kill(engine: &Engine, id: &ContainerId, cause: EngineError) -> Result<()> {
    if ended(engine, id).await? {
        return Ok(());
    }
    tracing::warn!(container = id.short(), error = %cause, "a stop did not end; killing");
    let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    let call = engine.docker().kill_container(id.as_str(), Some(options));
    match engine.typed(engine.budgets.stop_margin, call).await {
        Err(e) if e.is_gone() || e.is_not_running() => return Ok(()),
        // Without an answer it may have worked all the same; the container tells.
        Ok(()) | Err(EngineError::Timeout { .. } | EngineError::Broken { .. }) => {}
        Err(e) => return Err(error(e, id)),
    }
    let mut backoff =
        Backoff::new(Duration::from_millis(20), Duration::from_millis(500), engine.budgets.stop_margin);
    loop {
        if ended(engine, id).await? {
            return Ok(());
        }
        if !backoff.pause().await {
            let message = "the container runs on after a stop and a kill";
            return Err(Error::new(ErrorKind::Timeout, OPERATION, message)
                .temporary()
                .with_container(id)
                .with_hint(
                    "a process in it hangs in the kernel, or the engine has lost it; see the engine's log",
                ));
        }
    }
}

async fn ended(engine: &Engine, id: &ContainerId) -> Result<bool> {
    match inspect(engine, id).await {
        Ok(info) => Ok(matches!(info.state, ContainerState::Exited(_) | ContainerState::Created)),
        Err(e) if e.is_gone() => Ok(true),
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
