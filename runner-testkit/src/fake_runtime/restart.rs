//! A restart of the engine.

use runner_core::ContainerId;
use runner_core::runtime_event::ContainerEventKind;

use super::FakeRuntime;
use super::container::Container;
use super::events::Missed;
use super::exits::engine_restart;
use crate::faults::lock;

impl FakeRuntime {
    /// The engine is restarted, in no time. Every container that runs ends with
    /// [`ExitReason::EngineRestart`](runner_core::ExitReason::EngineRestart), unless the scripted `info` says that
    /// they survive ([`live_restore`](runner_core::container_runtime::RuntimeInfo::live_restore)). The engine has
    /// forgotten all events, so streams of events say that they were reconnected and nothing of what ended; logs
    /// that are followed end with an error. Calls that wait for an end go on.
    ///
    /// An outage around it is for the scripted faults to make.
    pub fn restart_engine(&self) {
        let ended = {
            let mut engine = lock(&self.shared.engine);
            engine.events.cut();
            engine.restarts += 1;
            let survive = engine.runtime_info.live_restore;
            let running = engine.all().filter(|container| !survive && container.is_running());
            let running: Vec<ContainerId> = running.map(|container| container.id.clone()).collect();
            let ended: Vec<_> =
                running.iter().filter_map(|id| engine.end(id, None, engine_restart())).collect();
            engine.events.reconnect(Missed::Forgotten);
            engine.all().for_each(Container::wake);
            ended
        };
        for info in &ended {
            self.tell_exit(Some(info));
        }
    }

    /// The kernel kills a child process of a container for memory. The container runs on, and when it ends it is
    /// told that this happened. `false` if it does not run.
    pub fn kill_child_for_memory(&self, id: &ContainerId) -> bool {
        let mut engine = lock(&self.shared.engine);
        let running = engine.find_mut(id).filter(|container| container.is_running());
        running.map(|container| container.child_killed = true).is_some()
            && engine.tell(id, ContainerEventKind::OutOfMemory)
    }
}
