//! Which model answers: a provider's, or the stub.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use runner_compat::{Stack, StackConfig};
use runner_core::{AgentSettings, Error, ErrorKind, ModelId, Result, Secret};
use runner_testkit::stub_model::StubModel;
use serde_json::json;

/// The stub's own key. It guards nothing but must not be empty, and shows how a key travels.
const STUB_KEY: &str = "demo-key";
/// How fast the stub writes: readable, and over in a few seconds.
const WORD_PACE: Duration = Duration::from_millis(40);
/// How Docker Desktop names the host, where containers cannot reach an address of it.
const DESKTOP_HOST: &str = "host.docker.internal";

pub(crate) enum Choice {
    Real(ModelId),
    Stub,
}

impl Choice {
    /// The model that was asked for, if its provider's key is there; the stub if none was.
    pub(crate) fn make(model: Option<ModelId>, settings: &AgentSettings) -> Result<Self> {
        let Some(model) = model else { return Ok(Self::Stub) };
        if settings.keys.contains_key(model.provider()) {
            return Ok(Self::Real(model));
        }
        let message = format!("there is no key for the provider {:?}", model.provider());
        Err(Error::new(ErrorKind::InvalidInput, "choose a model", message)
            .with_hint("set the provider's API key (for instance ANTHROPIC_API_KEY), or leave --model out"))
    }

    /// Puts the model into the settings; starts the stub where it is the model.
    pub(crate) async fn prepare(&self, config: &mut StackConfig) -> Result<Option<StubModel>> {
        match self {
            Self::Real(model) => {
                // The other providers' keys are none of this agent's business.
                config.agent.keys.retain(|provider, _| provider == model.provider());
                config.agent.model = Some(model.clone());
                Ok(None)
            }
            Self::Stub => {
                let (stub, host) = start_stub(config).await?;
                config.agent.keys = [("stub".to_owned(), Secret::new(STUB_KEY))].into();
                config.agent.model = Some("stub/demo".parse()?);
                let provider = json!({
                    "stub": {
                        "npm": "@ai-sdk/openai-compatible",
                        "name": "Stub",
                        "options": { "baseURL": stub.base_url_at(&host) },
                        "models": { "demo": { "name": "Demo", "limit": { "context": 100_000, "output": 8_000 } } }
                    }
                });
                config.agent.config.insert("provider".to_owned(), provider);
                Ok(Some(stub))
            }
        }
    }
}

/// The stub, at an address that containers reach and nobody outside this host does: the gateway of the runners'
/// network; on Docker Desktop, where that is inside its virtual machine, loopback.
async fn start_stub(config: &StackConfig) -> Result<(StubModel, String)> {
    let stack = Stack::connect(config.clone()).await?;
    let gateway = stack.engine().await?.host_address;
    let builder = StubModel::builder().api_key(STUB_KEY).word_pace(WORD_PACE).demo_behaviour(true);
    if let Some(address) = gateway
        && let Ok(stub) = builder.clone().bind(SocketAddr::new(address, 0)).await
    {
        return Ok((stub, address.to_string()));
    }
    let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let stub = builder.bind(loopback).await.map_err(|e| {
        Error::new(ErrorKind::HostResources, "start the stub model", "no address can be had").with_source(e)
    })?;
    Ok((stub, DESKTOP_HOST.to_owned()))
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real(model) => write!(f, "{model}"),
            Self::Stub => f.write_str(
                "a stub on this host, not a language model (for a real one: set a provider's API key and give --model)",
            ),
        }
    }
}
