//! A runner's own task: it owns the runner's state, and puts calls, events and the container's death in order.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use runner_core::error::StartFailure;
use runner_core::session::AgentEventStream;
use runner_core::{
    AgentApi, ContainerId, Error, ExitStatus, MessageId, Result, RunnerStatus, SessionId, StopReason, TaskId,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::config::LifecycleConfig;
use crate::ending;
use crate::handle::{Command, Standing};
use crate::launch::Launched;
use crate::log_tail::log_tail;
use crate::manager::Ports;
use crate::turn::drive::{self, TurnEnd};
use crate::turn::inputs::unknown;

/// Pause before an idle runner's event stream is opened again; a turn does not wait for it.
const IDLE_RECONNECT: std::time::Duration = std::time::Duration::from_secs(1);

pub(crate) struct Actor {
    pub(crate) ports: Arc<Ports>,
    pub(crate) config: Arc<LifecycleConfig>,
    pub(crate) task: TaskId,
    pub(crate) container: ContainerId,
    pub(crate) session: SessionId,
    pub(crate) api: Arc<dyn AgentApi>,
    /// Open for the runner's whole life, so that a turn has nothing to set up; `None` while it is lost.
    pub(crate) stream: Option<AgentEventStream>,
    pub(crate) commands: mpsc::Receiver<Command>,
    /// Ends when the container does.
    pub(crate) death: BoxFuture<'static, Result<ExitStatus>>,
    /// The number of the next event.
    pub(crate) next_seq: u64,
    /// Requests that earlier turns left open: the server keeps some of an aborted turn on its list.
    pub(crate) stale_requests: Vec<Arc<str>>,
    /// The user's messages of the turn before: late news of them are not the next turn's.
    pub(crate) earlier_prompts: Vec<MessageId>,
    pub(crate) standing: watch::Sender<Standing>,
    /// Loads what the server loads lazily; given up with the runner.
    _warm_up: Option<AbortOnDropHandle<()>>,
}

/// Why the runner's task ends.
pub(crate) enum End {
    /// Somebody asked for it, or nobody is left who could.
    Asked,
    /// The container ended, or does what it wants; it is stopped for this reason.
    Broken(Error, StopReason),
}

impl Actor {
    pub(crate) fn new(
        ports: Arc<Ports>,
        config: Arc<LifecycleConfig>,
        task: TaskId,
        launched: Launched,
        commands: mpsc::Receiver<Command>,
        standing: watch::Sender<Standing>,
    ) -> Self {
        let death: BoxFuture<'static, _> = {
            let (runtime, container) = (Arc::clone(&ports.runtime), launched.container.clone());
            Box::pin(ending::wait(runtime, container))
        };
        let warm_up = config.start.warm_up.then(|| {
            let (api, task) = (Arc::clone(&launched.api), task.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = api.warm_up().await {
                    tracing::warn!(task = %task, error = error.chain(), "the warm-up failed; the first turn will be slower");
                }
            }))
        });
        Self {
            ports,
            config,
            task,
            container: launched.container,
            session: launched.session,
            api: launched.api,
            stream: Some(launched.stream),
            commands,
            death,
            next_seq: 0,
            stale_requests: Vec::new(),
            earlier_prompts: Vec::new(),
            standing,
            _warm_up: warm_up,
        }
    }

    /// Serves the runner until its end, then takes away what it has.
    pub(crate) async fn serve(mut self) {
        let end = self.work().await;
        self.finish(end).await;
    }

    async fn work(&mut self) -> End {
        let mut reconnect_at = Instant::now();
        // Held here and not awaited on the spot: a server that does not answer must not hide a call.
        let mut connecting: Option<BoxFuture<'static, Result<AgentEventStream>>> = None;
        loop {
            tokio::select! {
                biased;
                exit = &mut self.death => {
                    let error = self.death_of(exit).await;
                    return End::Broken(error, StopReason::Replaced);
                }
                command = self.commands.recv() => match command {
                    None | Some(Command::Stop) => return End::Asked,
                    // Nothing runs, so nothing is to be canceled.
                    Some(Command::Cancel { reply }) => answer(reply, ()),
                    Some(Command::Answer { request, reply, .. }) => answer(reply, Err(unknown(&request))),
                    Some(Command::Run(asked)) => {
                        connecting = None;
                        self.set_status(RunnerStatus::Running);
                        if let TurnEnd::End(end) = drive::turn(self, asked).await {
                            return end;
                        }
                        reconnect_at = Instant::now();
                    }
                },
                event = next_of(&mut self.stream), if self.stream.is_some() => {
                    // Between turns events only show that the stream lives.
                    if !matches!(event, Some(Ok(_))) {
                        self.stream = None;
                        reconnect_at = Instant::now() + IDLE_RECONNECT;
                    }
                }
                stream = pending_or(&mut connecting), if connecting.is_some() => {
                    connecting = None;
                    match stream {
                        Ok(stream) => self.stream = Some(stream),
                        Err(error) => {
                            tracing::debug!(task = %self.task, error = error.chain(), "an idle runner's event stream is lost");
                            reconnect_at = Instant::now() + IDLE_RECONNECT;
                        }
                    }
                }
                () = sleep_until(reconnect_at), if self.stream.is_none() && connecting.is_none() => {
                    let api = Arc::clone(&self.api);
                    connecting = Some(Box::pin(async move { api.events().await }));
                }
            }
        }
    }

    /// The error for a container that ended although nobody asked for it.
    pub(crate) async fn death_of(&mut self, exit: Result<ExitStatus>) -> Error {
        // A future that has ended must not be polled again; the runner ends anyway.
        self.death = Box::pin(std::future::pending());
        let (error, exit) = ending::death("keep a runner", "the container ended while it was needed", exit);
        let error = match exit {
            Some(exit) => {
                let hint = exit.oom_killed.then_some("give it more memory");
                let lines = self.config.start.log_tail;
                let log_tail = log_tail(self.ports.runtime.as_ref(), &self.container, lines).await;
                let failure = StartFailure { exit: Some(exit), log_tail, ..StartFailure::default() };
                let error = error.with_start_failure(failure).temporary();
                match hint {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            }
            None => error,
        };
        error.with_task(&self.task).with_container(&self.container).with_session(&self.session)
    }

    pub(crate) fn set_status(&self, status: RunnerStatus) {
        self.standing.send_modify(|s| s.status = status);
    }

    async fn finish(mut self, end: End) {
        let (reason, why) = match end {
            End::Asked => (None, StopReason::Requested),
            End::Broken(error, why) => {
                tracing::warn!(task = %self.task, error = error.chain(), "the runner broke");
                (Some(error), why)
            }
        };
        let broken = reason.is_some();
        self.standing.send_modify(|s| {
            s.status = RunnerStatus::Stopping;
            s.reason = reason;
        });
        self.stream = None;
        // Whoever calls from here on is told at once that it is over. Dropping a call answers it: a stop then waits
        // for the end, a run is refused.
        let mut commands = self.commands;
        commands.close();
        let refuse = async { while commands.recv().await.is_some() {} };
        let end = async {
            let removed =
                ending::stop_and_remove(&self.ports, &self.config, &self.task, &self.container, why).await;
            if let Err(error) = &removed {
                tracing::error!(task = %self.task, error = error.chain(), "what the runner had could not all be taken away");
            }
            let failed = broken || removed.is_err();
            self.standing.send_modify(|s| {
                s.status = if failed { RunnerStatus::Failed } else { RunnerStatus::Stopped };
                s.reason = s.reason.take().or_else(|| removed.clone().err());
                s.ended = Some(removed);
            });
        };
        tokio::join!(refuse, end);
    }
}

/// The next item of a stream that is there.
pub(crate) async fn next_of(
    stream: &mut Option<AgentEventStream>,
) -> Option<Result<runner_core::session::AgentEvent>> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

/// The end of a future that is there.
pub(crate) async fn pending_or<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Answers a call whose caller may have gone.
pub(crate) fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    drop(reply.send(with));
}
