//! The end of a container: what it means, and taking away what a runner has.

use std::sync::Arc;
use std::time::Duration;

use runner_core::container::StopOptions;
use runner_core::{
    ContainerId, ContainerRuntime, Error, ErrorKind, ExitStatus, Result, Retry, StopReason, TaskId,
};

use crate::config::LifecycleConfig;
use crate::labels;
use crate::manager::Ports;

/// Stops a running container by its signal, then removes it and the secrets. Everything is tried; the first error
/// is returned.
pub(crate) async fn stop_and_remove(
    ports: &Ports,
    config: &LifecycleConfig,
    task: &TaskId,
    container: &ContainerId,
    why: StopReason,
) -> Result<()> {
    let options = StopOptions::new(config.stop.grace).because(why);
    if let Err(error) = ports.runtime.stop(container, options).await {
        // Removing kills; a stop that failed is only less polite.
        tracing::warn!(task = %task, container = container.short(), error = error.chain(), "the stop failed; removing by force");
    }
    remove(ports, task, container).await
}

/// Removes the container, running or not, and the secrets.
pub(crate) async fn remove(ports: &Ports, task: &TaskId, container: &ContainerId) -> Result<()> {
    // Side by side: a container that cannot be removed must not keep the secrets on the disk.
    let (removed, released) = tokio::join!(ports.runtime.remove(container), ports.workspaces.release(task));
    removed.map_err(|e| e.with_task(task).with_container(container)).and(released)
}

/// Removes whatever container of this controller the task has: for a `create` whose answer never came.
pub(crate) async fn remove_lost(ports: &Ports, config: &LifecycleConfig, task: &TaskId) -> Result<()> {
    for info in ports.runtime.list(&labels::of_task(config, task)).await? {
        ports.runtime.remove(&info.id).await?;
    }
    Ok(())
}

/// Waits for a container's end. A wait that fails for a reason that may pass tells of the engine's trouble and nothing of
/// the container, so it is made again: whoever has a turn in it has clocks of their own.
pub(crate) async fn wait(runtime: Arc<dyn ContainerRuntime>, container: ContainerId) -> Result<ExitStatus> {
    loop {
        match runtime.wait(&container).await {
            Err(error) if error.retry() == Retry::Temporary => {
                tracing::warn!(
                    container = container.short(),
                    error = error.chain(),
                    "the engine does not tell whether the container lives"
                );
                tokio::time::sleep(WAIT_AGAIN).await;
            }
            ended => return ended,
        }
    }
}

/// Before a wait that failed is made again; it has tried for a minute by itself.
const WAIT_AGAIN: Duration = Duration::from_secs(1);

/// The error for a container that ended although it was needed, and how it ended where that is known. A wait that
/// itself failed tells of its own trouble, unless that is the container's absence.
pub(crate) fn death(
    operation: &'static str,
    message: &'static str,
    exit: Result<ExitStatus>,
) -> (Error, Option<ExitStatus>) {
    match exit {
        Ok(exit) => (Error::new(ErrorKind::ContainerExited, operation, message), Some(exit)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let gone = Error::new(ErrorKind::ContainerExited, operation, message).with_source(error);
            (gone.with_hint("somebody else removed it").temporary(), None)
        }
        Err(error) => (error, None),
    }
}
