//! Hands out fake agents for endpoints.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use runner_core::session::ServerRequirements;
use runner_core::{AgentApi, AgentConnector, Endpoint, Error, ErrorKind, Result};

use super::FakeAgent;
use super::streams::HEARTBEAT;
use crate::faults::{Faults, fault_methods, lock};

/// The calls of [`AgentConnector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectorOp {
    /// `connect`; the log names the base URL.
    Connect,
}

type Factory = Arc<dyn Fn(&Endpoint) -> FakeAgent + Send + Sync>;

struct Shared {
    faults: Faults<ConnectorOp>,
    factory: Factory,
    connected: Mutex<Vec<(Endpoint, FakeAgent)>>,
    requirements: Mutex<ServerRequirements>,
}

/// An [`AgentConnector`] to fake agents, which remembers the endpoints it was given. Clones are handles to the
/// same connector.
///
/// ```
/// use runner_core::endpoint::{Credentials, Endpoint};
/// use runner_core::{AgentConnector, Secret};
/// use runner_testkit::fake_agent::{FakeAgent, FakeConnector};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> runner_core::Result<()> {
/// let connector = FakeConnector::new(FakeAgent::new());
/// let api = connector
///     .connect(Endpoint {
///         base_url: "http://127.0.0.1:20000".into(),
///         credentials: Credentials { username: "opencode".into(), password: Secret::new("p") },
///         directory: "/workspace".into(),
///     })
///     .await?;
/// api.health().await?;
/// assert_eq!(connector.endpoints()[0].credentials.password.expose(), "p");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakeConnector {
    shared: Arc<Shared>,
}

fault_methods!(FakeConnector, ConnectorOp);

impl FakeConnector {
    /// Connects every endpoint to the same agent.
    pub fn new(agent: FakeAgent) -> Self {
        Self::with_factory(move |_| agent.clone())
    }

    /// Connects each endpoint to the agent that `factory` gives for it.
    pub fn with_factory(factory: impl Fn(&Endpoint) -> FakeAgent + Send + Sync + 'static) -> Self {
        let requirements = ServerRequirements {
            port: 4096,
            username: "opencode".to_owned(),
            env: BTreeMap::from([("FAKE_AGENT".to_owned(), "1".to_owned())]),
            heartbeat: HEARTBEAT,
        };
        Self {
            shared: Arc::new(Shared {
                faults: Faults::default(),
                factory: Arc::new(factory),
                connected: Mutex::default(),
                requirements: Mutex::new(requirements),
            }),
        }
    }

    fn faults(&self) -> &Faults<ConnectorOp> {
        &self.shared.faults
    }

    /// Changes what servers must be started with.
    pub fn set_requirements(&self, requirements: ServerRequirements) {
        *lock(&self.shared.requirements) = requirements;
    }

    /// The endpoints that were connected to, in order.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        lock(&self.shared.connected).iter().map(|(endpoint, _)| endpoint.clone()).collect()
    }

    /// The agent of each connection, in order.
    pub fn agents(&self) -> Vec<FakeAgent> {
        lock(&self.shared.connected).iter().map(|(_, agent)| agent.clone()).collect()
    }
}

impl fmt::Debug for FakeConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeConnector")
    }
}

#[async_trait]
impl AgentConnector for FakeConnector {
    fn requirements(&self) -> ServerRequirements {
        lock(&self.shared.requirements).clone()
    }

    async fn connect(&self, endpoint: Endpoint) -> Result<Arc<dyn AgentApi>> {
        let base_url = endpoint.base_url.clone();
        let connect = async {
            let host =
                ["http://", "https://"].iter().find_map(|scheme| endpoint.base_url.strip_prefix(scheme));
            if host.is_none_or(|host| host.is_empty() || host.contains([' ', '/'])) {
                let message = format!("{:?} is not a base URL", endpoint.base_url);
                return Err(Error::new(ErrorKind::InvalidInput, "connect to an agent", message)
                    .with_hint("write it as http://host:port"));
            }
            let agent = (self.shared.factory)(&endpoint);
            lock(&self.shared.connected).push((endpoint, agent.clone()));
            Ok(Arc::new(agent) as Arc<dyn AgentApi>)
        };
        self.faults().call(ConnectorOp::Connect, base_url, connect).await
    }
}
