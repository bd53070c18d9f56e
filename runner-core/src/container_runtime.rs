//! The port to whatever runs containers.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;

use crate::container::{
    ContainerInfo, ContainerSpec, ExitStatus, Labels, StopOptions, StopOutcome, StuckContainer,
};
use crate::error::Result;
use crate::files::ContainerFile;
use crate::ids::ContainerId;
use crate::image::{ImageInfo, ImageProgress, ImageRequest};
use crate::logs::{LogOptions, LogStream};
use crate::resources::ResourceUpdate;
use crate::runtime_event::RuntimeEventStream;
use crate::sink::Sink;
use crate::stats::ContainerStats;

/// What an engine is and can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuntimeInfo {
    /// The engine's name and version, for people.
    pub engine: String,
    /// The version of its interface, as it says it.
    pub api_version: String,
    /// Processor architecture, as the engine names it.
    pub architecture: String,
    /// Whether containers run under user ids other than the host's for the same number.
    pub rootless: bool,
    /// The address at which containers on the isolated network reach services of the engine's host, where there
    /// is one.
    pub host_address: Option<IpAddr>,
    /// 1 or 2, where the engine tells.
    pub cgroup_version: Option<u8>,
    /// How it stores containers' file systems, such as `overlay2`.
    pub storage_driver: String,
    /// Whether containers survive a restart of the engine.
    pub live_restore: bool,
    /// Whether it labels containers for SELinux: a mounted directory is then readable inside only where its label
    /// allows it.
    pub selinux: bool,
    /// Which limits the host can enforce.
    pub limits: SupportedLimits,
    /// OCI runtimes that can be asked for by name.
    pub oci_runtimes: BTreeSet<String>,
    /// Processors of the engine's host, where it tells.
    pub cpus: Option<u32>,
    /// Memory of the engine's host in bytes, where it tells.
    pub memory_bytes: Option<u64>,
    /// Calls of the port that this engine cannot serve.
    pub unsupported: BTreeSet<Feature>,
}

/// Calls of the port that not every engine can serve. Each fails with
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// [`ContainerRuntime::update`]
    Update,
    /// [`ContainerRuntime::pause`] and [`ContainerRuntime::unpause`]
    Pause,
    /// [`ContainerRuntime::stats`]
    Stats,
    /// [`ContainerRuntime::events`]
    Events,
    /// [`ContainerRuntime::copy_in`] and [`ContainerRuntime::copy_out`]
    Copy,
}

/// Limits that the engine's host can enforce. One that it cannot is accepted and does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about a host, each with its name")]
pub struct SupportedLimits {
    /// Memory.
    pub memory: bool,
    /// Swap; without it a container may swap beyond its memory limit.
    pub swap: bool,
    /// CPU.
    pub cpu: bool,
    /// Processes.
    pub pids: bool,
}

/// Runs containers. One call is one step, with no policy inside: when to start, how often to retry and what to
/// clean up is decided above.
///
/// Every call is bounded in time by the implementation and fails with [`ErrorKind::Timeout`] beyond its bound;
/// streams end with an error when the engine is lost. Dropping a call's future gives up waiting and undoes
/// nothing: after a dropped or failed `create`, look for the container by its name and labels.
///
/// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ContainerRuntime: fmt::Debug + Send + Sync + 'static {
    /// What the engine is. Also the cheapest proof that it answers.
    async fn info(&self) -> Result<RuntimeInfo>;

    /// Makes sure that the engine has an image. Concurrent calls for one reference and platform fetch it once.
    async fn ensure_image(&self, request: &ImageRequest, progress: Sink<ImageProgress>) -> Result<ImageInfo>;

    /// Creates a container with the whole default security profile. Nothing runs yet. When the engine's answer is
    /// lost, the container is looked for before the call fails.
    ///
    /// A name that is taken is [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) with the id of the
    /// container that has it, which is left alone; a missing image is
    /// [`ErrorKind::ImageUnavailable`](crate::ErrorKind::ImageUnavailable).
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId>;

    /// Starts a created container. A container that runs already is left as it is.
    async fn start(&self, id: &ContainerId) -> Result<()>;

    /// What the container is right now. The truth; everything else only makes it fast.
    async fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo>;

    /// Changes limits of a created or running container.
    async fn update(&self, id: &ContainerId, update: &ResourceUpdate) -> Result<()>;

    /// Freezes a running container: it keeps its memory and uses no CPU. One that is frozen already is a success,
    /// one that does not run is [`ErrorKind::NotReady`](crate::ErrorKind::NotReady).
    async fn pause(&self, id: &ContainerId) -> Result<()>;

    /// Thaws a frozen container. One that runs already is a success, one that does not run is
    /// [`ErrorKind::NotReady`](crate::ErrorKind::NotReady).
    async fn unpause(&self, id: &ContainerId) -> Result<()>;

    /// Waits, without a bound of its own, until the container has ended. One that has ended already answers at
    /// once; one that is created is waited for through its start to its end. An engine that is restarted in between
    /// does not end it.
    async fn wait(&self, id: &ContainerId) -> Result<ExitStatus>;

    /// What the container wrote.
    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream>;

    /// One sample of what the container uses; `None` if it does not run. Takes up to two seconds on some engines:
    /// sample several at once, and never on the way of a request.
    async fn stats(&self, id: &ContainerId) -> Result<Option<ContainerStats>>;

    /// What happens from now on to containers that carry all the given labels.
    async fn events(&self, labels: &Labels) -> Result<RuntimeEventStream>;

    /// Writes files and directories below an existing directory of a container, all or (when it fails) some of
    /// them. A directory that the container cannot keep files in, such as one of its read-only root or a
    /// memory-backed one, is [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    async fn copy_in(&self, id: &ContainerId, directory: &Path, files: &[ContainerFile]) -> Result<()>;

    /// Reads a file, or a directory with all that is below it. Contents beyond `max_bytes` in all are
    /// [`ErrorKind::Capacity`](crate::ErrorKind::Capacity): nothing is cut off silently. A path that is
    /// not there is [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) whose message names it.
    async fn copy_out(&self, id: &ContainerId, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>>;

    /// Stops the container: its stop signal, then after the grace a kill. Returns once it has ended. A container
    /// that is not running, or is gone, is a success.
    async fn stop(&self, id: &ContainerId, options: StopOptions) -> Result<StopOutcome>;

    /// Removes the container with its anonymous volumes, killing it if it runs, and returns once it is gone. One
    /// that is gone already is a success; concurrent calls all succeed. One that cannot be removed fails within
    /// its bound and is [`stuck`](Self::stuck) until a later call succeeds.
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// Containers that this runtime could neither stop nor remove.
    fn stuck(&self) -> Vec<StuckContainer>;

    /// Containers, running or not, that carry all the given labels. Re-checked on our side.
    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerInfo>>;

    /// Gives back what the runtime keeps on the engine for all containers, such as its network, unless something
    /// still uses it. Called last; the runtime makes it again when needed.
    async fn release(&self) -> Result<()>;
}
