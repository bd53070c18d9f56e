//! The port's calls, each led through its scripted faults.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runner_core::container::{Labels, StopOptions};
use runner_core::container_runtime::RuntimeInfo;
use runner_core::image::{ImageInfo, ImageProgress, ImageRef, PullPolicy};
use runner_core::logs::{LogOptions, LogStream};
use runner_core::{
    ContainerId, ContainerInfo, ContainerRuntime, ContainerSpec, ContainerState, Error, ErrorKind,
    ExitStatus, Result, Sink,
};
use tokio::sync::watch;

use super::script::Process;
use super::{FakeRuntime, Op, exited};
use crate::faults::lock;

fn has_ended(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Exited(_))
}

impl FakeRuntime {
    /// Ends a container later, if it still is in the same run then. The task holds no handle while it sleeps, so
    /// that a forgotten engine goes away.
    fn end_later(&self, id: &ContainerId, run: Option<u64>, after: Duration, status: ExitStatus) {
        let (engine, id) = (Arc::downgrade(&self.shared), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(shared) = engine.upgrade() {
                Self { shared }.end(&id, run, status);
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
            Process::Exits { after, status } => self.end_later(id, Some(started.run), after, status),
        }
        Ok(())
    }

    /// Begins to stop; the engine finishes that even if the caller goes away. `None` if there is nothing to stop.
    fn begin_stop(&self, id: &ContainerId, grace: Duration) -> Option<watch::Receiver<ContainerState>> {
        let (changes, ignores_signal) = {
            let engine = lock(&self.shared.engine);
            let container = engine.find(id).filter(|container| container.is_running())?;
            (container.state.subscribe(), engine.ignores_stop)
        };
        if ignores_signal {
            self.end_later(id, None, grace, exited(137));
        } else {
            self.end(id, None, exited(143));
        }
        Some(changes)
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    async fn info(&self) -> Result<RuntimeInfo> {
        let answer = async { Ok(lock(&self.shared.engine).runtime_info.clone()) };
        self.faults().call(Op::Info, "", answer).await
    }

    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo> {
        let fetch = self.shared.images.ensure(image, policy, progress);
        self.faults().call(Op::EnsureImage, image.as_str(), fetch).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let create = async {
            spec.validate()?;
            self.shared.images.require("create a container", &spec.image)?;
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

    async fn stop(&self, id: &ContainerId, options: StopOptions) -> Result<()> {
        let stop = async {
            if let Some(mut changes) = self.begin_stop(id, options.grace) {
                // An error means that it was removed meanwhile, which is an end too.
                let _ = changes.wait_for(has_ended).await;
            }
            Ok(())
        };
        self.faults().call(Op::Stop, id.as_str(), stop).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        let remove = async {
            let ended = lock(&self.shared.engine).remove(id);
            self.tell_exit(ended.as_ref());
            Ok(())
        };
        self.faults().call(Op::Remove, id.as_str(), remove).await
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerInfo>> {
        let about: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let list = async { Ok(lock(&self.shared.engine).list(labels)) };
        self.faults().call(Op::List, about.join(","), list).await
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
