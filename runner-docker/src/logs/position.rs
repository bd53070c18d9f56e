//! How far a log has been read, so that nothing is read twice and reading can go on after an interruption. No I/O.
//!
//! Entries have no number, only a moment, and several can share one (the fragments of a long line do). So the last
//! moments are kept with their counts. After an interruption the engine is asked for everything since a few of them
//! ago, and what was read already is counted off; if the entry at which reading stopped does not come again, the
//! log was rotated beyond it, and what stood between is lost.
//!
//! Also without an interruption, an engine repeats: when a log file is rotated while it is followed, 20.10 begins
//! the new file a second time (one entry of a quiet log, 136,000 of a flood, measured). Within one output stream
//! moments do not go back, so one that does is looked up; only where too much lies between to have been kept is it
//! taken for a repetition untested, because a clock that is set back looks alike.

use std::collections::VecDeque;

use runner_core::logs::LogSource;

use crate::stamp::Stamp;

/// Moments asked for again after an interruption. The two output streams of a container are stamped by two writers,
/// so entries can be a few places out of order, no more.
const AGAIN: usize = 32;

/// Moments kept.
const KEPT: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Seen {
    source: LogSource,
    stamp: Stamp,
    count: u32,
}

/// What an entry is that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// New, but for so many of its bytes.
    New { skip: usize },
    /// Read before, or not asked for.
    Known,
}

/// What has been read.
#[derive(Debug, Default)]
pub(crate) struct Position {
    /// Nothing before it is wanted.
    floor: Option<Stamp>,
    first: Option<Stamp>,
    recent: VecDeque<Seen>,
    /// What may come a second time.
    repeats: Vec<Seen>,
    /// An entry of which only a part has been read, and how much.
    partial: Option<(LogSource, Stamp, usize)>,
    /// After [`resume`](Self::resume): the entry at which reading stopped, until it has come again.
    anchor: Option<(LogSource, Stamp)>,
    lost: bool,
    newest: [Option<Stamp>; 2],
}

impl Position {
    /// A log of which nothing before a moment is wanted.
    pub(crate) fn since(floor: Option<Stamp>) -> Self {
        Self { floor, ..Self::default() }
    }

