//! How far a log has been read, so that reading can go on after an interruption without losing or repeating
//! anything. No I/O.
//!
//! Entries have no number, only a moment, and several can share one (the fragments of a long line do). So the last
//! moments are kept with their counts, the engine is asked for everything since the oldest of them, and what was
//! read already is counted off.

use std::collections::VecDeque;

use runner_core::logs::LogSource;

use crate::stamp::Stamp;

/// Moments kept. The two output streams of a container are stamped by two writers, so entries can be a few places
/// out of order, no more.
const KEPT: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Seen {
    source: LogSource,
    stamp: Stamp,
    count: u32,
}

/// What has been read.
#[derive(Debug, Default)]
pub(crate) struct Position {
    recent: VecDeque<Seen>,
    /// After [`resume`](Self::resume): what may come a second time.
    repeats: Vec<Seen>,
    /// An entry of which only a part has been read, and how much.
    partial: Option<(LogSource, Stamp, usize)>,
}

impl Position {
    /// An entry has been read to its end.
    pub(crate) fn read(&mut self, source: LogSource, stamp: Stamp) {
        if let Some(seen) = self.recent.iter_mut().rev().find(|s| s.source == source && s.stamp == stamp) {
            seen.count += 1;
            return;
        }
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(Seen { source, stamp, count: 1 });
    }

    /// Reading is interrupted after so many bytes of an entry.
    pub(crate) fn interrupted(&mut self, source: LogSource, stamp: Stamp, bytes: usize) {
        self.partial = Some((source, stamp, bytes));
    }

    /// Whether anything has been read.
    pub(crate) fn is_start(&self) -> bool {
        self.recent.is_empty() && self.partial.is_none()
    }

    /// Reading begins again; the moment to ask for. `None`: from the start.
    pub(crate) fn resume(&mut self) -> Option<Stamp> {
        self.repeats = self.recent.iter().copied().collect();
        let partial = self.partial.map(|(_, stamp, _)| stamp);
        self.recent.iter().map(|seen| seen.stamp).chain(partial).min()
    }

    /// How much of an entry that comes now has been read before: `None` all of it, else so many bytes.
    pub(crate) fn known(&mut self, source: LogSource, stamp: Stamp) -> Option<usize> {
        let repeat = self.repeats.iter_mut().find(|s| s.source == source && s.stamp == stamp && s.count > 0);
        if let Some(seen) = repeat {
            seen.count -= 1;
            return None;
        }
        match self.partial {
            Some((s, t, bytes)) if s == source && t == stamp => {
                self.partial = None;
                Some(bytes)
            }
            _ => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogSource::{Stderr, Stdout};

    fn at(second: u32) -> Stamp {
        Stamp::parse(format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60).as_bytes()).unwrap()
    }

    /// What a resumed reading delivers of a log, after `read` entries of it.
    fn rest(log: &[(LogSource, u32)], read: usize) -> Vec<(LogSource, u32)> {
        let mut position = Position::default();
        for (source, second) in &log[..read] {
            position.read(*source, at(*second));
        }
        let since = position.resume();
        log.iter()
            .filter(|(_, second)| since.is_none_or(|since| at(*second) >= since))
            .filter(|(source, second)| position.known(*source, at(*second)).is_some())
            .copied()
            .collect()
    }

    #[test]
    fn reading_goes_on_where_it_stopped() {
        // Fragments that share a moment, two streams at one moment, and entries out of order.
        let log = [
            (Stdout, 1),
            (Stdout, 2),
            (Stdout, 2),
            (Stderr, 2),
            (Stdout, 2),
            (Stdout, 4),
            (Stderr, 3),
            (Stdout, 4),
            (Stderr, 4),
        ];
        for read in 0..=log.len() {
            assert_eq!(rest(&log, read), log[read..], "after {read}");
        }
        let many: Vec<_> = (0..200).map(|n| (Stdout, n)).collect();
        assert_eq!(rest(&many, 150), many[150..]);
        let fragments = vec![(Stdout, 7); 100];
        assert_eq!(rest(&fragments, 60).len(), 40, "more fragments than moments are kept");
    }

    #[test]
    fn the_rest_of_an_entry_that_was_cut_is_read() {
        let mut position = Position::default();
        position.read(Stdout, at(1));
        position.interrupted(Stdout, at(2), 5);
        assert!(!position.is_start());
        assert_eq!(position.resume(), Some(at(1)));
        assert_eq!(position.known(Stdout, at(1)), None);
        assert_eq!(position.known(Stderr, at(2)), Some(0));
        assert_eq!(position.known(Stdout, at(2)), Some(5));
        assert_eq!(position.known(Stdout, at(2)), Some(0), "once");
    }

    #[test]
    fn interruptions_may_follow_each_other() {
        let mut position = Position::default();
        position.read(Stdout, at(1));
        for _ in 0..3 {
            position.resume();
            assert_eq!(position.known(Stdout, at(1)), None);
        }
        assert_eq!(position.known(Stdout, at(1)), Some(0), "a second one of the same moment is new");
    }
}
