//! The port's calls, each led through its scripted faults.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runner_core::container::{Labels, StopOptions, StopOutcome, StuckContainer};
use runner_core::container_runtime::{Feature, RuntimeInfo};
use runner_core::files::ContainerFile;
use runner_core::image::{ImageInfo, ImageProgress, ImageRequest};
use runner_core::logs::{LogOptions, LogStream};
use runner_core::resources::ResourceUpdate;
use runner_core::runtime_event::RuntimeEventStream;
use runner_core::stats::ContainerStats;
use runner_core::{
    ContainerId, ContainerInfo, ContainerRuntime, ContainerSpec, ContainerState, Error, ErrorKind,
    ExitStatus, Result, Sink,
};

use super::files::{check_copy_in, check_copy_out};
use super::script::Process;
use super::{FakeRuntime, Op};
use crate::faults::lock;

pub(super) fn has_ended(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Exited(_))
}

/// Labels as the log of calls has them.
fn text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

impl FakeRuntime {
    /// Ends a container later, if it still is in the same run then. The task holds no handle while it sleeps, so
    /// that a forgotten engine goes away.
    fn end_later(&self, id: &ContainerId, run: u64, after: Duration, status: ExitStatus) {
        let (engine, id) = (Arc::downgrade(&self.shared), id.clone());
        let Some(changes) = lock(&self.shared.engine).find(&id).map(|c| c.state.subscribe()) else { return };
        tokio::spawn(async move {
            let mut changes = changes;
            tokio::time::sleep(after).await;
            // A frozen process ends when it is thawed.
            let thawed = changes.wait_for(|state| *state != ContainerState::Paused).await.is_ok();
            if let Some(shared) = engine.upgrade().filter(|_| thawed) {
                Self { shared }.end(&id, Some(run), status);
            }
        });
    }

    fn start_now(&self, id: &ContainerId) -> Result<()> {
        let (behavior, spec) = {
            let engine = lock(&self.shared.engine);
            let spec = engine.get("start a container", id)?.spec.clone();
            (Arc::clone(&engine.behavior), spec)
        };
        let started = lock(&self.shared.engine).start(id)?;
        let Some(started) = started else { return Ok(()) };
        self.tell_start(&started.info);
        // A test's own code, as the hooks are: never called under the lock.
        match behavior(&spec) {
            Process::Runs => {}
            Process::Exits { after, status } if after.is_zero() => {
                self.end(id, Some(started.run), status);
            }
            Process::Exits { after, status } => self.end_later(id, started.run, after, status),
        }
        Ok(())
    }

    fn copy_in_now(&self, id: &ContainerId, directory: &Path, files: &[ContainerFile]) -> Result<()> {
        let operation = "copy into a container";
        let mut engine = lock(&self.shared.engine);
        engine.require(Feature::Copy, operation)?;
        check_copy_in(directory, files)?;
        let container = engine.get_mut(operation, id)?;
        container.files.copy_in(&container.spec, directory, files).map_err(|e| e.with_container(id))
    }

    fn copy_out_now(&self, id: &ContainerId, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>> {
        let operation = "copy out of a container";
        let engine = lock(&self.shared.engine);
        engine.require(Feature::Copy, operation)?;
        check_copy_out(path)?;
        engine.get(operation, id)?.files.copy_out(path, max_bytes).map_err(|e| e.with_container(id))
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn info(&self) -> Result<RuntimeInfo> {
        let answer = async { Ok(lock(&self.shared.engine).runtime_info.clone()) };
        self.faults().call(Op::Info, "", answer).await
    }

    async fn ensure_image(&self, request: &ImageRequest, progress: Sink<ImageProgress>) -> Result<ImageInfo> {
        let fetch = self.shared.images.ensure(request, progress);
        self.faults().call(Op::EnsureImage, request.image.as_str(), fetch).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let create = async {
            spec.validate()?;
            self.shared.images.require("create a container", &spec.image, spec.platform.as_ref())?;
            lock(&self.shared.engine).create(spec)
        };
        self.faults().call(Op::Create, spec.name.as_str(), create).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.faults().call(Op::Start, id.as_str(), async { self.start_now(id) }).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo> {
        let look = async { lock(&self.shared.engine).inspect(id) };
        self.faults().call(Op::Inspect, id.as_str(), look).await
    }

    async fn update(&self, id: &ContainerId, update: &ResourceUpdate) -> Result<()> {
        self.faults().call(Op::Update, id.as_str(), async { self.update_now(id, update) }).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        let pause = async { lock(&self.shared.engine).pause(id) };
        self.faults().call(Op::Pause, id.as_str(), pause).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<()> {
        let unpause = async { lock(&self.shared.engine).unpause(id) };
        self.faults().call(Op::Unpause, id.as_str(), unpause).await
    }

    async fn wait(&self, id: &ContainerId) -> Result<ExitStatus> {
        let operation = "wait for a container";
        let wait = async {
            let mut changes = lock(&self.shared.engine).get(operation, id)?.state.subscribe();
            let ended = changes.wait_for(has_ended).await.map(|state| state.clone());
            if let Ok(ContainerState::Exited(status)) = ended {
                return Ok(status);
            }
            let message = "it was removed without ever having run";
            Err(Error::new(ErrorKind::NotFound, operation, message).with_container(id))
        };
        self.faults().call(Op::Wait, id.as_str(), wait).await
    }

    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream> {
        self.faults().call(Op::Logs, id.as_str(), async { self.read_logs(id, options) }).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>> {
        self.faults().call(Op::Stats, id.as_str(), async { self.sample(id) }).await
    }

    async fn events(&self, labels: &Labels) -> Result<RuntimeEventStream> {
        self.faults().call(Op::Events, text(labels), async { self.subscribe(labels) }).await
    }

    async fn copy_in(&self, id: &ContainerId, directory: &Path, files: &[ContainerFile]) -> Result<()> {
        let copy = async { self.copy_in_now(id, directory, files) };
        self.faults().call(Op::CopyIn, id.as_str(), copy).await
    }

    async fn copy_out(&self, id: &ContainerId, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>> {
        let copy = async { self.copy_out_now(id, path, max_bytes) };
        self.faults().call(Op::CopyOut, id.as_str(), copy).await
    }

    async fn stop(&self, id: &ContainerId, options: StopOptions) -> Result<StopOutcome> {
        self.faults().call(Op::Stop, id.as_str(), self.stop_now(id, options)).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.faults().call(Op::Remove, id.as_str(), self.remove_now(id)).await
    }

    fn stuck(&self) -> Vec<StuckContainer> {
        lock(&self.shared.engine).stuck.all()
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerInfo>> {
        let list = async { Ok(lock(&self.shared.engine).list(labels)) };
        self.faults().call(Op::List, text(labels), list).await
    }

    async fn release(&self) -> Result<()> {
        let release = async {
            let mut engine = lock(&self.shared.engine);
            engine.network &= !engine.is_empty();
            Ok(())
        };
        self.faults().call(Op::Release, "", release).await
    }
}
