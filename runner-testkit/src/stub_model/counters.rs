//! How often each `times=` fault happened: the only thing that the stub remembers between requests.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::request::ChatRequest;
use super::step::FaultPlace;

/// Faults counted at the same time; the oldest is forgotten first, so a long-lived server does not grow.
const CAPACITY: usize = 4_096;

/// A turn, told apart by what its requests share: the session, the place of its prompt and the prompt itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TurnKey(u64);

impl TurnKey {
    pub(super) fn new(session: &str, request: &ChatRequest) -> Self {
        let mut hasher = DefaultHasher::new();
        (session, request.user_messages(), request.prompt()).hash(&mut hasher);
        Self(hasher.finish())
    }
}

type Key = (TurnKey, usize, usize);

#[derive(Debug, Default)]
pub(super) struct Counters {
    counts: HashMap<Key, u32>,
    order: VecDeque<Key>,
}

impl Counters {
    /// Whether a fault that happens `times` times happens now; counts it if so.
    pub(super) fn fires(&mut self, turn: TurnKey, place: FaultPlace, times: u32) -> bool {
        let key = (turn, place.step, place.item);
        if !self.counts.contains_key(&key) {
            if self.order.len() >= CAPACITY
                && let Some(oldest) = self.order.pop_front()
            {
                self.counts.remove(&oldest);
            }
            self.order.push_back(key);
        }
        let count = self.counts.entry(key).or_insert(0);
        if *count >= times {
            return false;
        }
        *count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turn(session: &str, prompts: &[&str]) -> TurnKey {
        let messages: Vec<_> = prompts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        let request = serde_json::from_value(json!({"model": "m", "messages": messages}));
        TurnKey::new(session, &request.expect("a chat request"))
    }

    const FIRST: FaultPlace = FaultPlace { step: 0, item: 0 };

    #[test]
    fn a_fault_happens_as_often_as_asked_in_each_turn() {
        let mut counters = Counters::default();
        let key = turn("s", &["p"]);
        let seen: Vec<_> = (0..4).map(|_| counters.fires(key, FIRST, 2)).collect();
        assert_eq!(seen, [true, true, false, false]);
        for other in [turn("t", &["p"]), turn("s", &["q"]), turn("s", &["p", "p"])] {
            assert!(counters.fires(other, FIRST, 2), "counted for itself");
        }
        for place in [FaultPlace { step: 1, item: 0 }, FaultPlace { step: 0, item: 1 }] {
            assert!(counters.fires(key, place, 2), "counted for itself");
        }
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut counters = Counters::default();
        for step in 0..3 * CAPACITY {
            counters.fires(turn("s", &["p"]), FaultPlace { step, item: 0 }, 1);
        }
        assert_eq!((counters.counts.len(), counters.order.len()), (CAPACITY, CAPACITY));
    }
}
