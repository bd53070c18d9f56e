//! What a test can tell the engine to do.

use std::sync::Arc;
use std::time::Duration;

use runner_core::container_runtime::RuntimeInfo;
use runner_core::image::ImageRef;
use runner_core::logs::LogSource;
use runner_core::{ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExitStatus, Result};

use super::{FakeRuntime, Hook, exited};
use crate::faults::lock;

/// What the first process of a container does once it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Process {
    /// It runs until somebody ends it.
    Runs,
    /// It ends by itself.
    Exits {
        /// So long after the start; with no time at all, before the start has answered.
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

    /// Every container that starts from now on is killed (code 137) after this long.
    pub fn kill_after(&self, after: Duration) {
        self.exit_after(after, exited(137));
    }

    /// A container ends by itself, now. `false` if it does not run.
    pub fn crash(&self, id: &ContainerId, status: ExitStatus) -> bool {
        self.end(id, None, status)
    }

    /// The container that was created last ends by itself, now. `false` if there is none or it does not run.
    pub fn crash_latest(&self, status: ExitStatus) -> bool {
        self.latest().is_some_and(|id| self.crash(&id, status))
    }

    /// The container that was created last and is still there.
    pub fn latest(&self) -> Option<ContainerId> {
        lock(&self.shared.engine).latest()
    }

    /// Containers ignore the stop signal: a stop takes its whole grace and ends in a kill (code 137).
    pub fn ignore_stop_signals(&self) {
        lock(&self.shared.engine).ignores_stop = true;
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
        let found = engine.find_mut(id);
        found.map(|container| container.log(source, text.into())).is_some()
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

    /// What `info` answers.
    pub fn set_info(&self, info: RuntimeInfo) {
        lock(&self.shared.engine).runtime_info = info;
    }

    /// An image is neither on the engine nor anywhere to fetch it from.
    pub fn missing_image(&self, image: &ImageRef) {
        self.shared.images.set_missing(image);
    }

    /// An image is not on the engine and takes this long to fetch.
    pub fn remote_image(&self, image: &ImageRef, takes: Duration) {
        self.shared.images.set_remote(image, takes);
    }

    /// How often an image was fetched.
    pub fn pulls(&self, image: &ImageRef) -> usize {
        self.shared.images.pulls(image)
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
