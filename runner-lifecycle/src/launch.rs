//! The steps of a start, in order; undone in reverse when one fails or the start is given up.

mod readiness;
mod spec;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use runner_core::error::StartFailure;
use runner_core::image::ImageRequest;
use runner_core::phase::{Phase, PhaseTimes, StartEvent};
use runner_core::session::AgentEventStream;
use runner_core::workspace_provider::{PreparedWorkspace, WorkspaceRequest};
use runner_core::{
    AgentApi, ContainerId, ContainerSpec, Error, ErrorKind, ExitStatus, Result, SessionId, Sink,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::LifecycleConfig;
use crate::ending;
use crate::log_tail::log_tail;
use crate::manager::{Ports, StartRequest};
use crate::ownership::{Claim, Owner, claim};

/// Undoing a start that failed has this long for all its steps. The adapters bound each step themselves, by about a
/// minute; cut off here, a removal could not even be noted as stuck.
const UNDO_LIMIT: Duration = Duration::from_mins(3);

/// How long the engine may take to report the end of a container whose connections broke.
const DEATH_LAG: Duration = Duration::from_secs(1);

/// A runner that has proved its readiness.
pub(crate) struct Launched {
    pub(crate) container: ContainerId,
    pub(crate) api: Arc<dyn AgentApi>,
    pub(crate) session: SessionId,
    /// Open, and proved by the adapter: whatever is sent to the server from here on is seen on it.
    pub(crate) stream: AgentEventStream,
    pub(crate) phases: PhaseTimes,
}

/// What a start has made so far, to be undone in reverse.
#[derive(Default)]
struct Made {
    workspace: bool,
    create_sent: bool,
    container: Option<ContainerId>,
    exit: Option<ExitStatus>,
    phases: PhaseTimes,
    current: Option<(Phase, Instant)>,
}

/// A start under way.
struct Launch<'a> {
    ports: &'a Ports,
    config: &'a LifecycleConfig,
    request: &'a StartRequest,
    progress: &'a Sink<StartEvent>,
    cancel: &'a CancellationToken,
    made: Made,
}

/// Starts a runner. When it fails, or `cancel` is triggered, everything it made is gone again before it returns.
///
/// Steps that make something are not cut off half-way: an engine goes on creating a container whose request was
/// dropped, and it would appear after everything was looked through (seen on a real engine). Each of them is short
/// and bounded by its adapter; what takes long, fetching an image and the boot, is given up at once.
pub(crate) async fn launch(
    ports: &Ports,
    config: &LifecycleConfig,
    request: &StartRequest,
    progress: &Sink<StartEvent>,
    cancel: &CancellationToken,
) -> Result<Launched> {
    let mut launch = Launch { ports, config, request, progress, cancel, made: Made::default() };
    // The receiver of progress is somebody else's code: if it panics, what was made is undone all the same.
    let error = match AssertUnwindSafe(launch.steps()).catch_unwind().await {
        Ok(Ok(launched)) => return Ok(launched),
        Ok(Err(error)) => error,
        Err(_panic) => Error::new(ErrorKind::Internal, "start a runner", "one of its steps panicked")
            .with_hint("the panic's own message went to standard error"),
    };
    Err(launch.undo(error).await.with_task(&request.task).with_agent(&request.agent))
}

/// The error for a start that nobody wants any more.
pub(crate) fn given_up() -> Error {
    Error::new(ErrorKind::Canceled, "start a runner", "the start was given up")
}

