//! Where workspaces are and whom they belong to.

use std::path::PathBuf;

use runner_core::container::UserSpec;
use serde_json::{Map, Value};

/// Settings of [`DirectoryWorkspaces`](crate::DirectoryWorkspaces).
#[derive(Debug, Clone)]
pub struct WorkspaceConfig {
    /// The directory that holds everything. Made when it is missing.
    pub root: PathBuf,
    /// Who owns new workspaces when the controller runs as root; otherwise they belong to the controller itself.
    /// A container runs as its workspace's owner, and never as root.
    pub user: UserSpec,
    /// The bottom layer of every agent's settings, instead of the built-in `data/configs/opencode/opencode.json`.
    pub template: Option<Map<String, Value>>,
}

/// The user that the image `docker/runner` has; far above the ids that distributions give to people and services.
const IMAGE_USER: UserSpec = UserSpec { uid: 10001, gid: 10001 };

impl WorkspaceConfig {
    /// Workspaces below `root`, owned by user 10001 (the image's own) when the controller is root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), user: IMAGE_USER, template: None }
    }
}
