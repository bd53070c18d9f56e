//! What a test can tell the engine to do.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use runner_core::container_runtime::RuntimeInfo;
use runner_core::logs::LogSource;
use runner_core::{ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExitStatus, Result};

use super::exits::killed_by_other;
use super::{FakeRuntime, Hook};
use crate::faults::lock;

/// What the first process of a container does once it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Process {
    /// It runs until somebody ends it.
    Runs,
    /// It ends by itself.
    Exits {
        /// So long after the start; with no time at all, before the start has answered. One that is frozen then
        /// ends when it is thawed.
        after: Duration,
        /// How.
        status: ExitStatus,
    },
}

impl FakeRuntime {
    /// Decides, for every container that starts from now on, what its process does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use runner_testkit::fake_runtime::{FakeRuntime, Process, exited};
    /// let engine = FakeRuntime::new();
    /// engine.behave(|spec| match spec.name.as_str() {
    ///     "broken" => Process::Exits { after: Duration::from_millis(50), status: exited(1) },
    ///     _ => Process::Runs,
    /// });
    /// ```
    pub fn behave(&self, behavior: impl Fn(&ContainerSpec) -> Process + Send + Sync + 'static) {
        lock(&self.shared.engine).behavior = Arc::new(behavior);
    }

    /// Every container that starts from now on ends by itself after this long.
    pub fn exit_after(&self, after: Duration, status: ExitStatus) {
        self.behave(move |_| Process::Exits { after, status: status.clone() });
    }

    /// Every container that starts from now on is killed by somebody else (code 137) after this long.
    pub fn kill_after(&self, after: Duration) {
        self.exit_after(after, killed_by_other(9));
    }

    /// A container ends, now, in this way. One that is being stopped and [`exited`](super::exited) in its grace gave
    /// way to the stop. `false` if it does not run.
    pub fn crash(&self, id: &ContainerId, status: ExitStatus) -> bool {
        self.end(id, None, status)
    }

    /// The same for the container that was created last. `false` if there is none or it does not run.
    pub fn crash_latest(&self, status: ExitStatus) -> bool {
        self.latest().is_some_and(|id| self.crash(&id, status))
    }

    /// The container that was created last and is still there.
    pub fn latest(&self) -> Option<ContainerId> {
        lock(&self.shared.engine).latest()
    }

    /// Published ports appear in `inspect` so long after the start only, as on engines that run in a virtual
    /// machine.
    pub fn publish_ports_after(&self, after: Duration) {
        lock(&self.shared.engine).ports_after = after;
    }

    /// Every container that starts from now on writes these lines to its standard output.
    pub fn boot_log<I: IntoIterator<Item = S>, S: Into<String>>(&self, lines: I) {
        lock(&self.shared.engine).boot_lines = lines.into_iter().map(Into::into).collect();
    }

    /// A container writes a line to its standard output. `false` if it is gone.
    pub fn log_line(&self, id: &ContainerId, text: impl Into<String>) -> bool {
        self.log_line_to(id, LogSource::Stdout, text)
    }

    /// A container writes a line. `false` if it is gone.
    pub fn log_line_to(&self, id: &ContainerId, source: LogSource, text: impl Into<String>) -> bool {
        let mut engine = lock(&self.shared.engine);
        let at = engine.now();
        let found = engine.find_mut(id);
        found.map(|container| container.log(source, text.into(), at)).is_some()
    }

    /// A container that somebody else made: not checked, not logged as a call, not started.
    pub fn insert(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let mut engine = lock(&self.shared.engine);
        let id = engine.create(spec)?;
        engine.created.pop();
        Ok(id)
    }

    /// Puts a container into any state, for instance one that this library does not know. Hooks are not called.
    /// `false` if it is gone.
    pub fn force_state(&self, id: &ContainerId, state: ContainerState) -> bool {
        let engine = lock(&self.shared.engine);
        engine.find(id).map(|container| container.state.send_replace(state)).is_some()
    }

    /// What `info` answers. Calls that are [unsupported](RuntimeInfo::unsupported) there fail so from now on.
    pub fn set_info(&self, info: RuntimeInfo) {
        lock(&self.shared.engine).runtime_info = info;
    }

    /// Changes what `info` answers.
    ///
    /// ```
    /// use runner_core::container_runtime::Feature;
    /// use runner_testkit::fake_runtime::FakeRuntime;
    /// let engine = FakeRuntime::new();
    /// engine.change_info(|info| {
    ///     info.live_restore = true;
    ///     info.unsupported.insert(Feature::Copy);
    /// });
    /// ```
    pub fn change_info(&self, change: impl FnOnce(&mut RuntimeInfo)) {
        change(&mut lock(&self.shared.engine).runtime_info);
    }

    /// What the engine's clock says: tokio's, as a time of day that begins on the first day of 2026.
    pub fn now(&self) -> SystemTime {
        lock(&self.shared.engine).now()
    }

    /// Calls this whenever a container has started; for instance to make its fake agent answer.
    pub fn on_start(&self, hook: impl Fn(&ContainerInfo) + Send + Sync + 'static) {
        lock(&self.shared.hooks).start.push(Arc::new(hook));
    }

    /// Calls this whenever a container has ended, for whatever reason; for instance to make its fake agent die
    /// with it.
    ///
    /// ```
    /// use runner_testkit::fake_agent::FakeAgent;
    /// use runner_testkit::fake_runtime::FakeRuntime;
    /// let (engine, agent) = (FakeRuntime::new(), FakeAgent::new());
    /// let dying = agent.clone();
    /// engine.on_exit(move |_| dying.die());
    /// engine.on_start(move |_| agent.restart());
    /// ```
    pub fn on_exit(&self, hook: impl Fn(&ContainerInfo) + Send + Sync + 'static) {
        lock(&self.shared.hooks).exit.push(Arc::new(hook));
    }

    /// Ends a container and tells the hooks, outside the lock: they may call the engine.
    pub(super) fn end(&self, id: &ContainerId, run: Option<u64>, status: ExitStatus) -> bool {
        let ended = lock(&self.shared.engine).end(id, run, status);
        self.tell_exit(ended.as_ref());
        ended.is_some()
    }

    pub(super) fn tell_exit(&self, ended: Option<&ContainerInfo>) {
        let Some(info) = ended else { return };
        let hooks: Vec<Hook> = lock(&self.shared.hooks).exit.clone();
        for hook in hooks {
            hook(info);
        }
    }

    pub(super) fn tell_start(&self, info: &ContainerInfo) {
        let hooks: Vec<Hook> = lock(&self.shared.hooks).start.clone();
        for hook in hooks {
            hook(info);
        }
    }
}
