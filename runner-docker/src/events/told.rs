//! Which events have been told, so that a subscription can be renewed without losing or repeating any. No I/O.
//!
//! A renewed subscription asks for everything since a little before the last event: an engine stamps an event before
//! it puts it in its ring, so two can stand there out of order, and its search from the end stops at the first that
//! is too old. What was told already is recognized.

use std::collections::{BTreeSet, VecDeque};

use crate::events::event::Told;
use crate::stamp::Stamp;

/// How far back a renewed subscription reaches.
const OVERLAP_SECONDS: i64 = 1;

/// Events that are remembered. Docker itself remembers 256 of all containers.
const KEPT: usize = 1024;

/// What has been told.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The engine's time at which the first subscription was asked for, where it tells its time.
    begin: Option<Stamp>,
    last: Option<Stamp>,
    /// What the current subscription asked for, until it has come to that point: some engines do not mind it.
    bound: Option<Stamp>,
    order: VecDeque<(Stamp, u64)>,
    known: BTreeSet<(Stamp, u64)>,
}

impl Seen {
    pub(crate) fn new(begin: Option<Stamp>) -> Self {
        Self { begin, last: None, bound: None, order: VecDeque::new(), known: BTreeSet::new() }
    }

    /// A subscription is asked for; since when. `None`: from now on.
    pub(crate) fn since(&mut self) -> Option<Stamp> {
        let overlapped = self.last.map(|last| last.minus_seconds(OVERLAP_SECONDS));
        // Never before the beginning: that is not wanted.
        self.bound = overlapped.max(self.begin);
        self.bound
    }

    /// Whether an event is new. Only the engine's repetitions are measured against the clock: a clock that is set
    /// back must not silence what happens then.
    pub(crate) fn is_new(&mut self, told: &Told) -> bool {
        let Some(stamp) = told.stamp else { return true };
        if self.bound.is_some_and(|bound| stamp < bound) {
            return false;
        }
        self.bound = None;
        !self.known.contains(&(stamp, told.key))
    }

    /// An event has been handed on.
    pub(crate) fn tell(&mut self, told: &Told) {
        let Some(stamp) = told.stamp else { return };
        self.last = self.last.max(Some(stamp));
        if !self.known.insert((stamp, told.key)) {
            return;
        }
        self.order.push_back((stamp, told.key));
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use runner_core::container::Labels;
    use runner_core::runtime_event::{ContainerEvent, ContainerEventKind};

    use super::*;

    fn told(nanos: i64, key: u64) -> Told {
        let event = ContainerEvent {
            at: SystemTime::UNIX_EPOCH,
            id: runner_core::ContainerId::new("abc").unwrap(),
            name: String::new(),
            labels: Labels::new(),
            kind: ContainerEventKind::Started,
        };
        Told { event, stamp: Some(Stamp::from_nanos(nanos)), key }
    }

    const SECOND: i64 = 1_000_000_000;

    /// What is handed on of these events.
    fn listen(seen: &mut Seen, events: &[(i64, u64)]) -> Vec<(i64, u64)> {
        let mut new = Vec::new();
        for &(nanos, key) in events {
            let told = told(nanos, key);
            if seen.is_new(&told) {
                seen.tell(&told);
                new.push((nanos, key));
            }
        }
        new
    }

    #[test]
    fn a_renewed_subscription_repeats_and_loses_nothing() {
        let all: Vec<(i64, u64)> =
            (0..40_u32).map(|n| (i64::from(n / 4) * SECOND / 4 + 5 * SECOND, n.into())).collect();
        for cut in 0..=all.len() {
            let mut seen = Seen::new(Some(Stamp::from_nanos(SECOND)));
            assert_eq!(seen.since(), Some(Stamp::from_nanos(SECOND)));
            let mut new = listen(&mut seen, &all[..cut]);
            let since = seen.since().unwrap();
            let rest: Vec<_> =
                all.iter().filter(|(nanos, _)| Stamp::from_nanos(*nanos) >= since).copied().collect();
            new.extend(listen(&mut seen, &rest));
            assert_eq!(new, all, "cut after {cut}");
        }
    }

    #[test]
    fn an_engine_that_repeats_everything_is_not_believed() {
        let mut seen = Seen::new(Some(Stamp::from_nanos(10 * SECOND)));
        seen.since();
        let all = [(SECOND, 1), (9 * SECOND, 2), (10 * SECOND, 3), (11 * SECOND, 4)];
        assert_eq!(listen(&mut seen, &all), all[2..]);
        seen.since();
        assert_eq!(listen(&mut seen, &all), []);
        // Now it is past its repetitions, and its clock is set back.
        assert_eq!(listen(&mut seen, &[(2 * SECOND, 5)]), [(2 * SECOND, 5)]);
        // The clock does not go back for the question.
        assert_eq!(seen.since(), Some(Stamp::from_nanos(10 * SECOND)));
    }

    #[test]
    fn without_a_clock_or_a_moment_everything_is_told() {
        let mut seen = Seen::new(None);
        assert_eq!(seen.since(), None);
        let timeless = Told { stamp: None, ..told(0, 1) };
        for _ in 0..2 {
            assert!(seen.is_new(&timeless));
            seen.tell(&timeless);
        }
        assert_eq!(seen.since(), None);
        assert_eq!(listen(&mut seen, &[(SECOND, 1)]), [(SECOND, 1)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Seen::new(None);
        for n in 0..3000 {
            assert_eq!(listen(&mut seen, &[(n, 1), (n, 1), (n, 2)]).len(), 2);
        }
        assert_eq!((seen.order.len(), seen.known.len()), (KEPT, KEPT));
    }
}
