//! Providers that break one promise each, all of which the suite must notice.

use std::sync::Arc;

use async_trait::async_trait;
use runner_core::workspace_provider::{PreparedWorkspace, WorkspaceRequest};
use runner_core::{Error, ErrorKind, Result, Secret, TaskId, WorkspaceProvider, layout};
use runner_testkit::contract::workspace_provider::{self, WorkspaceFixture};
use runner_testkit::fake_workspace::{FakeWorkspace, Op};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    RootOwnsIt,
    OnePasswordForAll,
    NoState,
    SecretsAreWritable,
    StateIsShared,
    SecondReleaseFails,
    UnknownDiscardFails,
}

use Flaw::*;

const ALL: [Flaw; 7] = [
    RootOwnsIt,
    OnePasswordForAll,
    NoState,
    SecretsAreWritable,
    StateIsShared,
    SecondReleaseFails,
    UnknownDiscardFails,
];

#[derive(Debug)]
struct Flawed {
    disk: FakeWorkspace,
    flaw: Flaw,
}

fn gone() -> Error {
    Error::new(ErrorKind::NotFound, "throw away", "there is nothing")
}

#[async_trait]
impl WorkspaceProvider for Flawed {
    async fn prepare(&self, request: &WorkspaceRequest) -> Result<PreparedWorkspace> {
        let mut request = request.clone();
        if self.flaw == StateIsShared {
            request.task = TaskId::new("shared").unwrap();
        }
        let mut prepared = self.disk.prepare(&request).await?;
        let is_at =
            |target: &'static str| move |m: &runner_core::container::Mount| m.target.as_os_str() == target;
        match self.flaw {
            RootOwnsIt => prepared.user.uid = 0,
            OnePasswordForAll => prepared.password = Secret::new("secret"),
            NoState => prepared.mounts.retain(|m| !is_at(layout::STATE)(m)),
            SecretsAreWritable => prepared.mounts.iter_mut().for_each(|m| m.read_only = false),
            _ => {}
        }
        Ok(prepared)
    }

    async fn release(&self, task: &TaskId) -> Result<()> {
        let known = self.disk.password(task).is_some();
        if self.flaw == SecondReleaseFails && !known {
            return Err(gone());
        }
        self.disk.release(task).await
    }

    async fn discard_state(&self, task: &TaskId) -> Result<()> {
        if self.flaw == UnknownDiscardFails && !self.disk.has_state(task) {
            return Err(gone());
        }
        self.disk.discard_state(task).await
    }
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_noticed() {
    for flaw in ALL {
        let disk = FakeWorkspace::new();
        let suite = workspace_provider::all(
            Arc::new(Flawed { disk: disk.clone(), flaw }),
            WorkspaceFixture::new().unwrap(),
        );
        assert!(crate::is_noticed(suite).await, "{flaw:?} is not noticed");
        assert!(disk.count(Op::Prepare) > 0, "{flaw:?}: the suite ran");
    }
}
