//! Event streams, and what can go wrong with them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use runner_core::session::{AgentEvent, AgentEventStream};
use runner_core::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The real server's interval.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// Heartbeats that may be missed before a connection counts as lost, as an adapter decides it.
const MISSED_BEATS: u32 = 3;

/// A reader so far behind loses its connection. Memory is taken only as events wait.
const CAPACITY: usize = 65_536;

type Item = Result<AgentEvent>;

#[derive(Default)]
pub(super) struct Streams {
    open: Vec<mpsc::Sender<Item>>,
    /// How many events there were, seen or not.
    emitted: u64,
    cut_at: Option<u64>,
    lost: Option<Range<u64>>,
    muted: bool,
    /// Shared with the open streams, which make their heartbeats themselves.
    silent: Arc<AtomicBool>,
}

impl Streams {
    pub(super) fn emit(&mut self, event: &AgentEvent) {
        let place = self.emitted;
        self.emitted += 1;
        if let Some(lost) = &self.lost {
            if lost.start == place {
                self.open.clear();
            }
            if lost.contains(&place) {
                return;
            }
        }
        if !self.muted && !self.silent.load(Ordering::Relaxed) {
            self.open.retain(|stream| stream.try_send(Ok(event.clone())).is_ok());
        }
        if self.cut_at == Some(self.emitted) {
            self.open.clear();
        }
    }

    pub(super) fn cut_after(&mut self, events: u64) {
        if events == 0 {
            self.open.clear();
        } else {
            self.cut_at = Some(self.emitted + events);
        }
    }

    pub(super) fn lose(&mut self, events: Range<u64>) {
        self.lost = Some(self.emitted + events.start..self.emitted + events.end);
    }

    /// Ends all streams with an error.
    pub(super) fn fail(&mut self, error: &Error) {
        for stream in self.open.drain(..) {
            // A full stream just ends: its reader is lost either way.
            let _ = stream.try_send(Err(error.clone()));
        }
    }

    pub(super) fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    pub(super) fn silence(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    pub(super) fn count(&mut self) -> usize {
        self.open.retain(|stream| !stream.is_closed());
        self.open.len()
    }

    pub(super) fn open(&mut self) -> AgentEventStream {
        let (sender, events) = mpsc::channel(CAPACITY);
        self.open.push(sender);
        let reader = Reader {
            events,
            next_beat: Instant::now() + HEARTBEAT,
            missed: 0,
            ended: false,
            silent: Arc::clone(&self.silent),
        };
        let connected = stream::iter([Ok(AgentEvent::Connected)]);
        connected.chain(stream::unfold(reader, Reader::next)).fuse().boxed()
    }
}

struct Reader {
    events: mpsc::Receiver<Item>,
    next_beat: Instant,
    missed: u32,
    ended: bool,
    silent: Arc<AtomicBool>,
}

impl Reader {
    async fn next(mut self) -> Option<(Item, Self)> {
        while !self.ended {
            tokio::select! {
                biased;
                item = self.events.recv() => {
                    self.missed = 0;
                    self.ended = !matches!(item, Some(Ok(_)));
                    return item.map(|item| (item, self));
                }
                () = tokio::time::sleep_until(self.next_beat) => {
                    self.next_beat += HEARTBEAT;
                    if !self.silent.load(Ordering::Relaxed) {
                        self.missed = 0;
                        return Some((Ok(AgentEvent::Heartbeat), self));
                    }
                    self.missed += 1;
                    if self.missed >= MISSED_BEATS {
                        self.ended = true;
                        let message = format!("no heartbeat for {} s", (HEARTBEAT * MISSED_BEATS).as_secs());
                        let error = Error::new(ErrorKind::Timeout, "read the server's events", message);
                        return Some((Err(error.temporary()), self));
                    }
                }
            }
        }
        None
    }
}
