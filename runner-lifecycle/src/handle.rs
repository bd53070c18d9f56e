//! What a caller holds: commands go to the runner's own task, answers come back.

use std::sync::Arc;

use async_trait::async_trait;
use runner_core::input::InputAnswer;
use runner_core::logs::{LogOptions, LogStream};
use runner_core::phase::PhaseTimes;
use runner_core::{
    AgentId, ContainerId, Error, ErrorKind, Result, RunRequest, Runner, RunnerStatus, SessionId, TaskId, Turn,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::manager::Ports;
use crate::turn::inputs::unknown;

/// A call on its way to the runner's task.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Asked),
    Cancel {
        reply: oneshot::Sender<()>,
    },
    Answer {
        request: String,
        answer: InputAnswer,
        reply: oneshot::Sender<Result<()>>,
    },
    /// Has no answer of its own: how it ends is told to everybody in the same way.
    Stop,
}

/// A turn that somebody waits for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: RunRequest,
    pub(crate) reply: oneshot::Sender<Result<Turn>>,
    /// Says that the answer was taken; ends without a word when the caller has gone, before the answer or with it
    /// on its way.
    pub(crate) kept: oneshot::Receiver<()>,
}

/// Where the runner stands, and how it ended once it has.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) status: RunnerStatus,
    /// How taking it away went.
    pub(crate) ended: Option<Result<()>>,
    /// Why it broke.
    pub(crate) reason: Option<Error>,
}

/// One container, one agent server, one session. Made by [`RunnerManager::start`](crate::RunnerManager::start).
///
/// When the manager and all holders are gone without a [`stop`](Runner::stop), the runner's own task stops the
/// container, as long as the tokio runtime lives.
#[derive(Debug)]
pub struct ContainerRunner {
    pub(crate) task: TaskId,
    pub(crate) agent: AgentId,
    pub(crate) container: ContainerId,
    pub(crate) session: SessionId,
    pub(crate) phases: PhaseTimes,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) ports: Arc<Ports>,
}

impl ContainerRunner {
    /// The agent that works in it.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// The container.
    pub fn container(&self) -> &ContainerId {
        &self.container
    }

    /// The conversation.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// How long each phase of the start took.
    pub fn start_times(&self) -> &PhaseTimes {
        &self.phases
    }

    /// Why the runner broke, if it has.
    pub fn failure(&self) -> Option<Error> {
        self.standing.borrow().reason.clone()
    }

    /// Whether its own task has ended.
    pub(crate) fn is_over(&self) -> bool {
        // A task that panicked closes the channel without saying how it ended.
        self.standing.borrow().ended.is_some() || self.standing.has_changed().is_err()
    }

    fn not_ready(&self) -> Error {
        let standing = self.standing.borrow();
        let error = Error::new(
            ErrorKind::NotReady,
            "use a runner",
            format!("it is {} and takes no turn", standing.status),
        )
        .with_hint("start the task again")
        .with_task(&self.task);
        match &standing.reason {
            Some(reason) => error.with_source(reason.clone()),
            None => error,
        }
    }

    async fn wait_for_end(&self) -> Result<()> {
        let mut standing = self.standing.clone();
        match standing.wait_for(|s| s.ended.is_some()).await {
            Ok(standing) => standing.ended.clone().unwrap_or(Ok(())),
            Err(_closed) => {
                Err(Error::new(ErrorKind::Internal, "stop a runner", "its task ended without saying how")
                    .with_task(&self.task)
                    .with_container(&self.container)
                    .with_hint("the container may still be there: look for it by its label"))
            }
        }
    }
}

#[async_trait]
impl Runner for ContainerRunner {
    fn task(&self) -> &TaskId {
        &self.task
    }

    fn status(&self) -> RunnerStatus {
        self.standing.borrow().status
    }

    async fn run(&self, request: RunRequest) -> Result<Turn> {
        let (reply, answer) = oneshot::channel();
        let (keep, kept) = oneshot::channel();
        if self.commands.send(Command::Run(Asked { request, reply, kept })).await.is_err() {
            return Err(self.not_ready());
        }
        match answer.await {
            Ok(Ok(turn)) => {
                // An error says that the turn is over already.
                let _ = keep.send(());
                Ok(turn)
            }
            Ok(Err(error)) => Err(error.with_task(&self.task)),
            Err(_ended) => Err(self.not_ready()),
        }
    }

    async fn cancel(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        // A runner that has ended, or ends, has no turn.
        if self.commands.send(Command::Cancel { reply }).await.is_ok() {
            drop(answer.await);
        }
        Ok(())
    }

    async fn answer(&self, request: &str, answer: InputAnswer) -> Result<()> {
        let (reply, told) = oneshot::channel();
        let command = Command::Answer { request: request.to_owned(), answer, reply };
        // A runner that has ended waits for nothing.
        let sent = self.commands.send(command).await;
        let answered = match sent {
            Ok(()) => told.await.unwrap_or_else(|_| Err(unknown(request))),
            Err(_) => Err(unknown(request)),
        };
        answered.map_err(|error| error.with_task(&self.task))
    }

    async fn logs(&self, options: LogOptions) -> Result<LogStream> {
        let logs = self.ports.runtime.logs(&self.container, options).await;
        logs.map_err(|e| e.with_task(&self.task).with_container(&self.container))
    }

    async fn stop(&self) -> Result<()> {
        // An error says that it ends already.
        drop(self.commands.send(Command::Stop).await);
        self.wait_for_end().await
    }
}
