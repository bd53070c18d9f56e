//! The last words of a container.

use std::time::Duration;

use futures::TryStreamExt;
use runner_core::logs::LogOptions;
use runner_core::{ContainerId, ContainerRuntime};
use tokio::time::timeout;

/// A log that cannot be read within this time is left out of the error: the error must not wait for it.
const LIMIT: Duration = Duration::from_secs(2);

/// The last lines, oldest first; empty where they cannot be had.
pub(crate) async fn log_tail(runtime: &dyn ContainerRuntime, id: &ContainerId, lines: u32) -> Vec<String> {
    let read = async {
        let stream = runtime.logs(id, LogOptions { follow: false, tail: Some(lines), since: None }).await?;
        stream.map_ok(|line| line.text).try_collect().await
    };
    match timeout(LIMIT, read).await {
        Ok(Ok(lines)) => lines,
        Ok(Err(error)) => {
            tracing::debug!(container = id.short(), error = %error, "the last log lines cannot be read");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}
