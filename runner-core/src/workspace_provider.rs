//! The port to where agents live on disk.

use std::fmt;

use async_trait::async_trait;

use crate::container::{Mount, UserSpec};
use crate::error::Result;
use crate::ids::{AgentId, TaskId};
use crate::secret::Secret;
use crate::settings::AgentSettings;

/// Whose directories to prepare.
#[derive(Debug, Clone)]
pub struct WorkspaceRequest {
    /// The agent whose workspace it is.
    pub agent: AgentId,
    /// The task whose state it is.
    pub task: TaskId,
    /// What the agent is configured with.
    pub settings: AgentSettings,
}

/// Directories that are ready for a container.
#[derive(Debug, Clone)]
pub struct PreparedWorkspace {
    /// What to mount; targets are those of [`layout`](crate::layout).
    pub mounts: Vec<Mount>,
    /// The owner of the directories, which the container must run as.
    pub user: UserSpec,
    /// The server's password, made for this container; it lies in one of the mounts for the server to read.
    pub password: Secret,
}

/// Keeps agents' workspaces, tasks' state and what belongs to one container.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WorkspaceProvider: fmt::Debug + Send + Sync + 'static {
    /// Makes the agent's workspace (kept as it is where it exists), the task's state, and this container's settings
    /// and secrets. Calling it again for the task gives new secrets.
    async fn prepare(&self, request: &WorkspaceRequest) -> Result<PreparedWorkspace>;

    /// Throws away what belonged to the task's container: settings and secrets. The workspace stays; so does the
    /// task's state, from which its conversation can go on. Nothing to throw away is a success.
    async fn release(&self, task: &TaskId) -> Result<()>;

    /// Throws away the task's state: its conversation cannot go on. The workspace stays. Nothing to throw away is
    /// a success.
    async fn discard_state(&self, task: &TaskId) -> Result<()>;
}
