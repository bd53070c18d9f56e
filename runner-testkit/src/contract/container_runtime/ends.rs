//! How and why a container ends, and beginning anew.

use futures::StreamExt;
use runner_core::container::{StopOutcome, StopReason};
use runner_core::container_runtime::Feature;
use runner_core::logs::LogOptions;
use runner_core::{ContainerId, ContainerState, ExitReason, ExitStatus};

use super::Lab;
use crate::contract::support::ok;

/// The reason that a stop with this outcome leaves; `None` if it has ended nothing.
fn reason(outcome: StopOutcome, why: StopReason) -> Option<ExitReason> {
    match outcome {
        StopOutcome::Stopped => Some(ExitReason::Stopped(why)),
        StopOutcome::KilledAfterGrace => Some(ExitReason::KilledAfterGrace(why)),
        StopOutcome::NotRunning | StopOutcome::Gone => None,
    }
}

impl Lab {
    /// How it ended, by `wait`, once `inspect` has been seen to say the same.
    async fn exit(&self, id: &ContainerId) -> ExitStatus {
        let exit = ok("wait", self.soon("wait for one that has ended", self.runtime.wait(id)).await);
        let state = self.state(id).await;
        assert_eq!(state, ContainerState::Exited(exit.clone()), "inspect and wait must tell the same end");
        exit
    }

    pub(super) async fn stop_is_idempotent_and_says_what_it_did(&self) {
        let why = StopReason::Idle;
        let id = self.create_staying("stops").await;
        let never_ran = ok("stop of one that never ran", self.stop(&id, why).await);
        assert_eq!(never_ran, StopOutcome::NotRunning, "there was nothing to stop yet");
        self.start(&id).await;
        let outcome = ok("stop", self.stop(&id, why).await);
        let state = self.state(&id).await;
        assert!(matches!(state, ContainerState::Exited(_)), "after stop it must have ended: {state:?}");
        let exit = self.exit(&id).await;
        assert_eq!(Some(exit.reason), reason(outcome, why), "the stop said {outcome:?}");

        let again = ok("stop of a stopped one", self.stop(&id, StopReason::Shutdown).await);
        assert_eq!(again, StopOutcome::NotRunning, "there was nothing left to stop");
        assert_eq!(self.exit(&id).await, exit, "a stop that has nothing to do must change nothing");
        self.remove(&id).await;
        let gone = ok("stop of one that is gone", self.stop(&id, why).await);
        assert_eq!(gone, StopOutcome::Gone, "stop must say that it is gone");
    }

    pub(super) async fn what_ignores_its_signal_is_killed(&self) {
        let Some(make) = &self.fixture.ignores_term else { return };
        let why = StopReason::MaxRunTime;
        let id = self.create(make, "ignores").await;
        self.start(&id).await;
        self.has_written(&id).await;
        let outcome = ok("stop of one that ignores its signal", self.stop(&id, why).await);
        assert_eq!(outcome, StopOutcome::KilledAfterGrace, "a stop must say that it took a kill");
        let exit = self.exit(&id).await;
        assert_eq!(exit.reason, ExitReason::KilledAfterGrace(why), "a kill of ours must be told as one");
        assert_eq!(exit.code, 137, "a kill has its exit code");
        self.remove(&id).await;
    }

    /// Returns once it has written the fixture's line.
    async fn has_written(&self, id: &ContainerId) {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut stream = ok("logs", self.runtime.logs(id, options).await);
        let reading = async {
            while let Some(line) = stream.next().await {
                if ok("a log line", line).text == self.fixture.writes {
                    return true;
                }
            }
            false
        };
        let written = self.soon("writing the fixture's line", reading).await;
        assert!(written, "the fixture's container must write {:?}", self.fixture.writes);
    }

    pub(super) async fn a_frozen_one_is_stopped_too(&self) {
        if !self.can(Feature::Pause).await {
            return;
        }
        let why = StopReason::HostPressure;
        let id = self.staying("frozen").await;
        ok("pause", self.runtime.pause(&id).await);
        let outcome = ok("stop of a paused one", self.stop(&id, why).await);
        let exit = self.exit(&id).await;
        assert_eq!(Some(exit.reason), reason(outcome, why), "the stop said {outcome:?}");
        self.remove(&id).await;
    }

    pub(super) async fn a_restart_shows_in_the_time_of_the_start(&self) {
        let id = self.create_staying("restarts").await;
        let look = async || ok("inspect", self.runtime.inspect(&id).await);
        let created = look().await;
        assert_eq!(created.started_at, None, "one that never ran was not started");
        self.start(&id).await;
        let first = look().await;
        assert!(first.started_at.is_some(), "inspect must say when it was started");
        ok("stop", self.stop(&id, StopReason::Requested).await);
        self.start(&id).await;
        let second = look().await;
        assert_eq!(second.state, ContainerState::Running, "one that has ended can be started again");
        assert_ne!(second.started_at, first.started_at, "another start has another time");
        assert_eq!(second.created_at, created.created_at, "it is created once");
        self.remove(&id).await;
    }
}
