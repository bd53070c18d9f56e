//! The port: one call per step.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::query_parameters::CreateContainerOptionsBuilder;
use futures::future::try_join;
use http::Method;
use runner_core::container::{Labels, Network, StopOptions};
use runner_core::container_runtime::RuntimeInfo;
use runner_core::image::{ImageInfo, ImageProgress, PullPolicy};
use runner_core::logs::{LogOptions, LogStream};
use runner_core::{
    ContainerId, ContainerInfo, ContainerRuntime, ContainerSpec, Error, ErrorKind, ExitStatus, ImageRef,
    Result, Sink,
};

use crate::config::{DockerConfig, LogLimits};
use crate::engine::{Engine, is_name};
use crate::error::EngineError;
use crate::image::Images;
use crate::mounts::{AllowedMount, MountRules};
use crate::network::IsolatedNetwork;
use crate::{convert, json, list, logs, remove, spec, start, stop, wait};

const CONNECT: &str = "connect to the engine";
const INFO: &str = "ask what the engine is";
const CREATE: &str = "create the container";
const INSPECT: &str = "inspect the container";

/// Containers on a Docker engine.
///
/// Made by [`connect`](Self::connect). Cheap to share behind an `Arc`; every call opens a connection of its own, so
/// an engine that was restarted is simply there again.
pub struct DockerRuntime {
    engine: Arc<Engine>,
    network: IsolatedNetwork,
    images: Images,
    mounts: MountRules,
    logs: LogLimits,
}

impl fmt::Debug for DockerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerRuntime")
            .field("host", &format_args!("{}", self.engine.host()))
            .field("network", &format_args!("{}", self.network.name()))
            .finish_non_exhaustive()
    }
}

impl DockerRuntime {
    /// Connects to the engine that the configuration names, and to no other.
    ///
    /// It has answered when this returns. Otherwise: [`ErrorKind::EngineUnavailable`] where there is no socket,
    /// nobody listens or nobody answers within [`Budgets::connect`](crate::Budgets::connect) (each with its own
    /// text and way out; worth a retry), [`ErrorKind::PermissionDenied`] where this user may not use the socket,
    /// [`ErrorKind::Protocol`] where something else than an engine answers, [`ErrorKind::InvalidInput`] for a
    /// network name that cannot be.
    ///
    /// Nothing is changed on the engine. Dropping the future gives up.
    pub async fn connect(config: DockerConfig) -> Result<Self> {
        check_network_name(&config.network)?;
        let engine = Arc::new(Engine::new(&config).map_err(|e| e.into_core(CONNECT))?);
        let limit = config.budgets.connect;
        let (version, info) = about(&engine, limit).await.map_err(|e| unanswered(e, engine.host()))?;
        tracing::debug!(
            host = engine.host(),
            version = version.product,
            api = version.api,
            "the engine answers"
        );
        let socket = config.host.socket().map(PathBuf::from);
        let local = socket.is_some();
        let data = Some(PathBuf::from(info.docker_root_dir)).filter(|path| path.is_absolute());
        Ok(Self {
            network: IsolatedNetwork::new(Arc::clone(&engine), config.network),
            images: Images::new(Arc::clone(&engine)),
            mounts: MountRules::new(local, socket.into_iter().chain(data)),
            logs: config.logs,
            engine,
        })
    }

    async fn allowed_mounts(&self, spec: &ContainerSpec) -> Result<Vec<AllowedMount>> {
        let (rules, mounts) = (self.mounts.clone(), spec.mounts.clone());
        // A dead network file system answers `stat` when it likes.
        let check = tokio::task::spawn_blocking(move || rules.check(&mounts));
        match tokio::time::timeout(self.engine.budgets.read, check).await {
            Ok(Ok(result)) => result,
            Ok(Err(e)) => {
                Err(Error::new(ErrorKind::Internal, CREATE, "the check of the mounts broke").with_source(e))
            }
            Err(_) => {
                Err(Error::new(ErrorKind::Timeout, CREATE, "the file system of the mounts does not answer")
                    .temporary())
            }
        }
    }
}

