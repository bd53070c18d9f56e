//! Reading what a container wrote.

use futures::stream::{self, StreamExt};
use runner_core::logs::{LogOptions, LogStream};
use runner_core::{ContainerId, ContainerState, Result};
use tokio::sync::watch;

use super::FakeRuntime;
use crate::faults::lock;

struct Reader {
    engine: FakeRuntime,
    id: ContainerId,
    next: usize,
    changes: watch::Receiver<ContainerState>,
    follow: bool,
}

impl FakeRuntime {
    pub(super) fn read_logs(&self, id: &ContainerId, options: LogOptions) -> Result<LogStream> {
        let engine = lock(&self.shared.engine);
        let container = engine.get("read a container's log", id)?;
        let tail = options.tail.map_or(usize::MAX, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
        let all = container.lines.len();
        let changes = container.state.subscribe();
        let reader = Reader {
            engine: self.clone(),
            id: id.clone(),
            next: all.saturating_sub(tail),
            changes,
            // An engine does not wait for a container that has not started: such a log ends with what is there.
            follow: options.follow && container.is_running(),
        };
        let stop_at = if reader.follow { usize::MAX } else { all };
        Ok(stream::unfold(reader, move |mut reader| async move {
            while reader.next < stop_at {
                // Seen before the look at the lines, so that a line written after it wakes this reader.
                reader.changes.mark_unchanged();
                let (line, running) = {
                    let engine = lock(&reader.engine.shared.engine);
                    let container = engine.find(&reader.id)?;
                    (container.lines.get(reader.next).cloned(), container.is_running())
                };
                if let Some(line) = line {
                    reader.next += 1;
                    return Some((Ok(line), reader));
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
