//! What tests and demonstrations use in place of the real thing.
//!
//! - [`contract`]: what every implementation of a port promises, for the fakes, our adapters and yours.
//! - [`fake_runtime`], [`fake_agent`], [`fake_workspace`]: the ports in memory, with state, that fail, stall and crash
//!   on request ([`faults`] says how) and take no real time.
//! - [`stub_model`]: an OpenAI-compatible server whose answers are scripted by the prompt.

pub mod contract;
pub mod fake_agent;
pub mod fake_runtime;
pub mod fake_workspace;
pub mod faults;
pub mod stub_model;
