//! Containers that could neither be stopped nor removed: kept in view until they are gone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use runner_core::container::StuckContainer;
use runner_core::{ContainerId, Error};

/// The list. As long as there are such containers, which is a handful or the host is lost anyway.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    containers: Mutex<BTreeMap<ContainerId, StuckContainer>>,
}

impl Stuck {
    /// Ending it has failed once more.
    pub(crate) fn add(&self, id: &ContainerId, error: &Error) {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        let stuck = containers.entry(id.clone()).or_insert_with(|| {
            tracing::error!(container = id.short(), error = error.chain(), "a container cannot be ended");
            StuckContainer { id: id.clone(), since: SystemTime::now(), attempts: 0, error: error.clone() }
        });
        stuck.attempts = stuck.attempts.saturating_add(1);
        stuck.error = error.clone();
    }

    /// It is gone after all.
    pub(crate) fn clear(&self, id: &ContainerId) {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stuck) = containers.remove(id) {
            tracing::info!(container = id.short(), attempts = stuck.attempts, "a stuck container is gone");
        }
    }

    pub(crate) fn has(&self, id: &ContainerId) -> bool {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    pub(crate) fn all(&self) -> Vec<StuckContainer> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
