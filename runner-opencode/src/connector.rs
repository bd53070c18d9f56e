//! What a server must be started with, and clients for servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use runner_core::session::ServerRequirements;
use runner_core::{AgentApi, AgentConnector, Endpoint, Result};

use crate::call::Server;
use crate::client::OpenCodeClient;
use crate::config::{HEARTBEAT, OpenCodeConfig};
use crate::error::Failure;

/// Where the server listens in its container.
const PORT: u16 = 4096;
const USERNAME: &str = "opencode";

/// Shorter than the server keeps an unused connection, so that no request is sent on one that is just being closed.
const IDLE_CONNECTION: Duration = Duration::from_secs(30);
/// The event stream and a call at a time are what a turn needs.
const IDLE_CONNECTIONS_PER_SERVER: usize = 2;

/// What the server must find in its environment, each for its reason.
const ENVIRONMENT: [(&str, &str); 6] = [
    // No plugins from the workspace: with one, and no registry in reach, the first session takes 70 s.
    ("OPENCODE_PURE", "1"),
    // The workspace's own opencode.json cannot change the model, add tool servers or run code at start.
    ("OPENCODE_DISABLE_PROJECT_CONFIG", "1"),
    // The version is pinned by the image and checked by the client.
    ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
    // The catalogue of models in the binary is enough; a start must not wait for, or talk to, a server elsewhere.
    ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
    // Nothing is downloaded at run time: what a runner may use is in its image.
    ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
    // Sessions are never published.
    ("OPENCODE_DISABLE_SHARE", "1"),
];

/// Makes clients for OpenCode servers. All clients share one pool of connections.
pub struct OpenCodeConnector {
    client: reqwest::Client,
    config: OpenCodeConfig,
}

impl OpenCodeConnector {
    /// A connector with these settings.
    pub fn new(config: OpenCodeConfig) -> Result<Self> {
        let client = reqwest::Client::builder()
            // A proxy from the environment must never see what is said on loopback.
            .no_proxy()
            // A redirect would carry the credentials elsewhere, and the server makes none.
            .redirect(reqwest::redirect::Policy::none())
            // Whether to try again is decided above, and a prompt is never sent twice.
            .retry(reqwest::retry::never())
            .connect_timeout(config.limits.connect)
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_SERVER)
            .build()
            .map_err(|error| Failure::transport(error).into_error("set the HTTP client up"))?;
        Ok(Self { client, config })
    }
}

impl fmt::Debug for OpenCodeConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCodeConnector").field("config", &self.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl AgentConnector for OpenCodeConnector {
    fn requirements(&self) -> ServerRequirements {
        ServerRequirements {
            port: PORT,
            username: USERNAME.to_owned(),
            env: ENVIRONMENT.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            heartbeat: HEARTBEAT,
        }
    }

    async fn connect(&self, endpoint: Endpoint) -> Result<Arc<dyn AgentApi>> {
        let server = Server::new(self.client.clone(), &endpoint, &self.config)
            .map_err(|failure| failure.into_error("read the server's address"))?;
        Ok(Arc::new(OpenCodeClient::new(server, self.config.clone())))
    }
}
