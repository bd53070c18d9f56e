//! One container of the engine.

use std::time::{Duration, SystemTime};

use runner_core::container::{PublishedPort, StopReason};
use runner_core::logs::{LogLine, LogSource};
use runner_core::resources::{ResourceUpdate, Resources};
use runner_core::{ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExitReason, ExitStatus};
use tokio::sync::watch;
use tokio::time::Instant;

use super::files::Files;
use super::meter::{Load, Meter};

pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) spec: ContainerSpec,
    created_at: SystemTime,
    started_at: Option<SystemTime>,
    pub(super) ports: Vec<PublishedPort>,
    ports_from: Instant,
    pub(super) lines: Vec<LogLine>,
    /// Counts starts, so that an end planned for one run does not hit a later one.
    pub(super) run: u64,
    pub(super) resources: Resources,
    /// Every accepted change of them.
    pub(super) updates: Vec<ResourceUpdate>,
    pub(super) meter: Meter,
    pub(super) files: Files,
    /// Why the first stop of this run was made.
    pub(super) stopping: Option<StopReason>,
    /// The kernel has killed a child process in this run.
    pub(super) child_killed: bool,
    /// Neither a stop nor a removal ends it, and each fails after this long.
    pub(super) held: Option<Duration>,
    /// The state, and the way in which waiting calls hear of a change.
    pub(super) state: watch::Sender<ContainerState>,
}

impl Container {
    pub(super) fn new(
        id: ContainerId,
        spec: ContainerSpec,
        created_at: SystemTime,
        load: Load,
        files: Files,
    ) -> Self {
        Self {
            id,
            created_at,
            started_at: None,
            ports: Vec::new(),
            ports_from: Instant::now(),
            lines: Vec::new(),
            run: 0,
            resources: spec.resources,
            spec,
            updates: Vec::new(),
            meter: Meter::new(load),
            files,
            stopping: None,
            child_killed: false,
            held: None,
            state: watch::Sender::new(ContainerState::Created),
        }
    }

    pub(super) fn info(&self) -> ContainerInfo {
        let state = self.state.borrow().clone();
        let reachable = self.is_running() && self.ports_from <= Instant::now();
        ContainerInfo {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            labels: self.spec.labels.clone(),
            ports: if reachable { self.ports.clone() } else { Vec::new() },
            state,
            created_at: Some(self.created_at),
            started_at: self.started_at,
        }
    }

    /// Frozen processes hold their ports and can be stopped like running ones.
    pub(super) fn is_running(&self) -> bool {
        matches!(*self.state.borrow(), ContainerState::Running | ContainerState::Paused)
    }

    pub(super) fn is_paused(&self) -> bool {
        *self.state.borrow() == ContainerState::Paused
    }

    pub(super) fn log(&mut self, source: LogSource, text: String, at: SystemTime) {
        self.lines.push(LogLine { source, text, truncated: false, at: Some(at) });
        self.wake();
    }

    /// Lets everybody who waits for something of this container look again.
    pub(super) fn wake(&self) {
        self.state.send_modify(|_| {});
    }

    pub(super) fn begin_run(&mut self, ports: Vec<PublishedPort>, ports_from: Instant, now: SystemTime) {
        self.ports = ports;
        self.ports_from = ports_from;
        self.run += 1;
        self.stopping = None;
        self.child_killed = false;
        // Two starts can be told apart even where a test's clock stands still.
        let after_the_last = self.started_at.map(|last| last + Duration::from_nanos(1));
        self.started_at = Some(after_the_last.map_or(now, |least| least.max(now)));
        self.meter.restart();
        self.state.send_replace(ContainerState::Running);
    }

    pub(super) fn freeze(&mut self) {
        self.meter.hold(&self.resources);
        self.state.send_replace(ContainerState::Paused);
    }

    pub(super) fn thaw(&mut self) {
        self.meter.go_on();
        self.state.send_replace(ContainerState::Running);
    }

    pub(super) fn end_run(&mut self, status: ExitStatus, now: SystemTime) {
        self.meter.hold(&self.resources);
        let status = self.with_what_is_known(status, now);
        self.state.send_replace(ContainerState::Exited(status));
    }

    /// The reasons that a test need not work out itself.
    fn with_what_is_known(&self, mut status: ExitStatus, now: SystemTime) -> ExitStatus {
        status.oom_killed |= self.child_killed;
        if status.reason == ExitReason::Exited {
            status.reason = match self.stopping {
                Some(why) => ExitReason::Stopped(why),
                None if self.child_killed => ExitReason::ChildOutOfMemory,
                None => ExitReason::Exited,
            };
        }
        status.ended_at.get_or_insert(now);
        status
    }
}
