//! [`ContainerRuntime`](runner_core::ContainerRuntime) on a Docker engine, or on what speaks its interface.
//!
//! Reading order:
//!
//! 1. [`DockerConfig`], [`DockerHost`], [`Budgets`]: what is configured, each default with its reason.
//! 2. [`DockerRuntime`] (`runtime.rs`): the port; one call per step. The steps with a life of their own have a file
//!    each: `image.rs`, `network.rs`, `start.rs`, `wait.rs`, `logs.rs`, `stop.rs`, `remove.rs`, `list.rs`.
//! 3. `spec.rs`, `mounts.rs`: a domain spec becomes the engine's request, with the whole security profile; what may
//!    never be mounted.
//! 4. `json.rs`, `convert.rs`: the engine's documents, read leniently, become domain types.
//! 5. `wire.rs`, `engine.rs`: one HTTP exchange per connection; every call bounded as a whole.
//! 6. `error.rs`: what an engine says → which kind of error, and whether to try again.
//!
//! Requests go through bollard where its replies carry nothing that a newer engine could break, and directly over
//! the same transport where they do: bollard's closed enums fail a whole document for one unknown word, its log
//! decoder trusts frame lengths, its wait hides the moment of registration, and its network request lacks
//! `CheckDuplicate`.
//!
//! The crate never reads the environment. bollard logs request bodies at debug level through the `log` facade:
//! keep `bollard` at `warn` where containers' environments are not for the log.

mod backoff;
mod budget;
mod config;
mod convert;
mod engine;
mod entries;
mod error;
mod frames;
mod host;
mod image;
mod json;
mod lines;
mod list;
mod logs;
mod mounts;
mod network;
mod position;
mod remove;
mod runtime;
mod spec;
mod stamp;
mod start;
mod stop;
mod wait;
mod wire;

pub use budget::Budgets;
pub use config::{DockerConfig, LogLimits};
pub use host::DockerHost;
pub use runtime::DockerRuntime;
