//! The adapter to an OpenCode server: implements [`AgentConnector`] and [`AgentApi`] over HTTP and server-sent
//! events. The only crate that knows `reqwest` and OpenCode's wire format; neither is in its public signatures.
//!
//! Proved against OpenCode 1.18.33; other versions than 1.18.x are refused by name.
//!
//! ```no_run
//! # async fn example(endpoint: runner_core::Endpoint) -> runner_core::Result<()> {
//! use runner_core::AgentConnector;
//! use runner_opencode::{OpenCodeConfig, OpenCodeConnector};
//!
//! let connector = OpenCodeConnector::new(OpenCodeConfig::default())?;
//! let server = connector.connect(endpoint).await?;
//! println!("OpenCode {}", server.health().await?.version);
//! # Ok(()) }
//! ```
//!
//! Reading order: `connector` (what a server must be started with, and whom we talk to), `client` (one method per
//! call), `call` (request, time limit, size limit, what an answer may look like), the event stream from the socket to
//! the reader (`connection`, `sse`, `frames`, `decode`, `events`), `wire` (the format, borrowed from the bytes),
//! `convert` (wire to domain), `error`.
//!
//! [`AgentConnector`]: runner_core::AgentConnector
//! [`AgentApi`]: runner_core::AgentApi

mod body;
mod call;
mod client;
mod config;
mod connection;
mod connector;
mod convert;
mod decode;
mod error;
mod events;
mod frames;
mod ids;
mod input;
mod message_id;
#[cfg(test)]
mod recordings;
mod sse;
mod wire;

pub use config::{OpenCodeConfig, TimeLimits};
pub use connector::OpenCodeConnector;
