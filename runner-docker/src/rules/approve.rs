//! Whether a spec may become a container here: its mounts and its grants, judged on a thread that may block.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use runner_core::{ContainerSpec, Error, ErrorKind, Result};

use crate::rules::mounts::{AllowedMount, MountRules};
use crate::rules::policy::{Granted, Policy};

const OPERATION: &str = "check the container spec";

/// The rules of one engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Arc<(MountRules, Policy)>);

/// What of a spec has passed the rules; `spec.rs` builds a request from nothing else.
#[derive(Debug, Default)]
pub(crate) struct Approved {
    pub(crate) mounts: Vec<AllowedMount>,
    pub(crate) granted: Granted,
}

impl Rules {
    pub(crate) fn new(mounts: MountRules, policy: Policy) -> Self {
        Self(Arc::new((mounts, policy)))
    }

    /// Judges a spec. Nothing is asked of the engine.
    pub(crate) async fn approve(&self, spec: &ContainerSpec, limit: Duration) -> Result<Approved> {
        let rules = Arc::clone(&self.0);
        let (mounts, grants, network) = (spec.mounts.clone(), spec.grants.clone(), spec.network.clone());
        within(limit, move || {
            let (mount_rules, policy) = &*rules;
            let granted = policy.judge(&grants, &network)?;
            Ok(Approved { mounts: mount_rules.check(&mounts)?, granted })
        })
        .await
    }

    /// Judges again the host directories of a container that is about to be started.
    pub(crate) async fn still_approve(&self, sources: Vec<PathBuf>, limit: Duration) -> Result<()> {
        if sources.is_empty() {
            return Ok(());
        }
        let rules = Arc::clone(&self.0);
        within(limit, move || rules.0.check_again(&sources)).await
    }
}

/// Looks at files for a bounded time: a dead network file system answers when it likes.
pub(crate) async fn within<T: Send + 'static>(
    limit: Duration,
    look: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(look)).await {
        Ok(Ok(result)) => result,
        Ok(Err(e)) => Err(Error::new(ErrorKind::Internal, OPERATION, "the check broke").with_source(e)),
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            OPERATION,
            format!("the file system of the mounts does not answer within {limit:?}"),
        )
        .temporary()),
    }
}
