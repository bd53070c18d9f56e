//! Workspaces that exist in memory only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use runner_core::container::{Mount, MountSource, UserSpec};
use runner_core::workspace_provider::{PreparedWorkspace, WorkspaceRequest};
use runner_core::{AgentId, Result, Secret, TaskId, WorkspaceProvider, layout};

use crate::faults::{Faults, fault_methods, lock};

/// The calls of [`WorkspaceProvider`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `prepare`; the log names the task, as for all calls.
    Prepare,
    /// `release`
    Release,
    /// `discard_state`
    DiscardState,
}

#[derive(Default)]
struct Disk {
    workspaces: BTreeSet<AgentId>,
    states: BTreeSet<TaskId>,
    /// What belongs to one container, by task: its password stands for it.
    runs: BTreeMap<TaskId, Secret>,
    passwords: u64,
    prepared: Vec<WorkspaceRequest>,
    released: Vec<TaskId>,
    discarded: Vec<TaskId>,
}

struct Shared {
    faults: Faults<Op>,
    disk: Mutex<Disk>,
}

/// A [`WorkspaceProvider`] whose directories lie under `/fake` and exist in its memory only. Clones are handles to
/// the same one. The owner is always user 10001.
///
/// ```
/// use runner_core::workspace_provider::WorkspaceRequest;
/// use runner_core::{AgentId, AgentSettings, TaskId, WorkspaceProvider};
/// use runner_testkit::fake_workspace::FakeWorkspace;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> runner_core::Result<()> {
/// let disk = FakeWorkspace::new();
/// let task = TaskId::new("task-1")?;
/// let request =
///     WorkspaceRequest { agent: AgentId::new("a")?, task: task.clone(), settings: AgentSettings::default() };
/// disk.prepare(&request).await?;
/// assert!(disk.holds_secrets());
/// disk.release(&task).await?;
/// assert!(!disk.holds_secrets() && disk.has_state(&task));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakeWorkspace {
    shared: Arc<Shared>,
}

fault_methods!(FakeWorkspace, Op);

impl FakeWorkspace {
    /// An empty one.
    pub fn new() -> Self {
        Self { shared: Arc::new(Shared { faults: Faults::default(), disk: Mutex::default() }) }
    }

    fn faults(&self) -> &Faults<Op> {
        &self.shared.faults
    }

    /// What was prepared, in order.
    pub fn prepared(&self) -> Vec<WorkspaceRequest> {
        lock(&self.shared.disk).prepared.clone()
    }

    /// The tasks that were released, in order.
    pub fn released(&self) -> Vec<TaskId> {
        lock(&self.shared.disk).released.clone()
    }

    /// The tasks whose state was thrown away, in order.
    pub fn discarded(&self) -> Vec<TaskId> {
        lock(&self.shared.disk).discarded.clone()
    }

    /// Whether the settings and secrets of any container are still there.
    pub fn holds_secrets(&self) -> bool {
        !lock(&self.shared.disk).runs.is_empty()
    }

    /// Whether a task's conversation can go on.
    pub fn has_state(&self, task: &TaskId) -> bool {
        lock(&self.shared.disk).states.contains(task)
    }

    /// Whether the agent has a workspace.
    pub fn has_workspace(&self, agent: &AgentId) -> bool {
        lock(&self.shared.disk).workspaces.contains(agent)
    }

    /// The password of a task's container, while it is there.
    pub fn password(&self, task: &TaskId) -> Option<Secret> {
        lock(&self.shared.disk).runs.get(task).cloned()
    }
}

impl Default for FakeWorkspace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeWorkspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeWorkspace")
    }
}

fn mount(area: &str, name: &str, target: &str, read_only: bool) -> Mount {
    let source = MountSource::HostPath(PathBuf::from(format!("/fake/{area}/{name}")));
    Mount { source, target: target.into(), read_only }
}

#[async_trait]
impl WorkspaceProvider for FakeWorkspace {
    async fn prepare(&self, request: &WorkspaceRequest) -> Result<PreparedWorkspace> {
        let prepare = async {
            let mut disk = lock(&self.shared.disk);
            let (agent, task) = (&request.agent, &request.task);
            disk.passwords += 1;
            let password = Secret::new(format!("fake-password-{}", disk.passwords));
            disk.workspaces.insert(agent.clone());
            disk.states.insert(task.clone());
            disk.runs.insert(task.clone(), password.clone());
            disk.prepared.push(request.clone());
            let slug = task.slug();
            Ok(PreparedWorkspace {
                mounts: vec![
                    mount("workspace", agent.as_str(), layout::WORKSPACE, false),
                    mount("state", &slug, layout::STATE, false),
                    mount("run", &slug, layout::RUN, true),
                ],
                user: UserSpec { uid: 10001, gid: 10001 },
                password,
            })
        };
        self.faults().call(Op::Prepare, request.task.as_str(), prepare).await
    }

    async fn release(&self, task: &TaskId) -> Result<()> {
        let release = async {
            let mut disk = lock(&self.shared.disk);
            disk.runs.remove(task);
            disk.released.push(task.clone());
            Ok(())
        };
        self.faults().call(Op::Release, task.as_str(), release).await
    }

    async fn discard_state(&self, task: &TaskId) -> Result<()> {
        let discard = async {
            let mut disk = lock(&self.shared.disk);
            disk.states.remove(task);
            disk.discarded.push(task.clone());
            Ok(())
        };
        self.faults().call(Op::DiscardState, task.as_str(), discard).await
    }
}
