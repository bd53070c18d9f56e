//! Stopping and removing, and containers that neither ends.

use std::sync::Arc;
use std::time::Duration;

use runner_core::container::{StopOptions, StopOutcome, StopReason, StuckContainer};
use runner_core::runtime_event::ContainerEventKind;
use runner_core::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerState, Error, ErrorKind, ExitReason, ExitStatus,
    Result,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::FakeRuntime;
use super::container::Container;
use super::engine::Engine;
use super::exits::exited;
use super::port::has_ended;
use crate::faults::lock;

/// What an engine sends first, and last.
const TERM: u8 = 15;
const KILL: u8 = 9;

/// Containers that could not be ended, in the order in which that was noticed.
#[derive(Default)]
pub(super) struct Stuck(Vec<StuckContainer>);

impl Stuck {
    fn forget(&mut self, id: &ContainerId) {
        self.0.retain(|stuck| stuck.id != *id);
    }

    pub(super) fn all(&self) -> Vec<StuckContainer> {
        self.0.clone()
    }
}

/// A stop that has begun.
enum Begun {
    /// There was nothing to do.
    Over(StopOutcome),
    /// It ends in this run.
    Run { number: u64, changes: watch::Receiver<ContainerState> },
}

fn killed(why: StopReason) -> ExitStatus {
    ExitStatus { reason: ExitReason::KilledAfterGrace(why), ..exited(137) }
}

impl Engine {
    /// Sends the stop signal. A second stop does not change the first one's reason.
    fn begin_stop(&mut self, id: &ContainerId, why: StopReason) -> Begun {
        let Some(container) = self.find_mut(id) else { return Begun::Over(StopOutcome::Gone) };
        if !container.is_running() {
            return Begun::Over(StopOutcome::NotRunning);
        }
        container.stopping.get_or_insert(why);
        let (number, changes) = (container.run, container.state.subscribe());
        let was_paused = container.is_paused();
        if was_paused {
            // A frozen process cannot take a signal, so an engine thaws it.
            container.thaw();
        }
        self.tell(id, ContainerEventKind::Signaled { signal: Some(TERM) });
        if was_paused {
            self.tell(id, ContainerEventKind::Unpaused);
        }
        Begun::Run { number, changes }
    }

    /// Kills a container that runs, in the given run of it only, if one is given.
    fn kill(&mut self, id: &ContainerId, run: Option<u64>) -> Option<ContainerInfo> {
        let container = self.find(id)?;
        if !container.is_running() || run.is_some_and(|run| run != container.run) {
            return None;
        }
        let why = container.stopping.unwrap_or_default();
        self.tell(id, ContainerEventKind::Signaled { signal: Some(KILL) });
        self.end(id, run, killed(why))
    }

    fn remove(&mut self, id: &ContainerId) -> Option<ContainerInfo> {
        let ended = self.kill(id, None);
        self.forget(id);
        self.stuck.forget(id);
        ended
    }

    fn note_stuck(&mut self, id: &ContainerId, error: &Error) {
        let since = self.now();
        if let Some(stuck) = self.stuck.0.iter_mut().find(|stuck| stuck.id == *id) {
            stuck.attempts = stuck.attempts.saturating_add(1);
            stuck.error = error.clone();
        } else {
            self.stuck.0.push(StuckContainer { id: id.clone(), since, attempts: 1, error: error.clone() });
        }
    }
}

