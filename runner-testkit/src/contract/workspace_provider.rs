//! The contract of [`WorkspaceProvider`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use runner_core::container::{ContainerSpec, MountSource};
use runner_core::workspace_provider::{PreparedWorkspace, WorkspaceRequest};
use runner_core::{AgentId, AgentSettings, ImageRef, TaskId, WorkspaceProvider, layout};

use super::support::ok;

/// What the checks need from the one who knows the provider.
#[derive(Debug, Clone)]
pub struct WorkspaceFixture {
    /// Two agents that the provider may make.
    pub agents: [AgentId; 2],
    /// Two tasks that the provider may make.
    pub tasks: [TaskId; 2],
    /// What the agents are configured with.
    pub settings: AgentSettings,
}

impl WorkspaceFixture {
    /// Made-up agents and tasks without settings.
    pub fn new() -> runner_core::Result<Self> {
        Ok(Self {
            agents: [AgentId::new("contract-a")?, AgentId::new("contract-b")?],
            // One that is not a directory's name as it is.
            tasks: [TaskId::new("contract-1")?, TaskId::new("contract:2")?],
            settings: AgentSettings::default(),
        })
    }
}

struct Lab {
    provider: Arc<dyn WorkspaceProvider>,
    fixture: WorkspaceFixture,
}

/// Runs all checks, one after the other. Both tasks are released and discarded at the end; the agents' workspaces
/// stay, as the port promises.
///
/// # Panics
///
/// At the first promise that is broken.
pub async fn all(provider: Arc<dyn WorkspaceProvider>, fixture: WorkspaceFixture) {
    let lab = Lab { provider, fixture };
    lab.what_is_prepared_fits_a_container().await;
    lab.preparing_again_changes_the_secrets_only().await;
    lab.nothing_is_shared_but_the_workspace().await;
    lab.tasks_can_be_prepared_at_once().await;
    lab.throwing_away_is_idempotent().await;
}

/// Where a mount's files are.
fn source(prepared: &PreparedWorkspace, target: &str) -> Option<MountSource> {
    let mount = prepared.mounts.iter().find(|m| m.target == Path::new(target));
    mount.map(|m| m.source.clone())
}

impl Lab {
    fn request(&self, agent: &AgentId, task: &TaskId) -> WorkspaceRequest {
        let settings = self.fixture.settings.clone();
        WorkspaceRequest { agent: agent.clone(), task: task.clone(), settings }
    }

    async fn prepare(&self, agent: &AgentId, task: &TaskId) -> PreparedWorkspace {
        ok("prepare", self.provider.prepare(&self.request(agent, task)).await)
    }

    async fn what_is_prepared_fits_a_container(&self) {
        let WorkspaceFixture { agents: [agent, _], tasks, .. } = &self.fixture;
        for task in tasks {
            let prepared = self.prepare(agent, task).await;
            assert_ne!(prepared.user.uid, 0, "the owner of a workspace must not be root");
            assert!(!prepared.password.expose().is_empty(), "a container must have a password");
            for (target, read_only) in
                [(layout::WORKSPACE, false), (layout::STATE, false), (layout::RUN, true)]
            {
                let mount = prepared.mounts.iter().find(|m| m.target == Path::new(target));
                assert!(mount.is_some(), "{target} must be mounted: {:?}", prepared.mounts);
                let is_read_only = mount.is_some_and(|m| m.read_only);
                assert_eq!(is_read_only, read_only, "whether {target} is read-only inside");
            }
            let image: ImageRef = ok("an image reference", "contract".parse());
            let mut spec = ContainerSpec::new("contract", image, prepared.user);
            spec.mounts.clone_from(&prepared.mounts);
            ok("validating a container with these mounts", spec.validate());
        }
    }

    async fn preparing_again_changes_the_secrets_only(&self) {
        let WorkspaceFixture { agents: [agent, _], tasks: [task, _], .. } = &self.fixture;
        let (one, two) = (self.prepare(agent, task).await, self.prepare(agent, task).await);
        assert_ne!(
            one.password.expose(),
            two.password.expose(),
            "each container must have a password of its own"
        );
        assert_eq!(one.user, two.user, "the owner must stay");
        for target in [layout::WORKSPACE, layout::STATE] {
            assert_eq!(source(&one, target), source(&two, target), "{target} must stay where it is");
        }
    }

    async fn nothing_is_shared_but_the_workspace(&self) {
        let WorkspaceFixture { agents: [agent, other], tasks: [one, two], .. } = &self.fixture;
        let (first, second) = (self.prepare(agent, one).await, self.prepare(agent, two).await);
        assert_ne!(first.password.expose(), second.password.expose(), "tasks must not share a password");
        assert_eq!(
            source(&first, layout::WORKSPACE),
            source(&second, layout::WORKSPACE),
            "an agent must have one workspace for all its tasks"
        );
        for target in [layout::STATE, layout::RUN] {
            assert_ne!(source(&first, target), source(&second, target), "tasks must not share {target}");
        }
        let foreign = self.prepare(other, two).await;
        assert_ne!(
            source(&first, layout::WORKSPACE),
            source(&foreign, layout::WORKSPACE),
            "agents must not share a workspace"
        );
    }

    async fn tasks_can_be_prepared_at_once(&self) {
        let WorkspaceFixture { agents: [agent, _], tasks: [one, two], .. } = &self.fixture;
        let (first, second) = (self.request(agent, one), self.request(agent, two));
        let (first, second) = tokio::join!(self.provider.prepare(&first), self.provider.prepare(&second));
        let passwords: BTreeSet<String> = [first, second]
            .into_iter()
            .map(|prepared| ok("prepare, two at once", prepared).password.expose().to_owned())
            .collect();
        assert_eq!(passwords.len(), 2, "tasks must not share a password");
    }

    async fn throwing_away_is_idempotent(&self) {
        let WorkspaceFixture { agents: [agent, _], tasks, .. } = &self.fixture;
        let [task, _] = tasks;
        let before = self.prepare(agent, task).await;
        ok("release", self.provider.release(task).await);
        ok("a second release", self.provider.release(task).await);
        let after = self.prepare(agent, task).await;
        for target in [layout::WORKSPACE, layout::STATE] {
            assert_eq!(source(&before, target), source(&after, target), "{target} must survive a release");
        }
        for task in tasks {
            ok("release", self.provider.release(task).await);
            ok("discard_state", self.provider.discard_state(task).await);
            ok("a second discard_state", self.provider.discard_state(task).await);
        }
        let unknown = ok("a task id", TaskId::new("contract-never-seen"));
        ok("release of an unknown task", self.provider.release(&unknown).await);
        ok("discard_state of an unknown task", self.provider.discard_state(&unknown).await);
    }
}
