//! The port: one call per step.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
#[cfg(doc)]
use runner_core::ErrorKind;
use runner_core::container::{Labels, Network, StopOptions, StopOutcome, StuckContainer};
use runner_core::container_runtime::RuntimeInfo;
use runner_core::files::ContainerFile;
use runner_core::image::{ImageInfo, ImageProgress, ImageRequest};
use runner_core::logs::{LogOptions, LogStream};
use runner_core::resources::ResourceUpdate;
use runner_core::runtime_event::RuntimeEventStream;
use runner_core::stats::ContainerStats;
use runner_core::{
    ContainerId, ContainerInfo, ContainerRuntime, ContainerSpec, ExitStatus, ImageRef, Result, Sink,
};

use crate::config::DockerConfig;
use crate::connect::CONNECT;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::image::Images;
use crate::network::IsolatedNetwork;
use crate::rules::approve::{Rules, within};
use crate::rules::mounts::MountRules;
use crate::rules::policy::Policy;
use crate::spec::Profile;
use crate::{
    about, connect, copy, create, events, limits, list, logs, remove, rules::named_network, rules::visible,
    spec, start, stats, stop, wait,
};

const INSPECT: &str = "inspect the container";

/// Containers on a Docker engine.
///
/// Made by [`connect`](Self::connect). Cheap to share behind an `Arc`; every call opens a connection of its own, so
/// an engine that was restarted is simply there again.
pub struct DockerRuntime {
    engine: Arc<Engine>,
    network: IsolatedNetwork,
    images: Images,
    rules: Rules,
    profile: Profile,
    may_see_other_files: bool,
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
    /// [`ErrorKind::Protocol`] where something else than an engine answers, [`ErrorKind::UnsupportedVersion`] where
    /// the engine is older than Docker 20.10, or so new that it has no version of its interface in common with us,
    /// [`ErrorKind::InvalidInput`] for a configuration that cannot be: a network name, the path map, a grant that is
    /// never given.
    ///
    /// With TLS, also: [`ErrorKind::InvalidInput`] for a file that cannot be used, [`ErrorKind::Connection`] where the
    /// engine's certificate is not accepted, [`ErrorKind::Unauthorized`] where the engine does not accept ours,
    /// [`ErrorKind::Unsupported`] without the feature `tls`. All of these last until somebody changes something.
    ///
    /// Nothing is changed on the engine. Dropping the future gives up.
    pub async fn connect(config: DockerConfig) -> Result<Self> {
        named_network::check_name(CONNECT, &config.network)?;
        // Boxed: with TLS the first calls hold kilobytes, and every caller's future would.
        let (engine, info) = Box::pin(connect::open(&config)).await?;
        let engine = Arc::new(engine);
        let limit = config.budgets.connect;
        let socket = config.host.socket().map(PathBuf::from);
        let local = socket.is_some();
        let data = Some(PathBuf::from(info.docker_root_dir)).filter(|path| path.is_absolute());
        let engine_paths: Vec<_> = socket.into_iter().chain(data).collect();
        let map = config.path_map;
        let look = move || Ok((MountRules::new(local, map, &engine_paths)?, visible::in_container()));
        let (mounts, in_container) = within(limit, look).await?;
        let same_files = mounts.same_files();
        let oci_runtimes = info.runtimes.into_iter().map(|(name, _)| name).collect();
        let policy = Policy::new(config.allowed, oci_runtimes, config.network.clone(), same_files)?;
        Ok(Self {
            images: Images::new(Arc::clone(&engine), &info.architecture),
            rules: Rules::new(mounts, policy),
            profile: Profile {
                network: config.network.clone(),
                logs: config.logs,
                selinux: config.selinux.on(&info.security_options),
            },
            may_see_other_files: !same_files || in_container,
            network: IsolatedNetwork::new(Arc::clone(&engine), config.network),
            engine,
        })
    }

    /// Whether the engine may see other files than this process under the same paths: it is reached over the network,
    /// there is a path map, or this process seems to run in a container. Worth a
    /// [`check_visible`](Self::check_visible) then, once for each directory that holds workspaces.
    pub fn may_see_other_files(&self) -> bool {
        self.may_see_other_files
    }

