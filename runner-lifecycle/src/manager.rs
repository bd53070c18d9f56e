//! The runners of one controller.

mod places;

use std::sync::Arc;

use futures::future::join_all;
use runner_core::phase::StartEvent;
use runner_core::{
    AgentConnector, AgentId, AgentSettings, ContainerRuntime, Error, ErrorKind, Result, Runner, RunnerStatus,
    Sink, TaskId, WorkspaceProvider,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::places::{Hold, Places};
use crate::actor::Actor;
use crate::config::LifecycleConfig;
use crate::ending;
use crate::handle::{ContainerRunner, Standing};
use crate::launch::{Launched, given_up, launch};

/// Calls that may wait for a runner's task; each caller beyond waits for a place.
const COMMAND_BUFFER: usize = 16;

/// The adapters that a manager works with.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Runs containers.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Talks to agents' servers.
    pub connector: Arc<dyn AgentConnector>,
    /// Keeps workspaces.
    pub workspaces: Arc<dyn WorkspaceProvider>,
}

/// A runner to start.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// The task it works on.
    pub task: TaskId,
    /// The agent that works.
    pub agent: AgentId,
    /// What the agent is configured with.
    pub settings: AgentSettings,
}

/// Starts runners, keeps them, and ends them. A value, cheap to clone; all clones are one manager.
///
/// Dropping the last clone does not wait for anything: call [`shutdown`](Self::shutdown) to know that all
/// containers are gone.
#[derive(Debug, Clone)]
pub struct RunnerManager {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ports: Arc<Ports>,
    config: Arc<LifecycleConfig>,
    places: Arc<Places>,
}

impl RunnerManager {
    /// A manager without runners. Nothing is called yet.
    pub fn new(ports: Ports, config: LifecycleConfig) -> Result<Self> {
        config.validate()?;
        let (ports, config) = (Arc::new(ports), Arc::new(config));
        Ok(Self { inner: Arc::new(Inner { ports, config, places: Arc::default() }) })
    }

    /// Starts a runner and returns it once it has proved that it is ready. A task has one runner: while one is
    /// there, or on its way, it is [`ErrorKind::AlreadyExists`]. A start that fails, and one whose future is
    /// dropped, leaves nothing behind.
    pub async fn start(
        &self,
        request: StartRequest,
        progress: Sink<StartEvent>,
    ) -> Result<Arc<ContainerRunner>> {
        let inner = &self.inner;
        let (hold, cancel) = inner.places.hold_for_start(&request.task)?;
        let task = request.task.clone();
        let (reply, started) = oneshot::channel();
        let (keep, kept) = oneshot::channel();
        let give_up = cancel.clone().drop_guard();
        // A task of its own, so that a dropped call cannot stop the undoing half-way.
        let caller = Caller { cancel, reply, kept };
        inner.places.tasks.spawn(Arc::clone(inner).start_in_task(request, progress, hold, caller));
        let result = started.await;
        give_up.disarm();
        if matches!(result, Ok(Ok(_))) {
            // An error says that a shutdown no longer waits for it.
            let _ = keep.send(());
        }
        result.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "start a runner", "the start ended without an answer")
                .with_task(&task))
        })
    }

    /// The task's runner, if it has one. It may have ended; its [`status`](Runner::status) says.
    pub fn get(&self, task: &TaskId) -> Option<Arc<ContainerRunner>> {
        self.inner.places.get(task)
    }

    /// All runners that have started, ended ones included, by task.
    pub fn list(&self) -> Vec<Arc<ContainerRunner>> {
        self.inner.places.list()
    }

    /// Ends the task for good: its runner is stopped, its conversation thrown away, and the task forgotten. The
    /// agent's workspace stays. A start that is under way is given up first; a task that is not known only has its
    /// state thrown away. Once begun it goes on even if its future is dropped; until it has ended, the task cannot
    /// be started. After an error the task is as it was, and the call can be repeated.
    pub async fn delete(&self, task: &TaskId) -> Result<()> {
        // A task of its own: work on a disk goes on when its future is dropped, and no start may meet it.
        let work = Arc::clone(&self.inner).delete_in_task(task.clone());
        self.inner.places.tasks.spawn(work).await.unwrap_or_else(|e| {
            Err(Error::new(ErrorKind::Internal, "delete a task", "it ended without an answer")
                .with_task(task)
                .with_source(e))
        })
    }

    /// Takes no more starts, gives up those under way, stops every runner, and gives back what the runtime keeps
    /// for all. Returns once everything is gone; [`ErrorKind::Timeout`] names the tasks that are left when the
    /// shutdown's time limit has passed.
    pub async fn shutdown(&self) -> Result<()> {
        let inner = &self.inner;
        inner.places.close();
        let end = async {
            let runners = self.list();
            let ends = join_all(runners.iter().map(|runner| inner.end(runner))).await;
            inner.places.tasks.wait().await;
            ends.into_iter().collect::<Result<()>>()
        };
        let limit = inner.config.stop.shutdown;
        let stopped = timeout(limit, end).await.unwrap_or_else(|_| Err(self.left_over()));
        let released = inner.ports.runtime.release().await;
        stopped.and(released)
    }

    fn left_over(&self) -> Error {
        let left = self.inner.places.left_over();
        let left: Vec<_> = left.iter().map(TaskId::as_str).collect();
        let seconds = self.inner.config.stop.shutdown.as_secs_f32();
        Error::new(
            ErrorKind::Timeout,
            "shut down",
            format!("not gone within {seconds} s: tasks {}", left.join(", ")),
        )
        .with_hint("look for containers with the label cnap.runner.managed=true")
    }
}

