//! Waiting for a container's end.
//!
//! The engine's wait is only an alarm clock; what it rings for is read by inspect. Order matters: the wait is
//! registered (its headers are there) before the container is looked at, so whatever ends after the look rings.
//! `next-exit` rather than the default, which is already true for a container that has not been started.

use std::pin::pin;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use runner_core::{ContainerId, ContainerInfo, ContainerState, Error, ExitReason, ExitStatus, Result};
use tokio::time::timeout;

use crate::backoff::Backoff;
use crate::convert;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::json;

const OPERATION: &str = "wait for the container's end";

/// What the container is.
pub(crate) async fn inspect(engine: &Engine, id: &ContainerId) -> Result<ContainerInfo, EngineError> {
    let doc = match document(engine, id).await {
        Err(e) if e.is_gone() => {
            engine.stuck.clear(id);
            return Err(e);
        }
        doc => doc?,
    };
    let reason = engine.exits.reason(id, &doc.state);
    let mut info = convert::container(doc)?;
    if let ContainerState::Exited(exit) = &mut info.state {
        exit.reason = reason;
    }
    Ok(info)
}

/// The engine's description of the container.
pub(crate) async fn document(engine: &Engine, id: &ContainerId) -> Result<json::Container, EngineError> {
    let path = format!("/containers/{id}/json");
    engine.json(Method::GET, &path, None, engine.budgets.read).await
}

/// The exit code of what a removal by force ends.
const KILLED: i64 = 137;

/// Between looks at a container that no alarm is set for.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) async fn wait(engine: &Engine, id: &ContainerId) -> Result<ExitStatus> {
    let mut retries = retries(engine);
    loop {
        match round(engine, id, &mut retries).await {
            Ok(Some(exit)) => return Ok(confirmed(engine, id, exit).await),
            // The alarm rang, or was lost, and the container is not at its end: look again, never in a tight loop.
            Ok(None) => tokio::time::sleep(Duration::from_millis(50)).await,
            // Only what is known about the container ends a wait.
            Err(e) if e.may_pass() => {
                tracing::debug!(container = id.short(), error = %e, "the engine does not answer a wait");
                if !retries.pause().await {
                    return Err(error(e, id));
                }
            }
            Err(e) => return Err(error(e, id)),
        }
    }
}

/// How long the kernel's report of a lack of memory may take after the end that it brought about: engines hear of the
/// two on two ways (seen on 20.10 under load: an end by signal 9, and the flag a moment later).
const LATE_REPORT: Duration = Duration::from_secs(1);

/// The same end, once it is settled whether memory had a part in it. Only an end by a kill that nobody has owned up to
/// is looked at again.
async fn confirmed(engine: &Engine, id: &ContainerId, exit: ExitStatus) -> ExitStatus {
    if exit.reason != (ExitReason::KilledByOther { signal: 9 }) {
        return exit;
    }
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(200), LATE_REPORT);
    while backoff.pause().await {
        match inspect(engine, id).await.map(|info| info.state) {
            Ok(ContainerState::Exited(again)) if again.reason != exit.reason => return again,
            Ok(ContainerState::Exited(_)) => {}
            // Gone, started again, or nobody there to ask: what was seen is what there is.
            _ => break,
        }
    }
    exit
}

/// One registration and what comes of it. `None`: the container goes on. Whenever the engine answers, its next absence
/// gets the whole time again.
async fn round(
    engine: &Engine,
    id: &ContainerId,
    retries: &mut Backoff,
) -> Result<Option<ExitStatus>, EngineError> {
    let path = format!("/containers/{id}/wait?condition=next-exit");
    let mut setting = pin!(engine.open(Method::POST, &path, engine.budgets.read));
    // Some engines send no headers before the end, and none at all for a container that has ended before (Podman): so
    // the container is looked at while the alarm is being set. Whatever comes of that, the next look is after it.
    let mut alarm = match timeout(LOOK, setting.as_mut()).await {
        Ok(set) => Alarm::of(set)?,
        Err(_) => Alarm::Setting,
    };
    loop {
        match inspect(engine, id).await {
            Ok(info) => {
                if let ContainerState::Exited(exit) = info.state {
                    return Ok(Some(exit));
                }
            }
            Err(e) => return removed(engine, id, e).map(Some),
        }
        *retries = self::retries(engine);
        match &mut alarm {
            // Silence is normal. Look, in case the engine has lost the event or the connection is half dead.
            Alarm::Set(alarm) => {
                if timeout(engine.budgets.stream_idle, ring(alarm)).await.is_ok() {
                    break;
                }
            }
            Alarm::Setting => {
                if let Ok(set) = timeout(LOOK, setting.as_mut()).await {
                    alarm = Alarm::of(set)?;
                }
            }
            Alarm::None => tokio::time::sleep(LOOK).await,
        }
    }
    match inspect(engine, id).await {
        Ok(info) => Ok(match info.state {
            ContainerState::Exited(exit) => Some(exit),
            _ => None,
        }),
        Err(e) => removed(engine, id, e).map(Some),
    }
}

/// A container that is gone while it is waited for. If we have ended it, that is how it ended: a forced removal leaves
/// nothing to look at.
fn removed(engine: &Engine, id: &ContainerId, cause: EngineError) -> Result<ExitStatus, EngineError> {
    match engine.exits.ended_by_us(id).filter(|_| cause.is_gone()) {
        Some(reason) => Ok(ExitStatus { reason, ..ExitStatus::of_code(KILLED) }),
        None => Err(cause),
    }
}

/// What tells of the end, so that looking from time to time is not all there is.
enum Alarm {
    Setting,
    Set(Incoming),
    None,
}

impl Alarm {
    fn of(set: Result<Incoming, EngineError>) -> Result<Self, EngineError> {
        match set {
            Ok(alarm) => Ok(Self::Set(alarm)),
            Err(EngineError::Timeout { .. }) => Ok(Self::None),
            Err(e) => Err(e),
        }
    }
}

/// Returns when the alarm rings or is lost. What it says does not matter.
async fn ring(alarm: &mut Incoming) {
    while let Some(Ok(_)) = alarm.frame().await {}
}

fn retries(engine: &Engine) -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2), engine.budgets.reconnect)
}

fn error(error: EngineError, id: &ContainerId) -> Error {
    error.into_core(OPERATION).with_container(id)
}
