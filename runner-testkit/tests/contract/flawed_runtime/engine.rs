//! The port's calls, each with its flaws.

use std::path::Path;
use std::time::SystemTime;

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
use runner_testkit::fake_runtime::exited;

use super::Flaw::*;
use super::{Flawed, failed};

#[async_trait]
impl ContainerRuntime for Flawed {
    async fn info(&self) -> Result<RuntimeInfo> {
        let mut info = self.engine.info().await?;
        info.unsupported.extend(match self.flaw {
            CannotUpdateAndDoes => Some(Feature::Update),
            CannotPauseAndDoes => Some(Feature::Pause),
            CannotSampleAndDoes => Some(Feature::Stats),
            CannotTellAndDoes => Some(Feature::Events),
            CannotCopyAndDoes => Some(Feature::Copy),
            _ => None,
        });
        Ok(info)
    }

    async fn ensure_image(&self, request: &ImageRequest, progress: Sink<ImageProgress>) -> Result<ImageInfo> {
        self.engine.ensure_image(request, progress).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let created = match self.engine.create(spec).await {
            Err(e) if self.is(SpecsAreNotChecked) && e.kind() == ErrorKind::InvalidInput => {
                self.engine.insert(spec)
            }
            Err(e) if self.is(MissingImageIsMade) && e.kind() == ErrorKind::ImageUnavailable => {
                self.engine.insert(spec)
            }
            other => other,
        };
        let taken = |e: &Error| e.kind() == ErrorKind::AlreadyExists;
        match created {
            Err(e) if self.is(NameConflictHasAnotherKind) && taken(&e) => Err(failed()),
            Err(e) if self.is(HolderIsNotNamed) && taken(&e) => {
                Err(Error::new(e.kind(), e.operation(), e.message()))
            }
            Err(e) if self.is(NamesAreShared) && taken(&e) => {
                let holder = self.engine.containers().into_iter().find(|info| info.name == spec.name);
                holder.map(|info| info.id).ok_or(e)
            }
            other => other,
        }
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        if self.is(SecondStartFails) && self.runs(id) { Err(failed()) } else { self.engine.start(id).await }
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo> {
        match self.engine.inspect(id).await {
            Err(_) if self.is(UnknownHasAnotherKind) => Err(failed()),
            other => other.map(|info| Flawed::info(self, info)),
        }
    }

    async fn update(&self, id: &ContainerId, update: &ResourceUpdate) -> Result<()> {
        let refuses = self.is(UpdateRefusesTheCreated) && self.state(id) == Some(ContainerState::Created);
        match self.engine.update(id, update).await {
            _ if refuses => Err(failed()),
            Err(_) if self.is(UpdateOfNothingIsTaken) && *update == ResourceUpdate::default() => Ok(()),
            Ok(()) if self.is(UpdateDoesNothing) => {
                let before = self.engine.created_specs().pop().ok_or_else(failed)?.resources;
                let memory_bytes = Some(before.memory_bytes);
                self.engine.update(id, &ResourceUpdate { memory_bytes, ..ResourceUpdate::default() }).await
            }
            other => other,
        }
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        match self.state(id) {
            Some(ContainerState::Paused) if self.is(SecondPauseFails) => Err(failed()),
            Some(ContainerState::Exited(_)) if self.is(PauseOfTheDeadSucceeds) => Ok(()),
            _ => self.engine.pause(id).await,
        }
    }

    async fn unpause(&self, id: &ContainerId) -> Result<()> {
        match self.state(id) {
            Some(ContainerState::Running) if self.is(SecondUnpauseFails) => Err(failed()),
            Some(ContainerState::Created) if self.is(UnpauseOfTheCreatedSucceeds) => Ok(()),
            _ => self.engine.unpause(id).await,
        }
    }

    async fn wait(&self, id: &ContainerId) -> Result<ExitStatus> {
        if self.is(WaitTakesCreatedForEnded) && self.state(id) == Some(ContainerState::Created) {
            return Ok(exited(0));
        }
        let ended = self.engine.wait(id).await?;
        if self.is(WaitHangsOnceRemoved) && self.state(id).is_none() {
            std::future::pending::<()>().await;
        }
        Ok(if self.is(WaitForgetsTheCode) { exited(0) } else { self.exit(ended) })
    }

    async fn logs(&self, id: &ContainerId, mut options: LogOptions) -> Result<LogStream> {
        if self.is(TailIsIgnored) {
            options.tail = None;
        }
        let empty = self.is(LogsAreEmpty) || self.is(SinceLeavesOutAll) && options.since.is_some();
        if self.is(SinceIsIgnored) {
            options.since = None;
        }
        let stream = self.engine.logs(id, options).await?;
        Ok(if empty { Box::pin(futures::stream::empty()) } else { stream })
    }

    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>> {
        let stats = match self.engine.stats(id).await? {
            None if self.is(StatsOfTheDeadFail) => return Err(failed()),
            None if self.is(StatsOfTheDead) => Some(ContainerStats {
                read_at: self.engine.now(),
                cpu: None,
                memory: None,
                pids: None,
                network: None,
                disk: None,
            }),
            Some(_) if self.is(StatsOfTheLivingAreNone) => None,
            other => other,
        };
        Ok(stats.map(|stats| Flawed::stats(self, stats)))
    }

    async fn events(&self, labels: &Labels) -> Result<RuntimeEventStream> {
        let all = Labels::new();
        let labels = if self.is(EventsOfOthers) { &all } else { labels };
        Ok(Flawed::events(self, self.engine.events(labels).await?))
    }

    async fn copy_in(&self, id: &ContainerId, directory: &Path, files: &[ContainerFile]) -> Result<()> {
        if self.is(CopyInIsCheckedOnTheWay) {
            for file in files {
                self.engine.copy_in(id, directory, std::slice::from_ref(file)).await?;
            }
            return Ok(());
        }
        let loses_all = self.is(CopyInDoesNothing) && files.iter().all(|file| file.validate().is_ok());
        let given: &[ContainerFile] = if loses_all { &[] } else { &self.copied_in(files) };
        match self.engine.copy_in(id, directory, given).await {
            Err(e) if self.is(CopyInIsNotChecked) && e.kind() == ErrorKind::InvalidInput => Ok(()),
            Err(e) if self.is(CopyInToTheRootIsLost) && e.kind() == ErrorKind::Unsupported => Ok(()),
            Err(e) if self.is(CopyInMakesItsDirectory) && e.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn copy_out(&self, id: &ContainerId, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>> {
        let brim = u64::from(self.is(CopyOutIsToTheBrim));
        let copied = match self.engine.copy_out(id, path, max_bytes.saturating_sub(brim)).await {
            Err(e) if self.is(CopyOutIsCutOff) && e.kind() == ErrorKind::Capacity => Ok(Vec::new()),
            Err(e) if self.is(CopyOutOfNothingIsEmpty) && e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) if self.is(CopyOutForgetsThePath) => Err(Error::new(e.kind(), "copy", "it failed")),
            other => other,
        };
        copied.map(|files| self.copied_out(files))
    }

    async fn stop(&self, id: &ContainerId, mut options: StopOptions) -> Result<StopOutcome> {
        let state = self.state(id);
        if self.is(SecondStopFails) && !self.runs(id)
            || self.is(StopOfThePausedFails) && state == Some(ContainerState::Paused)
        {
            return Err(failed());
        }
        if self.is(StopAnswersEarly) && self.runs(id) {
            return Ok(StopOutcome::Stopped);
        }
        if self.is(StopForgetsWhy) {
            options.why = runner_core::StopReason::Requested;
        }
        if let Some(ContainerState::Exited(exit)) = state
            && self.is(LaterStopChangesTheEnd)
        {
            let reason = runner_core::ExitReason::Stopped(options.why);
            self.engine.force_state(id, ContainerState::Exited(ExitStatus { reason, ..exit }));
        }
        self.engine.stop(id, options).await.map(|outcome| self.outcome(outcome))
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        if self.is(SecondRemoveFails) && self.state(id).is_none() {
            return Err(failed());
        }
        if self.is(RemovedIsStuck) {
            let since = SystemTime::UNIX_EPOCH;
            let stuck = StuckContainer { id: id.clone(), since, attempts: 1, error: failed() };
            self.stuck.lock().unwrap().push(stuck);
        }
        if self.is(RemoveLeavesIt) { Ok(()) } else { self.engine.remove(id).await }
    }

    fn stuck(&self) -> Vec<StuckContainer> {
        self.stuck.lock().unwrap().clone()
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerInfo>> {
        let mut infos = self.engine.list(&Labels::new()).await?;
        infos.retain(|info| {
            labels.iter().all(|(key, wanted)| {
                let value = info.labels.get(key);
                value.is_some_and(|v| {
                    v == wanted || self.is(ListMatchesPrefixes) && v.starts_with(wanted.as_str())
                })
            })
        });
        infos.retain(|info| !(self.is(ListForgetsCreated) && info.state == ContainerState::Created));
        Ok(infos)
    }

    async fn release(&self) -> Result<()> {
        ContainerRuntime::release(&self.engine).await
    }
}