    /// Proves that the engine sees what is in a directory, as this process does. Writes an empty file of a random name,
    /// looks for it through a container that is never started, and removes both, even if the caller gives up.
    ///
    /// [`ErrorKind::Workspace`] where it does not: an agent would work in an empty directory, or in another one. The
    /// image must be there; any will do.
    pub async fn check_visible(&self, directory: &Path, image: &ImageRef) -> Result<()> {
        visible::check(&self.engine, &self.rules, &self.profile, directory, image).await
    }
}

#[async_trait]
impl ContainerRuntime for DockerRuntime {
    /// Also makes the isolated network, whose gateway is the host's address for containers.
    async fn info(&self) -> Result<RuntimeInfo> {
        let limit = self.engine.budgets.read;
        let fail = |e: EngineError| e.into_core(about::OPERATION);
        let (version, info) = about::about(&self.engine, limit).await.map_err(fail)?;
        let unsupported = about::unsupported(&self.engine, &version, limit).await.map_err(fail)?;
        let host_address = self.network.ensure().await?;
        Ok(about::describe(version, info, host_address, unsupported))
    }

    async fn ensure_image(&self, request: &ImageRequest, progress: Sink<ImageProgress>) -> Result<ImageInfo> {
        self.images.ensure(request, progress).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        spec.validate()?;
        let approved = self.rules.approve(spec, self.engine.budgets.read).await?;
        let mut body = spec::request(spec, &approved, &self.profile)?;
        let mut has_own_network = false;
        match &approved.granted.network {
            Some(name) => named_network::must_exist(&self.engine, create::OPERATION, name).await?,
            None if spec.network == Network::Isolated => {
                let network = self.network.join(&spec.name).await?;
                has_own_network = network != self.network.name();
                body.host_config.get_or_insert_default().network_mode = Some(network);
            }
            None => {}
        }
        let created = create::create(&self.engine, spec, body).await;
        if created.is_err() && has_own_network {
            self.network.leave(&spec.name).await;
        }
        created
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        start::start(&self.engine, &self.network, &self.rules, id).await
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo> {
        wait::inspect(&self.engine, id).await.map_err(|e| e.into_core(INSPECT).with_container(id))
    }

    async fn wait(&self, id: &ContainerId) -> Result<ExitStatus> {
        wait::wait(&self.engine, id).await
    }

    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream> {
        logs::open(Arc::clone(&self.engine), id, options, &self.profile.logs).await
    }

    async fn stop(&self, id: &ContainerId, options: StopOptions) -> Result<StopOutcome> {
        stop::stop(&self.engine, id, options).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        // A network of its own is known by the container's name, and that is gone with it.
        let apart = self.network.may_be_apart().await;
        let name = if apart { self.inspect(id).await.ok().map(|info| info.name) } else { None };
        remove::remove(&self.engine, id).await?;
        if let Some(name) = name {
            self.network.leave(&name).await;
        }
        Ok(())
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerInfo>> {
        list::list(&self.engine, labels).await
    }

    async fn update(&self, id: &ContainerId, update: &ResourceUpdate) -> Result<()> {
        limits::update(&self.engine, id, update).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<()> {
        limits::pause(&self.engine, id).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<()> {
        limits::unpause(&self.engine, id).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>> {
        stats::stats(&self.engine, id).await
    }

    /// Labels named `image` or `name` cannot be asked for: in events, the engine puts its own values there.
    async fn events(&self, labels: &Labels) -> Result<RuntimeEventStream> {
        events::open(Arc::clone(&self.engine), labels).await
    }

    /// At most 64 MiB, archive and all; more is [`ErrorKind::Capacity`]. A directory that is missing on the way to a
    /// file is made, as the file's owner's; one that is a link is refused.
    async fn copy_in(&self, id: &ContainerId, directory: &Path, files: &[ContainerFile]) -> Result<()> {
        copy::copy_in(&self.engine, id, directory, files).await
    }

    /// What is in a memory-backed directory, or has one below it, is [`ErrorKind::Unsupported`]: the engine does not
    /// see those. At most 100,000 entries.
    async fn copy_out(&self, id: &ContainerId, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>> {
        copy::copy_out(&self.engine, id, path, max_bytes).await
    }

    fn stuck(&self) -> Vec<StuckContainer> {
        self.engine.stuck.all()
    }

    async fn release(&self) -> Result<()> {
        self.network.release().await
    }
}
