//! Waiting for a fact, never longer than a limit.

use std::time::{Duration, Instant};

/// Dense at first, because most waits here end within milliseconds; then seldom enough to cost nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Asks until there is an answer. `None`: the limit passed.
pub(crate) fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        #[expect(clippy::disallowed_methods, reason = "xtask has no executor whose thread could be blocked")]
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_the_wait() {
        let mut asked = 0;
        let answer = until(Duration::from_mins(1), || {
            asked += 1;
            (asked == 3).then_some("here")
        });
        assert_eq!((answer, asked), (Some("here"), 3));
    }

    #[test]
    fn the_limit_ends_the_wait() {
        let begun = Instant::now();
        assert_eq!(until(Duration::from_millis(20), || None::<()>), None);
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }
}
