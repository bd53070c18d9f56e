//! Events on their way to whoever reads them: numbered, bounded, never waiting for a slow reader.

use std::sync::Arc;

use futures::StreamExt;
use runner_core::event::RunEventKind;
use runner_core::{RunEvent, RunResult, Turn};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// The writing end of a turn's events.
#[derive(Debug)]
pub(crate) struct Feed {
    sender: broadcast::Sender<RunEvent>,
    next: u64,
}

impl Feed {
    /// A feed whose first event has this number.
    pub(crate) fn new(first: u64, buffer: usize) -> Self {
        let (sender, _) = broadcast::channel(buffer.max(1));
        Self { sender, next: first }
    }

    /// The number of the next event.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next
    }

    /// The reading end, from now on.
    pub(crate) fn turn(&self) -> Turn {
        let events = BroadcastStream::new(self.sender.subscribe());
        // The number that the reader expects next; the state of the scan.
        let numbered = events.scan(self.next, |expected, item| {
            let event = match item {
                Ok(event) => event,
                Err(BroadcastStreamRecvError::Lagged(missed)) => {
                    RunEvent { seq: *expected + missed - 1, kind: RunEventKind::Lagged { missed } }
                }
            };
            *expected = event.seq + 1;
            futures::future::ready(Some(event))
        });
        Turn::new(numbered)
    }

    /// Passes an event on. Without a reader it is only counted.
    pub(crate) fn send(&mut self, kind: RunEventKind) {
        let event = RunEvent { seq: self.next, kind };
        self.next += 1;
        // An error says that nobody listens, which is the caller's right.
        drop(self.sender.send(event));
    }

    /// Passes the last event on and ends the feed. Returns the number that the next turn begins with.
    pub(crate) fn finish(mut self, result: RunResult) -> u64 {
        self.send(RunEventKind::Finished(Arc::new(result)));
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(n: usize) -> RunEventKind {
        RunEventKind::Text { part: "p".into(), delta: n.to_string() }
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed_and_numbers_go_on() {
        let mut feed = Feed::new(10, 4);
        let turn = feed.turn();
        for n in 0..10 {
            feed.send(text(n));
        }
        assert_eq!(feed.next_seq(), 20);
        drop(feed);
        let events: Vec<_> = turn.collect().await;
        assert!(matches!(events[0].kind, RunEventKind::Lagged { missed: 6 }), "{events:?}");
        let numbers: Vec<_> = events.iter().map(|e| e.seq).collect();
        assert_eq!(numbers, [15, 16, 17, 18, 19]);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_reads_still_counts() {
        let mut feed = Feed::new(0, 4);
        feed.send(text(0));
        assert_eq!(feed.next_seq(), 1);
    }
}
