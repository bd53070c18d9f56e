//! What a container may use: its limits, freezing it, and a look at what it does use.

use runner_core::container_runtime::Feature;
use runner_core::resources::{ResourceUpdate, Resources};
use runner_core::runtime_event::ContainerEventKind;
use runner_core::stats::ContainerStats;
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result};

use super::FakeRuntime;
use super::container::Container;
use super::engine::Engine;
use crate::faults::lock;

fn not_running(operation: &'static str, container: &Container) -> Error {
    let message = format!("the container does not run: {:?}", *container.state.borrow());
    Error::new(ErrorKind::NotReady, operation, message).with_container(&container.id)
}

impl Engine {
    pub(super) fn update(&mut self, id: &ContainerId, update: &ResourceUpdate) -> Result<()> {
        let operation = "change a container's limits";
        let container = self.get_mut(operation, id)?;
        let (uses, may_use) = (container.meter.load().memory_bytes, update.memory_bytes);
        if let Some(limit) = may_use.filter(|limit| container.is_running() && *limit < uses) {
            let message = format!("{uses} bytes are in use and cannot be freed to keep to {limit}");
            return Err(Error::new(ErrorKind::Engine, operation, message).with_container(id));
        }
        // What was used until now was used under the old limits.
        container.meter.settle(&container.resources);
        let limits = &mut container.resources;
        limits.memory_bytes = may_use.unwrap_or(limits.memory_bytes);
        limits.cpu_millis = update.cpu_millis.unwrap_or(limits.cpu_millis);
        limits.pids = update.pids.unwrap_or(limits.pids);
        container.updates.push(*update);
        self.tell(id, ContainerEventKind::Updated);
        Ok(())
    }

    pub(super) fn pause(&mut self, id: &ContainerId) -> Result<()> {
        let operation = "pause a container";
        self.require(Feature::Pause, operation)?;
        let container = self.get_mut(operation, id)?;
        let state = container.state.borrow().clone();
        match state {
            ContainerState::Running => container.freeze(),
            ContainerState::Paused => return Ok(()),
            _ => return Err(not_running(operation, container)),
        }
        self.tell(id, ContainerEventKind::Paused);
        Ok(())
    }

    pub(super) fn unpause(&mut self, id: &ContainerId) -> Result<()> {
        let operation = "unpause a container";
        self.require(Feature::Pause, operation)?;
        let container = self.get_mut(operation, id)?;
        let state = container.state.borrow().clone();
        match state {
            ContainerState::Paused => container.thaw(),
            ContainerState::Running => return Ok(()),
            _ => return Err(not_running(operation, container)),
        }
        self.tell(id, ContainerEventKind::Unpaused);
        Ok(())
    }
}

impl FakeRuntime {
    pub(super) fn update_now(&self, id: &ContainerId, update: &ResourceUpdate) -> Result<()> {
        let mut engine = lock(&self.shared.engine);
        engine.require(Feature::Update, "change a container's limits")?;
        update.validate()?;
        engine.update(id, update)
    }

    pub(super) fn sample(&self, id: &ContainerId) -> Result<Option<ContainerStats>> {
        let operation = "sample a container";
        let (info, stats, adjust) = {
            let mut engine = lock(&self.shared.engine);
            engine.require(Feature::Stats, operation)?;
            let (read_at, adjust) = (engine.now(), engine.adjust_stats.clone());
            let container = engine.get_mut(operation, id)?;
            if !container.is_running() {
                return Ok(None);
            }
            let stats = container.meter.sample(&container.resources, read_at);
            (container.info(), stats, adjust)
        };
        Ok(Some(adjust.map_or(stats, |adjust| adjust(&info, stats))))
    }

    /// A container's limits as they are now, without a logged call. `None` if it is gone.
    pub fn limits(&self, id: &ContainerId) -> Option<Resources> {
        lock(&self.shared.engine).find(id).map(|container| container.resources)
    }

    /// The changes of a container's limits that were accepted, in order. Empty if it is gone.
    pub fn updates(&self, id: &ContainerId) -> Vec<ResourceUpdate> {
        lock(&self.shared.engine).find(id).map(|container| container.updates.clone()).unwrap_or_default()
    }
}
