//! [`ContainerRuntime`](runner_core::ContainerRuntime) on a Docker engine, or on what speaks its interface.
//!
//! Reading order:
//!
//! 1. [`DockerConfig`], [`DockerHost`], [`Budgets`]: what is configured, each default with its reason.
//! 2. [`DockerRuntime`] (`runtime.rs`): the port; one call per step. The steps with a life of their own have a file
//!    each: `image.rs`, `network.rs`, `create.rs`, `start.rs`, `limits.rs`, `wait.rs`, `stop.rs`, `remove.rs`, `list.rs`,
//!    `logs.rs`, `stats.rs`, `events.rs`, `copy.rs`. `exits.rs`: why a container ended; `stuck.rs`: those that cannot be
//!    ended.
//! 3. `rules.rs`: what of a spec is judged before; `spec.rs`: what passed becomes the engine's request, with the whole
//!    security profile.
//! 4. `json.rs`, `convert.rs`: the engine's documents, read leniently, become domain types.
//! 5. `wire.rs`, `engine.rs`: one HTTP exchange per connection; every call bounded as a whole. `tls/`: the same over
//!    TLS, behind the feature `tls`. `connect.rs`, `version.rs`: the first calls, and which version is spoken.
//! 6. [`find_endpoint`] (`endpoint/`): which engine is meant, where the configuration does not name one.
//! 7. `error.rs`: what an engine says → which kind of error, and whether to try again.
//!
//! Requests go through bollard where its replies carry nothing that a newer engine could break, and directly over
//! the same transport where they do: bollard's closed enums fail a whole document for one unknown word, its log
//! decoder trusts frame lengths, its wait hides the moment of registration, and its network request lacks
//! `CheckDuplicate`.
//!
//! The crate never reads the environment: [`EndpointSources`] is filled by the caller. bollard logs request bodies at
//! debug level through the `log` facade: keep `bollard` at `warn` where containers' environments are not for the log.

mod about;
mod backoff;
mod budget;
mod clean;
mod config;
mod connect;
mod convert;
mod copy;
mod create;
mod endpoint;
mod engine;
mod error;
mod events;
mod exits;
mod host;
mod image;
mod json;
mod limits;
mod list;
mod logs;
mod network;
mod remove;
mod rules;
mod runtime;
mod spec;
mod stamp;
mod start;
mod stats;
mod stop;
mod stuck;
mod tls;
mod version;
mod wait;
mod wire;

pub use budget::Budgets;
pub use config::{DockerConfig, LogLimits};
pub use endpoint::{EndpointSources, Found, Origin, Setting, find_endpoint};
pub use host::DockerHost;
pub use rules::{AllowedGrants, PathMapping, SelinuxPolicy};
pub use runtime::DockerRuntime;
pub use tls::{ClientFiles, TlsFiles};
