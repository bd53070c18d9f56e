//! The Docker engine: find one, start one where there is none, stop the one that we started.

mod candidates;
mod daemon;
mod find;
mod install;
mod probe;
mod state;
mod surroundings;

use crate::failure::Outcome;

pub(crate) use daemon::down;
pub(crate) use find::find;
pub(crate) use install::{packages, privileged, up, user_id};
pub(crate) use probe::{Answer, probe};
pub(crate) use state::{lives, processes_with};

/// The engine that answers may be one that xtask started.
pub(crate) fn is_ours() -> Outcome<bool> {
    Ok(state::load()?.is_some())
}

/// A label on every container of the runner (the value is "true").
pub(crate) const MANAGED_LABEL: &str = "cnap.runner.managed=true";
/// A label on every container of xtask's own checks.
pub(crate) const OWN_LABEL: &str = "cnap.xtask=image-test";

/// An engine that answered.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    /// As in `DOCKER_HOST`.
    pub(crate) host: String,
    /// Its name and version.
    pub(crate) about: String,
    /// Where the address came from.
    pub(crate) origin: String,
    /// What comes earlier in the order, and why it was not taken.
    pub(crate) passed_over: Vec<String>,
}

impl Engine {
    /// Says which one, and why.
    pub(crate) fn report(&self) {
        println!("engine: {} ({}), from {}", self.host, self.about, self.origin);
        for reason in &self.passed_over {
            println!("  not taken: {reason}");
        }
    }
}
