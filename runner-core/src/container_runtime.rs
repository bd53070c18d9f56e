//! The port to whatever runs containers.

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;

use crate::container::{ContainerInfo, ContainerSpec, ExitStatus, Labels, StopOptions};
use crate::error::Result;
use crate::ids::ContainerId;
use crate::image::{ImageInfo, ImageProgress, ImageRef, PullPolicy};
use crate::logs::{LogOptions, LogStream};
use crate::sink::Sink;

/// What an engine is and can do.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Makes sure that the engine has an image. Concurrent calls for one reference fetch it once.
    async fn ensure_image(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo>;

    /// Creates a container with the whole default security profile. Nothing runs yet.
    ///
    /// A name that is taken is [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists); a missing image is
    /// [`ErrorKind::ImageUnavailable`](crate::ErrorKind::ImageUnavailable).
    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId>;

    /// Starts a created container. A container that runs already is left as it is.
    async fn start(&self, id: &ContainerId) -> Result<()>;

    /// What the container is right now. The truth; everything else only makes it fast.
    async fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo>;

    /// Waits, without a bound of its own, until the container has ended. One that has ended already answers at
    /// once; one that is created is waited for through its start to its end.
    async fn wait(&self, id: &ContainerId) -> Result<ExitStatus>;

    /// What the container wrote.
    async fn logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream>;

    /// Stops the container: its stop signal, then after the grace a kill. Returns once it has ended. A container
    /// that is not running, or is gone, is a success.
    async fn stop(&self, id: &ContainerId, options: StopOptions) -> Result<()>;

    /// Removes the container with its anonymous volumes, killing it if it runs, and returns once it is gone. One
    /// that is gone already is a success; concurrent calls all succeed.
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// Containers, running or not, that carry all the given labels. Re-checked on our side.
    async fn list(&self, labels: &Labels) -> Result<Vec<ContainerInfo>>;

    /// Gives back what the runtime keeps on the engine for all containers, such as its network, unless something
    /// still uses it. Called last; the runtime makes it again when needed.
    async fn release(&self) -> Result<()>;
}
