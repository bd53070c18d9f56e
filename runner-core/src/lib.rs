//! The vocabulary of Runner Docker: ports, domain types and the one error.
//!
//! Nothing here does I/O, reads the environment or asks a clock, so a test of the domain needs no engine, no
//! server and no disk. Reading order:
//!
//! 1. [`request`] (with [`attachment`]) → [`event`] → [`result`]: what a caller asks for, sees on the way, and gets.
//! 2. [`runner`]: the port that an executor holds; [`RunnerExt`] for callers who only want the end.
//! 3. [`container_runtime`], [`agent_api`], [`workspace_provider`]: the ports that adapters implement.
//! 4. [`container`], [`exit`], [`grants`], [`image`], [`logs`], [`stats`], [`runtime_event`], [`files`], [`session`],
//!    [`input`], [`settings`], [`endpoint`]: what crosses those ports.
//! 5. [`error`], [`ids`], [`secret`]: what everything uses.
//!
//! Every port is usable as `Arc<dyn Port>`. Public signatures carry these types only; no client library's type
//! leaks through them, so that an upgrade of a client stays inside its adapter.

pub mod agent_api;
pub mod attachment;
pub mod container;
pub mod container_runtime;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod exit;
pub mod files;
pub mod grants;
pub mod ids;
pub mod image;
pub mod input;
pub mod layout;
pub mod logs;
pub mod model;
pub mod phase;
pub mod request;
pub mod resources;
pub mod result;
pub mod runner;
pub mod runtime_event;
pub mod secret;
pub mod session;
pub mod settings;
pub mod sink;
pub mod stats;
pub mod workspace_provider;

/// Per-call mocks of the ports, made by mockall. For tests that care about calls; for tests that care about what
/// happens, `runner-testkit` has fakes that hold state.
#[cfg(feature = "mock")]
pub mod mock {
    pub use crate::agent_api::{MockAgentApi, MockAgentConnector};
    pub use crate::container_runtime::MockContainerRuntime;
    pub use crate::runner::MockRunner;
    pub use crate::workspace_provider::MockWorkspaceProvider;
}

pub use agent_api::{AgentApi, AgentConnector};
pub use container::{ContainerInfo, ContainerSpec, ContainerState};
pub use container_runtime::ContainerRuntime;
pub use endpoint::Endpoint;
pub use error::{Error, ErrorKind, Result, Retry};
pub use event::{RunEvent, RunEventKind};
pub use exit::{ExitReason, ExitStatus, StopReason};
pub use ids::{AgentId, ContainerId, MessageId, SessionId, TaskId};
pub use image::ImageRef;
pub use model::ModelId;
pub use request::RunRequest;
pub use resources::Resources;
pub use result::{Outcome, RunResult};
pub use runner::{Runner, RunnerExt, RunnerStatus, Turn};
pub use secret::Secret;
pub use settings::AgentSettings;
pub use sink::Sink;
pub use workspace_provider::WorkspaceProvider;
