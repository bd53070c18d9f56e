//! From created to gone.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use runner_core::logs::{LogLine, LogOptions};
use runner_core::{ContainerId, ContainerState, ErrorKind, ExitReason, Result};

use super::Lab;
use crate::contract::support::{eventually, fails, ok};

/// Long enough for a wrong answer to arrive, short enough for a suite.
pub(super) const A_MOMENT: Duration = Duration::from_millis(200);

impl Lab {
    pub(super) async fn wait_goes_through_start_to_the_exit(&self) {
        let id = self.create(&self.fixture.exits, "exits").await;
        assert_eq!(self.state(&id).await, ContainerState::Created, "a created container must not run yet");
        let too_early = tokio::time::timeout(A_MOMENT, self.runtime.wait(&id)).await;
        assert!(
            too_early.is_err(),
            "wait must not answer for a container that has not started: {too_early:?}"
        );

        let waiting = self.runtime.wait(&id);
        let starting = async {
            // Gives the wait its chance to reach the engine first.
            tokio::time::sleep(A_MOMENT).await;
            self.runtime.start(&id).await
        };
        let (exit, started) = self.soon("start and exit", async { tokio::join!(waiting, starting) }).await;
        ok("start", started);
        let exit = ok("wait", exit);
        assert_eq!(exit.code, 7, "wait must give the exit code");
        assert_eq!(exit.reason, ExitReason::Exited, "nobody else has ended it");

        let again = self.soon("wait for one that has ended", self.runtime.wait(&id)).await;
        assert_eq!(
            ok("wait for one that has ended", again).code,
            7,
            "a second wait must give the same exit code"
        );
        match self.state(&id).await {
            ContainerState::Exited(status) => {
                assert_eq!(status.code, 7, "inspect must give the exit code");
                assert_eq!(status.reason, ExitReason::Exited, "inspect must give the reason that wait gives");
            }
            other => assert_eq!(format!("{other:?}"), "Exited", "inspect must say that it has ended"),
        }
        let info = ok("inspect", self.runtime.inspect(&id).await);
        assert!(info.ports.is_empty(), "a container that has ended must publish nothing: {:?}", info.ports);
        self.remove(&id).await;
    }

    pub(super) async fn what_was_written_is_read(&self) {
        let id = self.create(&self.fixture.exits, "writes").await;
        let created_at = ok("inspect", self.runtime.inspect(&id).await).created_at;
        self.start(&id).await;
        let exit = ok("wait", self.soon("exit", self.runtime.wait(&id)).await);
        let lines = self.read_log(&id, LogOptions { follow: true, ..LogOptions::default() }).await;
        assert!(
            lines.contains(&self.fixture.writes),
            "the log must have {:?}: {lines:?}",
            self.fixture.writes
        );
        for tail in [1, 0] {
            let lines = self.read_log(&id, LogOptions { follow: false, tail: Some(tail), since: None }).await;
            assert_eq!(lines.len(), tail as usize, "a tail of {tail} must be as long: {lines:?}");
        }
        let since = |since| LogOptions { since, ..LogOptions::default() };
        let lines = self.read_log(&id, since(created_at)).await;
        assert!(
            lines.contains(&self.fixture.writes),
            "the log since the creation must have all of it: {lines:?}"
        );
        if let Some(ended_at) = exit.ended_at {
            let lines = self.read_log(&id, since(Some(ended_at + Duration::from_secs(1)))).await;
            assert!(lines.is_empty(), "nothing was written after the end: {lines:?}");
        }
        self.remove(&id).await;
    }

    async fn read_log(&self, id: &ContainerId, options: LogOptions) -> Vec<String> {
        let stream = ok("logs", self.runtime.logs(id, options).await);
        let lines: Vec<Result<LogLine>> = self.soon("a log that ends", stream.collect()).await;
        lines.into_iter().map(|line| ok("a log line", line).text).collect()
    }

    pub(super) async fn start_is_idempotent_and_publishes_on_loopback(&self) {
        let id = self.create_staying("starts").await;
        let before = ok("inspect", self.runtime.inspect(&id).await);
        assert!(before.ports.is_empty(), "a container that does not run must publish nothing");
        ok("start", self.runtime.start(&id).await);
        ok("start of one that runs", self.runtime.start(&id).await);
        assert_eq!(self.state(&id).await, ContainerState::Running);

        let wanted = self.spec(&self.fixture.stays, "unused").ports;
        assert!(!wanted.is_empty(), "the fixture's staying container must publish a port");
        let all_there = || async {
            let info = ok("inspect", self.runtime.inspect(&id).await);
            wanted.iter().all(|port| info.ports.iter().any(|p| p.container == *port)).then_some(info)
        };
        let info = eventually(self.fixture.patience, "publishing the ports", all_there).await;
        for port in &info.ports {
            assert!(port.address.ip().is_loopback(), "{port:?} must be published on loopback only");
            assert_ne!(port.address.port(), 0, "{port:?} must say where it is published");
        }
        self.remove(&id).await;
    }

    pub(super) async fn remove_is_idempotent_and_complete(&self) {
        let id = self.staying("removes").await;
        let at_once = join_all((0..4).map(|_| self.runtime.remove(&id)));
        for removed in self.soon("four removes at once", at_once).await {
            ok("each of four removes at once", removed);
        }
        fails("inspect of a removed one", self.runtime.inspect(&id).await, ErrorKind::NotFound);
        ok("remove of one that is gone", self.runtime.remove(&id).await);
        assert_eq!(self.count().await, 0, "a removed container must not be listed");
        let stuck = self.runtime.stuck();
        assert!(stuck.iter().all(|stuck| stuck.id != id), "what is removed is not stuck: {stuck:?}");
        let again = self.create_staying("removes").await;
        assert_ne!(again, id, "a name that is free again must give another container");
        self.remove(&again).await;
    }

    /// Whatever `wait` says about a container that is removed under it, it must not hang.
    pub(super) async fn a_wait_outlives_no_container(&self) {
        let id = self.staying("waits").await;
        let waiting = self.runtime.wait(&id);
        let removing = async {
            tokio::time::sleep(A_MOMENT).await;
            self.remove(&id).await;
        };
        let both = async { tokio::join!(waiting, removing) };
        let _ended = self.soon("wait for one that is removed", both).await;
    }
}
