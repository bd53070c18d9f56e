//! Readiness is proved: the port is published, the server answers, and it has made a session.

use std::time::Duration;

use runner_core::endpoint::{Credentials, Endpoint};
use runner_core::layout::WORKSPACE;
use runner_core::phase::Phase;
use runner_core::session::{NewSession, ServerRequirements};
use runner_core::workspace_provider::PreparedWorkspace;
use runner_core::{AgentApi, ContainerId, ContainerInfo, ContainerState, Error, Result, Retry};
use tokio::time::sleep;

use super::{Launch, Launched};
use crate::config::StartConfig;

/// Pauses that double from the shortest to the longest.
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn new(config: &StartConfig) -> Self {
        Self { next: config.probe_pause, longest: config.probe_pause_max }
    }

    async fn pause(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).min(self.longest);
    }
}

impl Launch<'_> {
    /// From a started container to a session. The last probe's failure is kept for the error of a time-out.
    pub(super) async fn ready(
        &mut self,
        container: &ContainerId,
        prepared: PreparedWorkspace,
        server: ServerRequirements,
        last_failure: &mut Option<Error>,
    ) -> Result<Launched> {
        let base_url = self.published(container, server.port).await?;
        self.end();

        self.begin(Phase::Health);
        let credentials = Credentials { username: server.username, password: prepared.password };
        let endpoint = Endpoint { base_url, credentials, directory: WORKSPACE.to_owned() };
        let api = self.ports.connector.connect(endpoint).await?;
        self.healthy(api.as_ref(), last_failure).await?;
        self.end();

        self.begin(Phase::Session);
        let title = format!("task {}", self.request.task);
        let session = api.create_session(&NewSession { title }).await?;
        // After the session, whose making boots what the stream needs; nothing of the session matters before its
        // first prompt.
        let stream = api.events().await?;
        self.end();
        let phases = self.made.phases.clone();
        Ok(Launched { container: container.clone(), api, session, stream, phases })
    }

    /// The address of the server's port. Some engines publish it a moment after the start.
    async fn published(&self, container: &ContainerId, port: u16) -> Result<String> {
        let mut pauses = Pauses::new(&self.config.start);
        loop {
            let info = self.ports.runtime.inspect(container).await?;
            if let Some(address) = address_of(&info, port) {
                return Ok(format!("http://{address}"));
            }
            pauses.pause().await;
        }
    }

    async fn healthy(&self, api: &dyn AgentApi, last_failure: &mut Option<Error>) -> Result<()> {
        let mut pauses = Pauses::new(&self.config.start);
        loop {
            match api.health().await {
                Ok(_) => return Ok(()),
                Err(error) if error.retry() == Retry::Temporary => *last_failure = Some(error),
                Err(error) => return Err(error),
            }
            pauses.pause().await;
        }
    }
}

fn address_of(info: &ContainerInfo, port: u16) -> Option<std::net::SocketAddr> {
    let running = info.state == ContainerState::Running;
    info.ports.iter().find(|p| running && p.container == port).map(|p| p.address)
}
