//! The port, on directories.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use runner_core::container::{Mount, MountSource, UserSpec};
use runner_core::layout::{RUN, STATE, WORKSPACE};
use runner_core::workspace_provider::{PreparedWorkspace, WorkspaceRequest};
use runner_core::{Error, Result, TaskId, WorkspaceProvider};
use tokio::task::spawn_blocking;

use crate::config::WorkspaceConfig;
use crate::dirs::{Ensured, ensure_dir, ensure_dir_of, give_to, remove_tree};
use crate::error::WorkspaceError;
use crate::layout::{AGENT_DIRS, Layout};
use crate::{run_dir, settings};

/// People may look at a workspace; only its owner changes it.
const WORKSPACE_MODE: u32 = 0o755;
/// Conversations and secrets are nobody else's business.
const PRIVATE_MODE: u32 = 0o700;

/// Workspaces as directories below one root of the local disk. Cheap to clone.
///
/// Calls do their disk work on tokio's blocking threads, so dropping a call's future does not stop work that has
/// begun; every step is one that the next call for the same ids completes or replaces.
#[derive(Debug, Clone)]
pub struct DirectoryWorkspaces {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: WorkspaceConfig,
    layout: Layout,
    /// Two calls for one task at once would write into each other's directory. The work is a few small files, so
    /// one at a time is fast enough.
    preparing: Mutex<()>,
}

impl DirectoryWorkspaces {
    /// Makes the root where it is missing and checks that it can be used.
    pub fn open(config: WorkspaceConfig) -> Result<Self> {
        let root = open_root(&config.root).map_err(|e| e.into_core("open the workspace directory"))?;
        Ok(Self { inner: Arc::new(Inner { config, layout: Layout::new(root), preparing: Mutex::new(()) }) })
    }

    /// The root, absolute and without symbolic links.
    pub fn root(&self) -> &Path {
        self.inner.layout.root()
    }

    /// Where an agent's workspace is, whether it exists or not.
    pub fn workspace_path(&self, agent: &runner_core::AgentId) -> PathBuf {
        self.inner.layout.workspace(agent)
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Inner) -> Result<T, WorkspaceError> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|source| Err(WorkspaceError::Abandoned { source }))
            .map_err(|e| e.into_core(operation))
    }
}

fn open_root(root: &Path) -> Result<PathBuf, WorkspaceError> {
    if let Ok(metadata) = fs::metadata(root)
        && !metadata.is_dir()
    {
        return Err(WorkspaceError::NotADirectory { path: root.to_owned(), found: "file" });
    }
    fs::create_dir_all(root).map_err(WorkspaceError::io("make the directory", root))?;
    // The engine resolves mounts by absolute path. The operator chose the root, so links up to it are followed.
    let root = fs::canonicalize(root).map_err(WorkspaceError::io("resolve", root))?;
    let layout = Layout::new(root);
    for private in [layout.states(), layout.runs()] {
        ensure_dir(&private, PRIVATE_MODE)?;
    }
    Ok(layout.root().to_owned())
}

impl Inner {
    fn prepare(&self, request: &WorkspaceRequest) -> Result<PreparedWorkspace, WorkspaceError> {
        // The lock guards no data, so one that a panic left poisoned is as good as any.
        let _one_at_a_time = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        // Settings first: a mistake in them must leave nothing behind.
        let config = settings::resolve(self.config.template.as_ref(), &request.settings)?;
        let workspace = self.layout.workspace(&request.agent);
        let user =
            self.owner_of(&workspace, &ensure_dir_of(&workspace, WORKSPACE_MODE, self.config.user)?)?;
        for name in AGENT_DIRS {
            ensure_dir_of(&workspace.join(name), WORKSPACE_MODE, user)?;
        }
        let state = self.layout.state(&request.task);
        let found = ensure_dir_of(&state, PRIVATE_MODE, user)?;
        if found.metadata.uid() == 0 {
            // A call that was cut off between making it and giving it away. Only this process reaches its parent.
            give_to(&state, user)?;
        }
        let run = self.layout.run(&request.task);
        let password = run_dir::write(&run, user, &config, &request.settings)?;
        let mount = |source: PathBuf, target: &str, read_only| Mount {
            source: MountSource::HostPath(source),
            target: target.into(),
            read_only,
        };
        let mounts =
            vec![mount(workspace, WORKSPACE, false), mount(state, STATE, false), mount(run, RUN, true)];
        Ok(PreparedWorkspace { mounts, user, password })
    }

    /// Whom the container runs as. A workspace that somebody left to root is refused rather than taken over: its
    /// files may be there on purpose.
    fn owner_of(&self, workspace: &Path, dir: &Ensured) -> Result<UserSpec, WorkspaceError> {
        let owner = dir.owner();
        if owner.uid != 0 {
            return Ok(owner);
        }
        let UserSpec { uid, gid } = self.config.user;
        Err(WorkspaceError::OwnedByRoot { path: workspace.to_owned(), uid, gid })
    }
}

#[async_trait]
impl WorkspaceProvider for DirectoryWorkspaces {
    async fn prepare(&self, request: &WorkspaceRequest) -> Result<PreparedWorkspace> {
        let owned = request.clone();
        let name = |e: Error| e.with_agent(&request.agent).with_task(&request.task);
        self.on_disk("prepare the workspace", move |inner| inner.prepare(&owned)).await.map_err(name)
    }

    async fn release(&self, task: &TaskId) -> Result<()> {
        let run = self.inner.layout.run(task);
        let done = self.on_disk("throw the container's secrets away", move |_| remove_tree(&run)).await;
        done.map_err(|e| e.with_task(task))
    }

    async fn discard_state(&self, task: &TaskId) -> Result<()> {
        let state = self.inner.layout.state(task);
        let done = self.on_disk("throw the task's state away", move |_| remove_tree(&state)).await;
        done.map_err(|e| e.with_task(task))
    }
}
