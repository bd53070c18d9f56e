//! What every implementation of a port promises, as checks that panic with a clear message.
//!
//! The fakes of this crate and the adapters of this workspace pass them; whoever writes an adapter of their own
//! runs them on it. They use ports only, wait on tokio's clock, and clean up after themselves also when a check
//! fails.

pub mod agent_api;
pub mod container_runtime;
mod support;
pub mod workspace_provider;
