//! What a flaw makes of an honest answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::stream;
use runner_core::container::{PublishedPort, StopOutcome, UserSpec};
use runner_core::files::ContainerFile;
use runner_core::runtime_event::{ContainerEventKind, RuntimeEvent, RuntimeEventStream};
use runner_core::stats::{ContainerStats, MemoryUse};
use runner_core::{ContainerInfo, ContainerState, ExitReason, ExitStatus, StopReason};

use super::Flaw::*;
use super::Flawed;

impl Flawed {
    pub(super) fn exit(&self, mut exit: ExitStatus) -> ExitStatus {
        exit.reason = match exit.reason {
            ExitReason::KilledAfterGrace(why) if self.is(KillIsToldAsAStop) => ExitReason::Stopped(why),
            ExitReason::Stopped(_) if self.is(StopIsToldAsAnExit) => ExitReason::Exited,
            ExitReason::Exited if self.is(ExitIsToldAsAStop) => ExitReason::Stopped(StopReason::Requested),
            reason => reason,
        };
        exit
    }

    pub(super) fn outcome(&self, outcome: StopOutcome) -> StopOutcome {
        match outcome {
            StopOutcome::KilledAfterGrace if self.is(KillIsToldAsAStop) => StopOutcome::Stopped,
            _ if self.is(StopOutcomeIsAGuess) => StopOutcome::Stopped,
            outcome => outcome,
        }
    }

    pub(super) fn info(&self, mut info: ContainerInfo) -> ContainerInfo {
        if self.is(PortsOnAllAddresses) {
            let everywhere = |port: u16| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            info.ports.iter_mut().for_each(|p| p.address = everywhere(p.address.port()));
        }
        if self.is(PortsNeverAppear) {
            info.ports.clear();
        }
        if self.is(CreationHasNoTime) {
            info.created_at = None;
        }
        if self.is(StartHasNoTime) {
            info.started_at = None;
        }
        if self.is(EveryStartHasTheSameTime) {
            info.started_at = info.started_at.map(|_| SystemTime::UNIX_EPOCH);
        }
        info.state = match info.state {
            ContainerState::Exited(_) if self.is(InspectForgetsTheReason) => {
                ContainerState::Exited(ExitStatus::of_code(0))
            }
            ContainerState::Exited(exit) => {
                if self.is(PortsOfTheDead) {
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
                    info.ports.push(PublishedPort { container: 1, address });
                }
                ContainerState::Exited(self.exit(exit))
            }
            ContainerState::Paused if self.is(PausedLooksRunning) => ContainerState::Running,
            state => state,
        };
        info
    }

    pub(super) fn stats(&self, mut stats: ContainerStats) -> ContainerStats {
        if self.is(CpuTimeGoesBack) {
            stats.cpu = stats.cpu.map(|cpu| Duration::MAX.saturating_sub(cpu));
        }
        if self.is(MoreIsUsedThanThereIs) {
            stats.memory = stats.memory.map(|memory| MemoryUse { used: memory.total + 1, ..memory });
        }
        if self.is(UnknownPidsAreZero) {
            stats.pids = Some(0);
        }
        stats
    }

    pub(super) fn events(&self, stream: RuntimeEventStream) -> RuntimeEventStream {
        let flaw = self.flaw;
        let spoiled = stream.map(move |item| {
            item.map(|item| match item {
                RuntimeEvent::Container(mut event) => {
                    event.kind = match event.kind {
                        ContainerEventKind::Created if flaw == EventsOutOfOrder => {
                            ContainerEventKind::Started
                        }
                        ContainerEventKind::Started if flaw == EventsOutOfOrder => {
                            ContainerEventKind::Created
                        }
                        ContainerEventKind::Died { .. } if flaw == EventsLoseTheDeath => {
                            ContainerEventKind::Other("die".to_owned())
                        }
                        ContainerEventKind::Died { .. } if flaw == EventsForgetTheCode => {
                            ContainerEventKind::Died { code: Some(0) }
                        }
                        kind => kind,
                    };
                    if flaw == EventsForgetLabels {
                        event.labels.clear();
                    }
                    RuntimeEvent::Container(event)
                }
                other => other,
            })
        });
        match flaw {
            EventsBeginUnconnected => spoiled.skip(1).boxed(),
            EventsEnd => spoiled.take(2).boxed(),
            EventsTwice => spoiled.flat_map(|item| stream::iter([item.clone(), item])).boxed(),
            _ => spoiled.boxed(),
        }
    }

    pub(super) fn copied_in(&self, files: &[ContainerFile]) -> Vec<ContainerFile> {
        let mut files = files.to_vec();
        for file in &mut files {
            if self.is(CopyInLosesModes) {
                file.mode &= 0o7700;
            }
            if self.is(CopyInLosesOwners) {
                file.owner = UserSpec { uid: 1, gid: 1 };
            }
        }
        files
    }

    pub(super) fn copied_out(&self, mut files: Vec<ContainerFile>) -> Vec<ContainerFile> {
        if self.is(CopyOutGivesWholePaths) {
            for file in &mut files {
                file.path = Path::new("/").join(&file.path);
            }
        }
        files
    }
}
