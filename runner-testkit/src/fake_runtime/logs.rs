//! Reading what a container wrote.

use futures::stream::{self, StreamExt};
use runner_core::logs::{LogOptions, LogStream};
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result};
use tokio::sync::watch;

use super::FakeRuntime;
use crate::faults::lock;

const OPERATION: &str = "read a container's log";

struct Reader {
    engine: FakeRuntime,
    id: ContainerId,
    next: usize,
    changes: watch::Receiver<ContainerState>,
    follow: bool,
    /// The engine's restarts when this reader began.
    restarts: u64,
}

impl FakeRuntime {
    pub(super) fn read_logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream> {
        let engine = lock(&self.shared.engine);
        let container = engine.get(OPERATION, id)?;
        let tail = options.tail.map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
        let all = container.lines.len();
        // Lines come in the order of their times, so each option leaves out some of the first.
        let too_old = container.lines.partition_point(|line| line.at < options.since);
        let changes = container.state.subscribe();
        let reader = Reader {
            engine: self.clone(),
            id: id.clone(),
            next: all.saturating_sub(tail).max(too_old),
            changes,
            // An engine does not wait for a container that has not started: such a log ends with what is there.
            follow: options.follow && container.is_running(),
            restarts: engine.restarts,
        };
        let stop_at = if reader.follow { usize::MAX } else { all };
        Ok(stream::unfold(reader, move |mut reader| async move {
            while reader.next < stop_at {
                // Seen before the look at the lines, so that a line written after it wakes this reader.
                reader.changes.mark_unchanged();
                let (line, running, restarts) = {
                    let engine = lock(&reader.engine.shared.engine);
                    let container = engine.find(&reader.id)?;
                    (container.lines.get(reader.next).cloned(), container.is_running(), engine.restarts)
                };
                if let Some(line) = line {
                    reader.next += 1;
                    return Some((Ok(line), reader));
                }
                if restarts != reader.restarts {
                    reader.next = stop_at;
                    let error = Error::new(ErrorKind::Connection, OPERATION, "the engine was restarted");
                    return Some((Err(error.temporary().with_container(&reader.id)), reader));
                }
                if !reader.follow || !running {
                    return None;
                }
                reader.changes.changed().await.ok()?;
            }
            None
        })
        .fuse()
        .boxed())
    }
}
