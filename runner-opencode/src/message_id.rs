//! Ids for our own messages, in the server's form: `msg_`, then 12 hexadecimal digits (the low 48 bits of
//! milliseconds × 4096 + a counter), then 14 random characters.
//!
//! The id is ours so that events and messages are attributed to a prompt and not guessed. A used id would append to
//! the old message and start no turn, so an id must never come twice.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use runner_core::MessageId;

/// One sequence for the process: two clients of one server must not count separately.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Ids per millisecond before the count runs ahead of the clock, which is harmless.
const PER_MILLI: u64 = 4096;
const LOW_48_BITS: u64 = (1 << 48) - 1;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The next id, greater than every earlier one of this process even when the clock steps back.
pub(crate) fn next() -> MessageId {
    #[allow(clippy::expect_used, reason = "the form below has only letters, digits and '_'")]
    MessageId::new(next_text()).expect("an id of our own form is valid")
}

fn next_text() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis());
    let moment = after(&LAST, u64::try_from(now).unwrap_or(0));
    // Uniqueness is all that is asked of the tail, so the standard library's randomly keyed hasher is enough.
    let state = RandomState::new();
    let mut bits = u128::from(hash(&state, 0)) << 64 | u128::from(hash(&state, 1));
    let mut id = format!("msg_{:012x}", moment & LOW_48_BITS);
    for _ in 0..14 {
        let place = usize::try_from(bits % 62).unwrap_or(0);
        id.push(ALPHABET.get(place).map_or('0', |b| char::from(*b)));
        bits /= 62;
    }
    id
}

fn hash(state: &RandomState, value: u8) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u8(value);
    hasher.finish()
}

/// The moment for a time, moved behind the last one where the clock has not passed it.
fn after(last: &AtomicU64, now_ms: u64) -> u64 {
    let wanted = now_ms.saturating_mul(PER_MILLI);
    let next = |last: u64| wanted.max(last.saturating_add(1));
    match last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))) {
        Ok(last) | Err(last) => next(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_servers_form_and_grow() {
        let mut last = String::new();
        for _ in 0..10_000 {
            let id = next().as_str().to_owned();
            assert_eq!(id.len(), "msg_".len() + 12 + 14, "{id}");
            assert!(id.starts_with("msg_") && id[4..].bytes().all(|b| b.is_ascii_alphanumeric()), "{id}");
            assert!(id[4..16].bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
            assert!(id[..16] > last[..last.len().min(16)], "{last} then {id}");
            last = id;
        }
    }

    #[test]
    fn the_time_is_encoded_as_the_server_does() {
        // An id that the server made, and the moment that it wrote next to it.
        assert_eq!((1_795_577_968_552_u64 * PER_MILLI) & LOW_48_BITS, 0x210c_977a_8000);
    }

    #[test]
    fn a_clock_that_steps_back_or_stands_still_does_not_repeat_an_id() {
        let last = AtomicU64::new(0);
        assert_eq!(after(&last, 1000), 1000 * PER_MILLI);
        assert_eq!(after(&last, 1000), 1000 * PER_MILLI + 1);
        assert_eq!(after(&last, 3), 1000 * PER_MILLI + 2);
        assert_eq!(after(&last, 0), 1000 * PER_MILLI + 3);
        assert_eq!(after(&last, 1001), 1001 * PER_MILLI);
    }

    #[test]
    fn threads_share_one_sequence() {
        let ids: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..1000).map(|_| next_text()).collect::<Vec<_>>())).collect();
            threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect()
        });
        let heads: std::collections::BTreeSet<&str> = ids.iter().map(|id| &id[..16]).collect();
        assert_eq!(heads.len(), ids.len());
    }
}
