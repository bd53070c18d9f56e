//! The runners of one controller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use runner_core::phase::StartEvent;
use runner_core::{
    AgentConnector, AgentId, AgentSettings, ContainerRuntime, Error, ErrorKind, Result, Runner, RunnerStatus,
    Sink, TaskId, WorkspaceProvider,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::Actor;
use crate::config::LifecycleConfig;
use crate::handle::{ContainerRunner, Standing};
use crate::launch::{Launched, launch};

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
    runners: Mutex<HashMap<TaskId, Entry>>,
    /// Every start and every runner's own task.
    tasks: TaskTracker,
    closing: CancellationToken,
}

#[derive(Debug)]
enum Entry {
    Starting,
    Started(Arc<ContainerRunner>),
}

impl RunnerManager {
    /// A manager without runners. Nothing is called yet.
    pub fn new(ports: Ports, config: LifecycleConfig) -> Result<Self> {
        config.resources.validate()?;
        Ok(Self {
            inner: Arc::new(Inner {
                ports: Arc::new(ports),
                config: Arc::new(config),
                runners: Mutex::new(HashMap::new()),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
            }),
        })
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
        inner.reserve(&request.task)?;
        let cancel = inner.closing.child_token();
        let (reply, started) = oneshot::channel();
        // A task of its own, so that a dropped call cannot stop the undoing half-way.
        inner.tasks.spawn(Arc::clone(inner).start_in_task(request.clone(), progress, cancel.clone(), reply));
        let give_up = cancel.drop_guard();
        let result = started.await;
        give_up.disarm();
        result.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Internal, "start a runner", "the start ended without an answer")
                .with_task(&request.task))
        })
    }

    /// The task's runner, if it has one. It may have ended; its [`status`](Runner::status) says.
    pub fn get(&self, task: &TaskId) -> Option<Arc<ContainerRunner>> {
        match self.inner.lock().get(task) {
            Some(Entry::Started(runner)) => Some(Arc::clone(runner)),
            _ => None,
        }
    }

    /// All runners that have started, ended ones included, by task.
    pub fn list(&self) -> Vec<Arc<ContainerRunner>> {
        let mut all: Vec<_> = self
            .inner
            .lock()
            .values()
            .filter_map(|entry| match entry {
                Entry::Started(runner) => Some(Arc::clone(runner)),
                Entry::Starting => None,
            })
            .collect();
        all.sort_by(|a, b| a.task.cmp(&b.task));
        all
    }

    /// Ends the task for good: its runner is stopped, its conversation thrown away, and the task forgotten. The
    /// agent's workspace stays. A task that is not known only has its state thrown away.
    pub async fn delete(&self, task: &TaskId) -> Result<()> {
        let stopped = match self.get(task) {
            Some(runner) => runner.stop().await,
            None => Ok(()),
        };
        stopped?;
        self.inner.ports.workspaces.discard_state(task).await?;
        let mut runners = self.inner.lock();
        if let Some(Entry::Started(runner)) = runners.get(task)
            && is_over(runner)
        {
            runners.remove(task);
        }
        Ok(())
    }

    /// Takes no more starts, gives up those under way, stops every runner, and gives back what the runtime keeps
    /// for all. Returns once everything is gone; [`ErrorKind::Timeout`] names the tasks that are left when the
    /// shutdown's time limit has passed.
    pub async fn shutdown(&self) -> Result<()> {
        let inner = &self.inner;
        inner.closing.cancel();
        inner.tasks.close();
        let end = async {
            let runners = self.list();
            let stops = join_all(runners.iter().map(|runner| runner.stop())).await;
            inner.tasks.wait().await;
            stops.into_iter().collect::<Result<()>>()
        };
        let limit = inner.config.stop.shutdown;
        let stopped = timeout(limit, end).await.unwrap_or_else(|_| Err(self.left_over()));
        let released = inner.ports.runtime.release().await;
        stopped.and(released)
    }

    fn left_over(&self) -> Error {
        let runners = self.inner.lock();
        let mut left: Vec<_> = runners
            .iter()
            .filter(|(_, entry)| !matches!(entry, Entry::Started(runner) if is_over(runner)))
            .map(|(task, _)| task.as_str())
            .collect();
        left.sort_unstable();
        let seconds = self.inner.config.stop.shutdown.as_secs_f32();
        Error::new(
            ErrorKind::Timeout,
            "shut down",
            format!("not gone within {seconds} s: tasks {}", left.join(", ")),
        )
        .with_hint("look for containers with the label cnap.runner.managed=true")
    }
}

fn is_over(runner: &ContainerRunner) -> bool {
    runner.standing.borrow().ended.is_some()
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Entry>> {
        // Entries are replaced whole, so a panic elsewhere cannot have left one half-made.
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the task's place, so that of two starts at once only one goes on.
    fn reserve(&self, task: &TaskId) -> Result<()> {
        if self.closing.is_cancelled() {
            return Err(
                Error::new(ErrorKind::NotReady, "start a runner", "the manager is shut down").with_task(task)
            );
        }
        let mut runners = self.lock();
        let taken = match runners.get(task) {
            None => false,
            Some(Entry::Starting) => true,
            Some(Entry::Started(runner)) => !is_over(runner),
        };
        if taken {
            return Err(Error::new(ErrorKind::AlreadyExists, "start a runner", "the task has a runner")
                .with_hint("use that one, or delete the task first")
                .with_task(task));
        }
        runners.insert(task.clone(), Entry::Starting);
        Ok(())
    }

    async fn start_in_task(
        self: Arc<Self>,
        request: StartRequest,
        progress: Sink<StartEvent>,
        cancel: CancellationToken,
        reply: oneshot::Sender<Result<Arc<ContainerRunner>>>,
    ) {
        let launched = launch(&self.ports, &self.config, &request, &progress, &cancel).await;
        let runner = match launched {
            Ok(launched) => self.adopt(&request, launched),
            Err(error) => {
                self.lock().remove(&request.task);
                tracing::warn!(task = %request.task, error = error.chain(), "a start failed");
                drop(reply.send(Err(error)));
                return;
            }
        };
        tracing::info!(
            task = %request.task,
            agent = %request.agent,
            container = runner.container().short(),
            phases = %runner.start_times(),
            "a runner is ready"
        );
        self.lock().insert(request.task.clone(), Entry::Started(Arc::clone(&runner)));
        // Whoever asked has gone, or a shutdown began that no longer saw this start: nobody would ever stop it.
        let unwanted = cancel.is_cancelled() || reply.send(Ok(Arc::clone(&runner))).is_err();
        if unwanted && let Err(error) = runner.stop().await {
            tracing::error!(task = %request.task, error = error.chain(), "a start that was given up could not be undone");
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
        self.tasks.spawn(actor.serve());
        runner
    }
}