impl Launch<'_> {
    async fn steps(&mut self) -> Result<Launched> {
        let prepared = self.prepare().await?;
        self.begin(Phase::Image);
        let progress = self.progress.clone();
        let image_progress = Sink::new(move |step| progress.send(StartEvent::Image(step)));
        let wanted = ImageRequest::new(self.config.image.clone(), self.config.pull);
        let image = self.ports.runtime.ensure_image(&wanted, image_progress);
        self.cancel.run_until_cancelled(image).await.unwrap_or_else(|| Err(given_up()))?;
        self.end();

        self.begin(Phase::Create);
        let server = self.ports.connector.requirements();
        let spec = spec::container(self.config, self.request, &prepared, &server);
        self.made.create_sent = true;
        let container = match self.ports.runtime.create(&spec).await {
            Err(taken) if taken.kind() == ErrorKind::AlreadyExists => self.reclaim(&spec, taken).await?,
            created => created?,
        };
        self.made.container = Some(container.clone());
        self.end();

        self.begin(Phase::Start);
        self.ports.runtime.start(&container).await?;

        // From here on the container's death ends the wait at once, whatever is being waited for.
        let runtime = Arc::clone(&self.ports.runtime);
        let watched = container.clone();
        let death = ending::wait(runtime, watched);
        let limit = self.config.start.ready_timeout;
        let mut last_failure = None;
        let cancel = self.cancel;
        tokio::pin!(death);
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(given_up()),
            exit = &mut death => return Err(self.died(exit)),
            ready = timeout(limit, self.ready(&container, prepared, server, &mut last_failure)) => ready,
        };
        match outcome {
            Ok(Err(error)) if error.kind() == ErrorKind::Connection => {
                // A server that dies is seen by its connections first and by the engine a moment later.
                match timeout(DEATH_LAG, death).await {
                    Ok(Ok(exit)) => Err(self.died(Ok(exit)).with_source(error)),
                    _ => Err(error),
                }
            }
            Ok(ready) => ready,
            Err(_elapsed) => Err(self.not_in_time(limit, last_failure)),
        }
    }

    /// The name is taken. Makes room where what has it is left over from this task, and nowhere else.
    async fn reclaim(&self, spec: &ContainerSpec, taken: Error) -> Result<ContainerId> {
        let Some(holder) = taken.container().cloned() else { return Err(taken) };
        let runtime = &self.ports.runtime;
        match runtime.inspect(&holder).await {
            Ok(found) => match claim(self.config, &self.request.task, &found, Owner::MayLive) {
                Claim::Replace => {
                    tracing::warn!(task = %self.request.task, container = holder.short(), "removing a container that is left over from this task");
                    runtime.remove(&holder).await?;
                }
                Claim::Leave(why) => return Err(taken.with_hint(why)),
            },
            // Gone meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        runtime.create(spec).await
    }

    async fn prepare(&mut self) -> Result<PreparedWorkspace> {
        self.begin(Phase::Workspace);
        self.made.workspace = true;
        let request = WorkspaceRequest {
            agent: self.request.agent.clone(),
            task: self.request.task.clone(),
            settings: self.request.settings.clone(),
        };
        let prepared = self.ports.workspaces.prepare(&request).await?;
        self.end();
        Ok(prepared)
    }

    fn not_in_time(&self, limit: Duration, last: Option<Error>) -> Error {
        let phase = self.made.current.map_or(Phase::Start, |(phase, _)| phase);
        let message =
            format!("no session within {} s; it was still in the phase {phase}", limit.as_secs_f32());
        let error = Error::new(ErrorKind::Timeout, "start a runner", message)
            .with_hint("raise the start's time limit or the CPU limit, or start fewer runners at once")
            .temporary();
        match last {
            Some(last) => error.with_source(last),
            None => error,
        }
    }

    fn died(&mut self, exit: Result<ExitStatus>) -> Error {
        let (error, exit) = ending::death("start a runner", "the container ended before it was ready", exit);
        self.made.exit = exit;
        match &self.made.exit {
            Some(exit) if exit.oom_killed => error.with_hint("give it more memory"),
            Some(_) => error.with_hint("its last log lines tell what it lacked"),
            None => error,
        }
    }

    fn begin(&mut self, phase: Phase) {
        self.made.current = Some((phase, Instant::now()));
        self.progress.send(StartEvent::Began(phase));
    }

    fn end(&mut self) {
        if let Some((phase, took)) = self.note_time() {
            self.progress.send(StartEvent::Done(phase, took));
        }
    }

    fn note_time(&mut self) -> Option<(Phase, Duration)> {
        let (phase, began) = self.made.current.take()?;
        let took = began.elapsed();
        self.made.phases.push(phase, took);
        Some((phase, took))
    }

    /// Takes away what was made, newest first, and gives the error what is known about the failure.
    async fn undo(mut self, error: Error) -> Error {
        // The phase it failed in is part of the error, and not done.
        self.note_time();
        let mut failure =
            StartFailure { phases: self.made.phases, exit: self.made.exit, log_tail: Vec::new() };
        let task = &self.request.task;
        let work = async {
            if let Some(container) = &self.made.container {
                let runtime = self.ports.runtime.as_ref();
                failure.log_tail = log_tail(runtime, container, self.config.start.log_tail).await;
                ending::remove(self.ports, task, container).await
            } else {
                // The answer to `create` may have been lost, and with it the container's id.
                let lost = if self.made.create_sent {
                    ending::remove_lost(self.ports, self.config, task).await
                } else {
                    Ok(())
                };
                let released =
                    if self.made.workspace { self.ports.workspaces.release(task).await } else { Ok(()) };
                lost.and(released)
            }
        };
        match timeout(UNDO_LIMIT, work).await {
            Ok(Ok(())) => {}
            Ok(Err(left)) => {
                tracing::error!(task = %task, error = left.chain(), "a failed start could not be undone");
            }
            Err(_) => tracing::error!(task = %task, "a failed start could not be undone in time"),
        }
        let error = match &self.made.container {
            Some(container) => error.with_container(container),
            None => error,
        };
        error.with_start_failure(failure)
    }
}
