//! Pauses between attempts.

use std::time::Duration;

use tokio::time::Instant;

/// Pauses that double up to a ceiling, within a deadline.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    ceiling: Duration,
    deadline: Instant,
}

impl Backoff {
    pub(crate) fn new(first: Duration, ceiling: Duration, within: Duration) -> Self {
        Self { next: first, ceiling, deadline: Instant::now() + within }
    }

    /// Time left until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Pauses once. `false`, at once, when the deadline has passed.
    pub(crate) async fn pause(&mut self) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.next.min(left)).await;
        self.next = (self.next * 2).min(self.ceiling);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_to_the_ceiling_and_end_at_the_deadline() {
        let began = Instant::now();
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(10), ms(40), ms(100));
        let mut at = Vec::new();
        while backoff.pause().await {
            at.push(began.elapsed().as_millis());
        }
        assert_eq!(at, [10, 30, 70, 100]);
    }
}
