//! Engines that break one promise each, all of which the suite must notice.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use runner_core::container::{Labels, StopOptions};
use runner_core::container_runtime::RuntimeInfo;
use runner_core::image::{ImageInfo, ImageProgress, ImageRef, PullPolicy};
use runner_core::logs::{LogOptions, LogStream};
use runner_core::{
    ContainerId, ContainerInfo, ContainerRuntime, ContainerSpec, ContainerState, Error, ErrorKind,
    ExitStatus, Result, Sink,
};
use runner_testkit::contract::container_runtime;
use runner_testkit::fake_runtime::{FakeRuntime, exited};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    WaitTakesCreatedForEnded,
    WaitForgetsTheCode,
    WaitHangsOnceRemoved,
    SecondStartFails,
    SecondStopFails,
    StopAnswersEarly,
    SecondRemoveFails,
    RemoveLeavesIt,
    NameConflictHasAnotherKind,
    NamesAreShared,
    UnknownHasAnotherKind,
    PortsOnAllAddresses,
    PortsNeverAppear,
    PortsOfTheDead,
    ListMatchesPrefixes,
    ListForgetsCreated,
    SpecsAreNotChecked,
    LogsAreEmpty,
    TailIsIgnored,
    MissingImageIsMade,
}

use Flaw::*;

const ALL: [Flaw; 20] = [
    WaitTakesCreatedForEnded,
    WaitForgetsTheCode,
    WaitHangsOnceRemoved,
    SecondStartFails,
    SecondStopFails,
    StopAnswersEarly,
    SecondRemoveFails,
    RemoveLeavesIt,
    NameConflictHasAnotherKind,
    NamesAreShared,
    UnknownHasAnotherKind,
    PortsOnAllAddresses,
    PortsNeverAppear,
    PortsOfTheDead,
    ListMatchesPrefixes,
    ListForgetsCreated,
    SpecsAreNotChecked,
    LogsAreEmpty,
    TailIsIgnored,
    MissingImageIsMade,
];

#[derive(Debug)]
struct Flawed {
    engine: FakeRuntime,
    flaw: Flaw,
}

fn failed() -> Error {
    Error::new(ErrorKind::Engine, "obey", "a flaw")
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    async fn state(&self, id: &ContainerId) -> Option<ContainerState> {
        self.engine.inspect(id).await.ok().map(|info| info.state)
    }

    fn spoil(&self, mut info: ContainerInfo) -> ContainerInfo {
        let everywhere = |port: u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        if self.is(PortsOnAllAddresses) {
            info.ports.iter_mut().for_each(|p| p.address = everywhere(p.address.port()));
        }
        if self.is(PortsNeverAppear) {
            info.ports.clear();
        }
        if self.is(PortsOfTheDead) && matches!(info.state, ContainerState::Exited(_)) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            info.ports.push(runner_core::container::PublishedPort { container: 1, address });
        }
        info
    }
}

#[async_trait]
impl ContainerRuntime for Flawed {
    async fn info(&self) -> Result<RuntimeInfo> {
        self.engine.info().await
    }

    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo> {
        self.engine.ensure_image(image, policy, progress).await
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
            Err(e) if self.is(NamesAreShared) && taken(&e) => {
                let holder = self.engine.containers().into_iter().find(|info| info.name == spec.name);
                holder.map(|info| info.id).ok_or(e)
            }
            other => other,
        }
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let running = self.state(id).await == Some(ContainerState::Running);
        if self.is(SecondStartFails) && running { Err(failed()) } else { self.engine.start(id).await }
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo> {
        match self.engine.inspect(id).await {
            Err(_) if self.is(UnknownHasAnotherKind) => Err(failed()),
            other => other.map(|info| self.spoil(info)),
        }
    }

    async fn wait(&self, id: &ContainerId) -> Result<ExitStatus> {
        if self.is(WaitTakesCreatedForEnded) && self.state(id).await == Some(ContainerState::Created) {
            return Ok(exited(0));
        }
        let ended = self.engine.wait(id).await?;
        if self.is(WaitHangsOnceRemoved) && self.state(id).await.is_none() {
            std::future::pending::<()>().await;
        }
        Ok(if self.is(WaitForgetsTheCode) { exited(0) } else { ended })
    }

    async fn logs(&self, id: &ContainerId, mut options: LogOptions) -> Result<LogStream> {
        if self.is(TailIsIgnored) {
            options.tail = None;
        }
        let stream = self.engine.logs(id, options).await?;
        Ok(if self.is(LogsAreEmpty) { Box::pin(futures::stream::empty()) } else { stream })
    }

    async fn stop(&self, id: &ContainerId, options: StopOptions) -> Result<()> {
        if self.is(SecondStopFails) && self.state(id).await != Some(ContainerState::Running) {
            return Err(failed());
        }
        if self.is(StopAnswersEarly) { Ok(()) } else { self.engine.stop(id, options).await }
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        if self.is(SecondRemoveFails) && self.state(id).await.is_none() {
            return Err(failed());
        }
        if self.is(RemoveLeavesIt) { Ok(()) } else { self.engine.remove(id).await }
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

#[tokio::test(start_paused = true)]
async fn every_flaw_is_noticed_and_cleaned_up_after() {
    for flaw in ALL {
        let engine = FakeRuntime::new();
        let fixture = crate::fixture(&engine);
        let flawed = Arc::new(Flawed { engine: engine.clone(), flaw });
        let suite = container_runtime::all(flawed, fixture);
        assert!(crate::is_noticed(suite).await, "{flaw:?} is not noticed");
        let cannot_clean = [RemoveLeavesIt, ListForgetsCreated].contains(&flaw);
        assert!(cannot_clean || engine.is_empty(), "{flaw:?} leaves something");
    }
}