#[async_trait]
impl ContainerRuntime for DockerRuntime {
    /// Also makes the isolated network, whose gateway is the host's address for containers.
    async fn info(&self) -> Result<RuntimeInfo> {
        let limit = self.engine.budgets.read;
        let (version, info) = about(&self.engine, limit).await.map_err(|e| e.into_core(INFO))?;
        let host_address = self.network.ensure().await?;
        let is_podman = version.components.iter().any(|c| c.name.to_ascii_lowercase().contains("podman"));
        let product = if is_podman { "Podman" } else { "Docker" };
        let shifted = |option: &String| option.contains("name=rootless") || option.contains("name=userns");
        Ok(RuntimeInfo {
            engine: format!("{product} {}", version.product),
            api_version: version.api,
            architecture: info.architecture,
            rootless: info.security_options.iter().any(shifted),
            host_address,
        })
    }

    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo> {
        self.images.ensure(image, policy, progress).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        spec.validate()?;
        let mounts = self.allowed_mounts(spec).await?;
        let body = spec::request(spec, &mounts, self.network.name(), &self.logs)?;
        if spec.network == Network::Isolated {
            self.network.ensure().await?;
        }
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        // Boxed: the request's type has every field that an engine knows, and the future holds it twice.
        let call = Box::pin(self.engine.docker().create_container(Some(options), body));
        let created =
            self.engine.typed(self.engine.budgets.create, call).await.map_err(|e| e.into_core(CREATE))?;
        for warning in &created.warnings {
            tracing::warn!(container = spec.name, warning, "the engine warns about a container");
        }
        convert::id(&created.id).map_err(|e| e.into_core(CREATE))
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        start::start(&self.engine, &self.network, id).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo> {
        wait::inspect(&self.engine, id).await.map_err(|e| e.into_core(INSPECT).with_container(id))
    }

    async fn wait(&self, id: &ContainerId) -> Result<ExitStatus> {
        wait::wait(&self.engine, id).await
    }

    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream> {
        logs::open(Arc::clone(&self.engine), id, options, self.logs.line_bytes).await
    }

    async fn stop(&self, id: &ContainerId, options: StopOptions) -> Result<()> {
        stop::stop(&self.engine, id, options).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        remove::remove(&self.engine, id).await
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerInfo>> {
        list::list(&self.engine, labels).await
    }

    async fn release(&self) -> Result<()> {
        self.network.release().await
    }
}

async fn about(engine: &Engine, limit: Duration) -> Result<(json::Version, json::Info), EngineError> {
    let version = engine.json(Method::GET, "/version", None, limit);
    let info = engine.json(Method::GET, "/info", None, limit);
    try_join(version, info).await
}

/// A network name is also a network mode, and some modes are the host's.
fn check_network_name(name: &str) -> Result<()> {
    // Docker's and Podman's.
    const MODES: &[&str] = &["host", "none", "bridge", "default", "nat", "private", "slirp4netns", "pasta"];
    if is_name(name, 128) && !MODES.contains(&name) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, CONNECT, format!("{name:?} cannot be the runners' network"))
        .with_hint("use letters, digits, '_', '.' and '-', and none of the engine's own names"))
}

/// A first call that found nobody.
fn unanswered(error: EngineError, host: &str) -> Error {
    match error {
        EngineError::Timeout { after } => Error::new(
            ErrorKind::EngineUnavailable,
            CONNECT,
            format!("something listens at {host} and does not answer within {after:?}"),
        )
        .temporary()
        .with_hint("the engine hangs or is still starting; see its own log"),
        EngineError::Decode { message } => Error::new(
            ErrorKind::Protocol,
            CONNECT,
            format!("what answers at {host} is not a container engine ({message})"),
        )
        .with_hint("check the address (DOCKER_HOST)"),
        other => other.into_core(CONNECT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_name_is_never_one_of_the_engines_modes() {
        for bad in ["", "host", "none", "bridge", "default", "pasta", "container:abc", "a/b", "-a", "a b"] {
            assert_eq!(check_network_name(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
        check_network_name("cnap-runner").unwrap();
    }
}