impl FakeRuntime {
    pub(super) async fn stop_now(&self, id: &ContainerId, options: StopOptions) -> Result<StopOutcome> {
        if lock(&self.shared.engine).find(id).is_some_and(Container::is_running) {
            self.while_held("stop a container", id).await?;
        }
        let begun = lock(&self.shared.engine).begin_stop(id, options.why);
        let (run, mut changes) = match begun {
            Begun::Over(outcome) => return Ok(outcome),
            Begun::Run { number, changes } => (number, changes),
        };
        if self.ignores_stop(id) {
            self.kill_later(id, run, options.grace);
        } else {
            self.end(id, Some(run), exited(143));
        }
        // An error means that it was removed meanwhile, and then it was ended before that.
        let ended = changes.wait_for(has_ended).await.map(|state| state.clone());
        lock(&self.shared.engine).stuck.forget(id);
        Ok(match ended {
            Ok(ContainerState::Exited(status)) => match status.reason {
                ExitReason::Stopped(_) => StopOutcome::Stopped,
                ExitReason::KilledAfterGrace(_) => StopOutcome::KilledAfterGrace,
                // It was faster than the stop.
                _ => StopOutcome::NotRunning,
            },
            _ => StopOutcome::Gone,
        })
    }

    /// The engine finishes a stop even if the caller goes away.
    fn kill_later(&self, id: &ContainerId, run: u64, grace: Duration) {
        let (engine, id) = (Arc::downgrade(&self.shared), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            if let Some(shared) = engine.upgrade() {
                let this = Self { shared };
                let ended = lock(&this.shared.engine).kill(&id, Some(run));
                this.tell_exit(ended.as_ref());
            }
        });
    }

    fn ignores_stop(&self, id: &ContainerId) -> bool {
        let (decide, spec) = {
            let engine = lock(&self.shared.engine);
            let Some(container) = engine.find(id) else { return false };
            (Arc::clone(&engine.ignores_stop), container.spec.clone())
        };
        // A test's own code: never called under the lock.
        decide(&spec)
    }

    pub(super) async fn remove_now(&self, id: &ContainerId) -> Result<()> {
        self.while_held("remove a container", id).await?;
        let ended = lock(&self.shared.engine).remove(id);
        self.tell_exit(ended.as_ref());
        Ok(())
    }

    /// Returns once nothing holds the container, or fails.
    async fn while_held(&self, operation: &'static str, id: &ContainerId) -> Result<()> {
        let began = Instant::now();
        loop {
            let (mut changes, patience) = {
                let engine = lock(&self.shared.engine);
                let Some(container) = engine.find(id) else { return Ok(()) };
                let Some(patience) = container.held else { return Ok(()) };
                (container.state.subscribe(), patience)
            };
            let Some(left) = patience.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                let message = format!("the container was not to be ended within {patience:?}");
                let error = Error::new(ErrorKind::Timeout, operation, message).temporary().with_container(id);
                lock(&self.shared.engine).note_stuck(id, &error);
                return Err(error);
            };
            // Either the time is over, or something has changed: look again.
            let _ = tokio::time::timeout(left, changes.changed()).await;
        }
    }

    /// Neither a stop nor a removal that is called from now on ends this container: each fails as
    /// [`ErrorKind::Timeout`] after this long, and `stuck` of the trait has it from the first failure on. It still
    /// ends by itself, or with its engine. `false` if it is gone.
    pub fn hold(&self, id: &ContainerId, patience: Duration) -> bool {
        self.set_held(id, Some(patience))
    }

    /// Takes [`hold`](Self::hold) back. Calls that wait for it go on and succeed; `stuck` has the container until
    /// one does. `false` if it is gone.
    pub fn let_go(&self, id: &ContainerId) -> bool {
        self.set_held(id, None)
    }

    fn set_held(&self, id: &ContainerId, held: Option<Duration>) -> bool {
        let mut engine = lock(&self.shared.engine);
        let Some(container) = engine.find_mut(id) else { return false };
        container.held = held;
        container.wake();
        true
    }

    /// Containers ignore the stop signal: a stop takes its whole grace and ends in a kill (code 137).
    pub fn ignore_stop_signals(&self) {
        self.ignore_stop_signals_if(|_| true);
    }

    /// The same for some containers only.
    pub fn ignore_stop_signals_if(&self, stubborn: impl Fn(&ContainerSpec) -> bool + Send + Sync + 'static) {
        lock(&self.shared.engine).ignores_stop = Arc::new(stubborn);
    }
}
