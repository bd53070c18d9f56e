//! The provider keeps the port's promises.

use std::sync::Arc;

use runner_testkit::contract::workspace_provider::{WorkspaceFixture, all};
use runner_workspace::{DirectoryWorkspaces, WorkspaceConfig};

#[tokio::test]
async fn directories_pass_the_contract() {
    let dir = tempfile::TempDir::new().unwrap();
    let workspaces = DirectoryWorkspaces::open(WorkspaceConfig::new(dir.path().join("data"))).unwrap();
    all(Arc::new(workspaces), WorkspaceFixture::new().unwrap()).await;
}
