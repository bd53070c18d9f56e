//! The default stack, put together.

use std::sync::Arc;

use runner_core::container_runtime::RuntimeInfo;
use runner_core::phase::StartEvent;
use runner_core::{AgentId, AgentSettings, ContainerRuntime, Result, Sink, TaskId};
use runner_docker::{DockerRuntime, find_endpoint};
use runner_lifecycle::{ContainerRunner, Ports, RunnerManager, StartRequest};
use runner_opencode::OpenCodeConnector;
use runner_workspace::DirectoryWorkspaces;

use crate::config::StackConfig;

/// Docker, OpenCode and a directory of workspaces behind one manager. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stack {
    manager: RunnerManager,
    runtime: Arc<DockerRuntime>,
    workspaces: DirectoryWorkspaces,
    agent: AgentSettings,
}

impl Stack {
    /// Finds the engine ([`StackConfig::search`]) and connects to it, and opens the workspaces. Starts nothing. Says once,
    /// at level `info`, which engine it is and what named it.
    pub async fn connect(config: StackConfig) -> Result<Self> {
        // Cheapest first: what is wrong with a path is told without an engine.
        let workspaces = DirectoryWorkspaces::open(config.workspaces)?;
        let connector = OpenCodeConnector::new(config.opencode)?;
        let mut docker = config.docker;
        let origin = match &config.search {
            Some(sources) => {
                let found = Box::pin(find_endpoint(sources, docker.budgets.connect)).await?;
                docker.host = found.host;
                found.origin.to_string()
            }
            None => "the configuration".to_owned(),
        };
        tracing::info!(engine = %docker.host, named_by = origin, "using a container engine");
        let runtime = Arc::new(Box::pin(DockerRuntime::connect(docker)).await?);
        let ports = Ports {
            runtime: Arc::clone(&runtime) as Arc<dyn ContainerRuntime>,
            connector: Arc::new(connector),
            workspaces: Arc::new(workspaces.clone()),
        };
        let manager = RunnerManager::new(ports, config.lifecycle)?;
        Ok(Self { manager, runtime, workspaces, agent: config.agent })
    }

    /// Starts a runner for a task, with the stack's own settings of agents.
    pub async fn start(
        &self,
        task: TaskId,
        agent: AgentId,
        progress: Sink<StartEvent>,
    ) -> Result<Arc<ContainerRunner>> {
        let settings = self.agent.clone();
        self.manager.start(StartRequest { task, agent, settings }, progress).await
    }

    /// The manager, for everything else.
    pub fn manager(&self) -> &RunnerManager {
        &self.manager
    }

    /// Where the agents' workspaces are.
    pub fn workspaces(&self) -> &DirectoryWorkspaces {
        &self.workspaces
    }

    /// The settings that [`start`](Self::start) gives every agent.
    pub fn agent_settings(&self) -> &AgentSettings {
        &self.agent
    }

    /// What the engine is.
    pub async fn engine(&self) -> Result<RuntimeInfo> {
        self.runtime.info().await
    }

    /// Ends every runner; see [`RunnerManager::shutdown`].
    pub async fn shutdown(&self) -> Result<()> {
        self.manager.shutdown().await
    }
}
