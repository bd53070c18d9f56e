//! When the server is asked how the turn stands, although its events say nothing. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// First pause between two questions to a session that is idle and looks unfinished; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The time of the next question.
#[derive(Debug)]
pub(crate) struct CheckClock {
    /// How long silence is left alone.
    quiet: Duration,
    last_activity: Instant,
    /// Since when the session has looked idle and unfinished, and the pause to the next question.
    unsettled: Option<(Instant, Duration)>,
    due: Instant,
}

impl CheckClock {
    pub(crate) fn new(now: Instant, quiet: Duration) -> Self {
        Self { quiet, last_activity: now, unsettled: None, due: now + quiet }
    }

    /// Something of the turn was seen: no question is needed for a while, unless the session looked unfinished,
    /// which only an answer can settle.
    pub(crate) fn note_activity(&mut self, now: Instant) {
        self.last_activity = now;
        if self.unsettled.is_none() {
            self.due = now + self.quiet;
        }
    }

    /// Ask as soon as possible.
    pub(crate) fn ask_now(&mut self, now: Instant) {
        self.due = now;
    }

    /// The session looked idle and unfinished: ask again soon, less and less often.
    pub(crate) fn note_unsettled(&mut self, now: Instant) {
        let (since, pause) = self.unsettled.unwrap_or((now, FIRST_PAUSE));
        self.due = now + pause;
        self.unsettled = Some((since, (pause * 2).min(LONGEST_PAUSE)));
    }

    /// The session works.
    pub(crate) fn note_busy(&mut self, now: Instant) {
        self.unsettled = None;
        self.due = now + self.quiet;
    }

    /// When the next question is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// For how long the session has looked idle and unfinished.
    pub(crate) fn unsettled_for(&self, now: Instant) -> Option<Duration> {
        self.unsettled.map(|(since, _)| now.duration_since(since))
    }

    /// For how long nothing of the turn was seen.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        now.duration_since(self.last_activity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_about_once_per_quiet_time_and_unsettled_sessions_more_often() {
        let start = Instant::now();
        let quiet = Duration::from_secs(5);
        let mut clock = CheckClock::new(start, quiet);
        assert_eq!(clock.due(), start + quiet);
        let at = start + Duration::from_secs(3);
        clock.note_activity(at);
        assert_eq!(clock.due(), at + quiet);
        assert_eq!(clock.silent_for(at + quiet), quiet);

        let mut now = at;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            clock.note_unsettled(now);
            pauses.push((clock.due() - now).as_millis());
            now = clock.due();
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500, 500]);
        assert_eq!(clock.unsettled_for(now), Some(now - at));
        clock.note_busy(now);
        assert_eq!((clock.unsettled_for(now), clock.due()), (None, now + quiet));
    }
}