/// Whoever waits for a start.
struct Caller {
    /// Triggered when nobody wants the runner any more.
    cancel: CancellationToken,
    reply: oneshot::Sender<Result<Arc<ContainerRunner>>>,
    /// Says that the answer was taken; an answer on its way belongs to nobody.
    kept: oneshot::Receiver<()>,
}

impl Inner {
    async fn start_in_task(
        self: Arc<Self>,
        request: StartRequest,
        progress: Sink<StartEvent>,
        mut hold: Hold,
        caller: Caller,
    ) {
        let Caller { cancel, reply, kept } = caller;
        let refuse = |hold, reply: oneshot::Sender<_>, error: Error| {
            tracing::warn!(task = %request.task, error = error.chain(), "a start failed");
            // First the place: whoever gets the error may start again at once.
            drop::<Hold>(hold);
            drop(reply.send(Err(error)));
        };
        let launched = match launch(&self.ports, &self.config, &request, &progress, &cancel).await {
            Ok(launched) => launched,
            Err(error) => return refuse(hold, reply, error),
        };
        let runner = self.adopt(&request, launched);
        // A shutdown or a delete that came at the last moment.
        if cancel.is_cancelled() {
            self.end_unwanted(&runner).await;
            return refuse(hold, reply, given_up().with_task(&request.task).with_agent(&request.agent));
        }
        tracing::info!(
            task = %request.task,
            agent = %request.agent,
            container = runner.container().short(),
            phases = %runner.start_times(),
            "a runner is ready"
        );
        hold.runner = Some(Arc::clone(&runner));
        drop(hold);
        drop(reply.send(Ok(Arc::clone(&runner))));
        let unwanted = tokio::select! {
            biased;
            kept = kept => kept.is_err(),
            () = cancel.cancelled() => true,
        };
        if unwanted {
            self.end_unwanted(&runner).await;
        }
    }

    async fn end_unwanted(&self, runner: &ContainerRunner) {
        if let Err(error) = self.end(runner).await {
            tracing::error!(task = %runner.task, error = error.chain(), "a start that was given up could not be undone");
        }
    }

    async fn delete_in_task(self: Arc<Self>, task: TaskId) -> Result<()> {
        let mut hold = self.places.hold_for_delete(&task).await;
        if let Some(runner) = &hold.runner {
            self.end(runner).await?;
        }
        self.ports.workspaces.discard_state(&task).await?;
        hold.runner = None;
        Ok(())
    }

    /// Stops a runner. One that has ended and could not take everything away tries again: it itself gives every
    /// caller the same end.
    async fn end(&self, runner: &ContainerRunner) -> Result<()> {
        let known = runner.is_over();
        match runner.stop().await {
            Err(_) if known => ending::remove(&self.ports, &runner.task, &runner.container).await,
            end => end,
        }
    }

    /// Gives a launched runner its own task.
    fn adopt(&self, request: &StartRequest, launched: Launched) -> Arc<ContainerRunner> {
        let (commands, inbox) = mpsc::channel(COMMAND_BUFFER);
        let (standing_sender, standing) =
            watch::channel(Standing { status: RunnerStatus::Ready, ended: None, reason: None });
        let runner = Arc::new(ContainerRunner {
            task: request.task.clone(),
            agent: request.agent.clone(),
            container: launched.container.clone(),
            session: launched.session.clone(),
            phases: launched.phases.clone(),
            commands,
            standing,
            ports: Arc::clone(&self.ports),
        });
        let (ports, config) = (Arc::clone(&self.ports), Arc::clone(&self.config));
        let actor = Actor::new(ports, config, request.task.clone(), launched, inbox, standing_sender);
        self.places.tasks.spawn(actor.serve());
        runner
    }
}
