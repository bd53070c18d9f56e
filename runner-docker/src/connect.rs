//! The first calls to an engine.

use std::future::Future;
use std::time::Duration;

use http::Method;
use runner_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::config::DockerConfig;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::host::DockerHost;
use crate::wire::Wire;
use crate::{json, version};

pub(crate) const CONNECT: &str = "connect to the engine";

/// Connects, agrees on a version of the interface, and asks what the engine is; all within the budget.
pub(crate) async fn open(config: &DockerConfig) -> Result<(Engine, json::Info)> {
    let limit = config.budgets.connect;
    let opened = bounded(limit, async {
        let wire = wire(&config.host).await?;
        let about = ask(&Engine::new(config, wire.clone())?, limit).await?;
        let version = version::negotiate(&about)?;
        let engine = Engine::new(config, wire.speaking(version))?;
        let info = engine.json(Method::GET, "/info", None, limit).await?;
        engine.exits.learn(&info);
        tracing::debug!(
            host = engine.host(),
            engine = about.product,
            api = about.api,
            spoken = %version,
            "the engine answers"
        );
        Ok((engine, info))
    });
    opened.await.map_err(|e| unanswered(e, CONNECT, "", &config.host.to_string()))
}

/// Proves that an engine answers, of whatever version.
pub(crate) async fn greet(host: &DockerHost, limit: Duration) -> Result<(), EngineError> {
    let config = DockerConfig { host: host.clone(), ..DockerConfig::default() };
    bounded(limit, async {
        let engine = Engine::new(&config, wire(host).await?)?;
        ask(&engine, limit).await.map(drop)
    })
    .await
}

async fn wire(host: &DockerHost) -> Result<Wire, EngineError> {
    Wire::open(host).await.map_err(|failure| EngineError::Tls { host: host.to_string(), failure })
}

async fn ask(engine: &Engine, limit: Duration) -> Result<json::Version, EngineError> {
    engine.json(Method::GET, "/version", None, limit).await
}

async fn bounded<T>(
    limit: Duration,
    calls: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    timeout(limit, calls).await.unwrap_or(Err(EngineError::Timeout { after: limit }))
}

/// A first call that found nobody. `about`: what comes before everything else, such as who named this engine.
pub(crate) fn unanswered(error: EngineError, operation: &'static str, about: &str, host: &str) -> Error {
    match error {
        EngineError::Timeout { after } => Error::new(
            ErrorKind::EngineUnavailable,
            operation,
            format!("{about}something listens at {host} and does not answer within {after:?}"),
        )
        .temporary()
        .with_hint("the engine hangs or is still starting; see its own log"),
        EngineError::Decode { message } => Error::new(
            ErrorKind::Protocol,
            operation,
            format!("{about}what answers at {host} is not a container engine ({message})"),
        )
        .with_hint("check the address (DOCKER_HOST)"),
        status @ EngineError::Status { .. } => {
            status.into_core_about(operation, &format!("{about}{host} answers: "))
        }
        other => other.into_core_about(operation, about),
    }
}