    /// An entry has been read to its end.
    pub(crate) fn read(&mut self, source: LogSource, stamp: Stamp) {
        self.first = self.first.or(Some(stamp));
        *self.newest(source) = Some(stamp);
        let near = self.recent.iter_mut().rev().take(AGAIN);
        if let Some(seen) = near.into_iter().find(|s| s.source == source && s.stamp == stamp) {
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
        let partial = self.partial.map(|(source, stamp, _)| (source, stamp));
        let last = self.recent.back().map(|seen| (seen.source, seen.stamp));
        self.anchor = partial.or(last);
        let again = self.recent.iter().rev().take(AGAIN).map(|seen| seen.stamp);
        let from = again.chain(partial.map(|(_, stamp)| stamp)).min();
        self.repeats =
            self.recent.iter().filter(|seen| from.is_some_and(|from| seen.stamp >= from)).copied().collect();
        // Some engines round.
        self.floor = self.floor.max(from);
        // And some leave the moment itself out.
        from.map(Stamp::before)
    }

    /// Whether entries have been lost since the last question.
    pub(crate) fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// What an entry is that comes now.
    pub(crate) fn arrival(&mut self, source: LogSource, stamp: Stamp) -> Arrival {
        if self.floor.is_some_and(|floor| stamp.is_before(floor)) {
            return Arrival::Known;
        }
        if self.is_repeat(source, stamp) {
            if self.anchor == Some((source, stamp)) && self.partial.is_none() {
                self.anchor = None;
            }
            return Arrival::Known;
        }
        if let Some((s, t, bytes)) = self.partial
            && (s, t) == (source, stamp)
        {
            (self.partial, self.anchor) = (None, None);
            return Arrival::New { skip: bytes };
        }
        if self.anchor.take().is_some() {
            self.partial = None;
            self.lost = true;
        }
        let back = self.newest(source).is_some_and(|newest| stamp < newest);
        if back && self.is_old(source, stamp) {
            return Arrival::Known;
        }
        Arrival::New { skip: 0 }
    }

    fn newest(&mut self, source: LogSource) -> &mut Option<Stamp> {
        let [out, err] = &mut self.newest;
        match source {
            LogSource::Stdout => out,
            LogSource::Stderr => err,
        }
    }

    /// One of those that may come a second time.
    fn is_repeat(&mut self, source: LogSource, stamp: Stamp) -> bool {
        let mut same = self.repeats.iter_mut().filter(|s| s.source == source && s.stamp == stamp);
        let found = same.find(|s| s.count > 0);
        if let Some(seen) = found {
            seen.count -= 1;
            return true;
        }
        false
    }

    /// An entry that goes back in time: read before?
    fn is_old(&mut self, source: LogSource, stamp: Stamp) -> bool {
        let oldest = self.recent.front().map(|seen| seen.stamp);
        if self.recent.len() == KEPT && oldest.is_some_and(|oldest| stamp < oldest) {
            return self.first.is_some_and(|first| stamp >= first);
        }
        self.repeats = self.recent.iter().copied().collect();
        self.is_repeat(source, stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogSource::{Stderr, Stdout};

    const NEW: Arrival = Arrival::New { skip: 0 };

    fn at(second: u32) -> Stamp {
        Stamp::parse(format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60).as_bytes()).unwrap()
    }

    type Log = [(LogSource, u32)];

    /// What is delivered of entries that arrive, and whether some were lost before one of them.
    fn deliver(position: &mut Position, log: &Log) -> (Vec<(LogSource, u32)>, bool) {
        let mut new = Vec::new();
        for (source, second) in log {
            if position.arrival(*source, at(*second)) == NEW {
                position.read(*source, at(*second));
                new.push((*source, *second));
            }
        }
        (new, position.take_lost())
    }

    /// What a resumed reading delivers of a log, after `read` entries of it and with the first `gone` rotated away.
    fn rest(log: &Log, read: usize, gone: usize) -> (Vec<(LogSource, u32)>, bool) {
        let mut position = Position::default();
        assert_eq!(deliver(&mut position, &log[..read]), (log[..read].to_vec(), false));
        let since = position.resume();
        let left: Vec<_> = log[gone..]
            .iter()
            .filter(|(_, second)| since.is_none_or(|s| at(*second) >= s))
            .copied()
            .collect();
        deliver(&mut position, &left)
    }

    /// Fragments that share a moment, two streams at one moment, and entries out of order.
    const MIXED: &Log = &[
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

    #[test]
    fn reading_goes_on_where_it_stopped() {
        for read in 0..=MIXED.len() {
            assert_eq!(rest(MIXED, read, 0), (MIXED[read..].to_vec(), false), "after {read}");
        }
        let many: Vec<_> = (0..200).map(|n| (Stdout, n)).collect();
        assert_eq!(rest(&many, 150, 0), (many[150..].to_vec(), false));
        let fragments = vec![(Stdout, 7); 100];
        assert_eq!(rest(&fragments, 60, 0).0.len(), 40, "more fragments than moments are kept");
    }

    #[test]
    fn what_was_rotated_away_meanwhile_is_noticed() {
        let many: Vec<_> = (0..200).map(|n| (if n % 3 == 0 { Stderr } else { Stdout }, n)).collect();
        for gone in 0..=150 {
            let lost = gone >= 150;
            assert_eq!(rest(&many, 150, gone), (many[150..].to_vec(), lost), "{gone} gone");
        }
        assert_eq!(rest(&many, 150, 170), (many[170..].to_vec(), true));
        // Nothing came after: nothing is known to be lost. Nothing was read: nothing was expected.
        assert_eq!(rest(&many, 150, 200), (Vec::new(), false));
        assert_eq!(rest(&many, 0, 170), (many[170..].to_vec(), false));
    }

    #[test]
    fn what_an_engine_repeats_while_it_is_followed_is_known() {
        // Back to the start of a file; twice; over both streams.
        let mut position = Position::default();
        let log: Vec<_> = (0..100).map(|n| (if n % 5 == 0 { Stderr } else { Stdout }, n)).collect();
        assert_eq!(deliver(&mut position, &log).0, log);
        // The last entry of a stream alone does not go back in time: there, `entries.rs` compares the text.
        for from in [40, 96, 98, 10] {
            assert_eq!(deliver(&mut position, &log[from..99]), (Vec::new(), false), "from {from}");
        }
        assert_eq!(deliver(&mut position, &[(Stdout, 101), (Stderr, 100)]).0.len(), 2);
        // Further back than is kept.
        let mut position = Position::default();
        let flood: Vec<_> = (0..3000).map(|n| (Stdout, n)).collect();
        assert_eq!(deliver(&mut position, &flood).0, flood);
        assert_eq!(deliver(&mut position, &flood[100..2999]), (Vec::new(), false));
        assert_eq!(deliver(&mut position, &[(Stdout, 3000)]).0.len(), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nobody() {
        let mut position = Position::default();
        let log: Vec<_> = (0..50).map(|n| (Stdout, 100 + n * 2)).collect();
        deliver(&mut position, &log);
        let after: Vec<_> = (0..100).map(|n| (Stdout, 51 + n * 2)).collect();
        assert_eq!(deliver(&mut position, &after), (after.clone(), false));
    }

    #[test]
    fn what_is_not_asked_for_is_left_out() {
        let mut position = Position::since(Some(at(3)));
        assert!(position.is_start());
        let (new, _) = deliver(&mut position, MIXED);
        assert_eq!(new, [(Stdout, 4), (Stderr, 3), (Stdout, 4), (Stderr, 4)]);
        // An engine that rounds what it is asked for, and one that leaves the moment itself out.
        let asked = position.resume().unwrap();
        assert!(asked < at(3));
        assert_eq!(deliver(&mut position, MIXED), (Vec::new(), false));
    }

    #[test]
    fn the_rest_of_an_entry_that_was_cut_is_read() {
        let mut position = Position::default();
        position.read(Stdout, at(1));
        position.interrupted(Stdout, at(2), 5);
        assert!(!position.is_start());
        assert_eq!(position.resume(), Some(at(1).before()));
        assert_eq!(position.arrival(Stdout, at(1)), Arrival::Known);
        assert_eq!(position.arrival(Stdout, at(2)), Arrival::New { skip: 5 });
        assert_eq!(position.arrival(Stdout, at(2)), NEW, "once");
        assert!(!position.take_lost());
        // Unless it is not there any more.
        position.interrupted(Stdout, at(3), 5);
        position.resume();
        assert_eq!(position.arrival(Stdout, at(4)), NEW);
        assert!(position.take_lost() && !position.take_lost());
        assert_eq!(position.arrival(Stdout, at(5)), NEW);
    }

    #[test]
    fn interruptions_may_follow_each_other() {
        let mut position = Position::default();
        position.read(Stdout, at(1));
        for _ in 0..3 {
            position.resume();
            assert_eq!(position.arrival(Stdout, at(1)), Arrival::Known);
        }
        assert_eq!(position.arrival(Stdout, at(1)), NEW, "a second one of the same moment is new");
        assert!(!position.take_lost());
    }
}
