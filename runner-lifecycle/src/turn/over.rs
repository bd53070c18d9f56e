//! Whether a turn is over: by its facts, by its clocks, by somebody's wish, or because what it needs is lost.

use runner_core::{Error, ErrorKind, Outcome};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::drive::{Drive, Stage};
use super::outcome::{error_of, error_of_silence};
use super::verdict::{TurnFailure, Verdict};

/// Why the turn is being ended before the agent is done.
pub(super) enum Cut {
    Canceled,
    TimedOut,
    Failed(Error),
}

impl Cut {
    fn outcome(self) -> Outcome {
        match self {
            Self::Canceled => Outcome::Canceled,
            Self::TimedOut => Outcome::TimedOut,
            Self::Failed(error) => Outcome::Failed(error),
        }
    }

    /// The error of a turn that has no outcome because it never began.
    fn unbegun(self, when: &str) -> Error {
        const OPERATION: &str = "run a turn";
        match self {
            Self::Canceled => Error::new(ErrorKind::Canceled, OPERATION, format!("it was canceled {when}")),
            Self::TimedOut => {
                Error::new(ErrorKind::Timeout, OPERATION, format!("its time ran out {when}")).temporary()
            }
            Self::Failed(error) => error,
        }
    }
}

pub(super) struct Cutting {
    pub(super) why: Cut,
    /// Until when the server may take to end it.
    pub(super) until: Instant,
    pub(super) sent: bool,
    /// Whether the server has answered the abort. What it said before proves nothing about the time after it.
    pub(super) answered: bool,
}

/// What is lost for good.
pub(super) enum Lost {
    /// The container; the runner's end.
    Container(Error),
    /// The server in a container that lives.
    Server(Error),
}

/// How the turn itself ended.
pub(super) enum Over {
    /// It never began; the caller gets the error.
    Refused(Error),
    /// It ended; the runner can go on.
    Ended(Outcome),
    /// It ended and the runner cannot go on.
    Broken(Outcome, Error),
}

impl Drive {
    /// Begins to end the turn; the first reason stays.
    pub(super) fn cut(&mut self, why: Cut, now: Instant) {
        if self.cutting.is_none() {
            self.cutting =
                Some(Cutting { why, until: now + self.config.abort, sent: false, answered: false });
        }
    }

    /// Whether the turn is over, by its facts and its clocks.
    pub(super) fn over(&mut self, now: Instant) -> Option<Over> {
        if self.cutting.is_none() {
            if now >= self.deadline {
                self.cut(Cut::TimedOut, now);
            } else if self.stage == Stage::Before
                && self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
            {
                self.cut(Cut::Canceled, now);
            }
        }
        if let Some((since, _, _)) = self.lost_stream
            && now.duration_since(since) >= self.config.reconnect
        {
            let error = Error::new(
                ErrorKind::Connection,
                "read the agent's events",
                format!(
                    "the stream could not be opened again within {} s",
                    self.config.reconnect.as_secs_f32()
                ),
            );
            return Some(self.lost(Lost::Server(error)));
        }
        if self.cutting.is_some() {
            return self.cut_over(now);
        }
        if matches!(self.stage, Stage::Before | Stage::Sent) {
            return None;
        }
        if self.stage == Stage::Unknown {
            let settled = self.clock.unsettled_for(now).is_some_and(|t| t >= self.config.settle);
            let error = Error::new(
                ErrorKind::Connection,
                "send the prompt",
                "the connection failed, and the server does not have it",
            )
            .temporary();
            // Silence proves nothing: it must have been asked and have answered.
            let absent = self.fold.was_read() && !self.fold.prompt_seen();
            return (settled && absent).then_some(Over::Refused(error));
        }
        let idle = self.fold.is_idle();
        match self.fold.verdict(idle) {
            Verdict::Failed(failure @ TurnFailure::Endless(_)) => {
                self.cut(Cut::Failed(error_of(failure)), now);
                return None;
            }
            Verdict::Completed if self.fold.is_whole() => return Some(Over::Ended(Outcome::Completed)),
            Verdict::Failed(failure) if self.fold.is_whole() => {
                return Some(Over::Ended(Outcome::Failed(error_of(failure))));
            }
            // It looks like the end; what the stream did not show is read first.
            Verdict::Completed | Verdict::Failed(_) => self.ask_soon(now),
            // A session that reported a failure and works all the same is asked like any other: in silence.
            Verdict::Open if idle || (self.fold.failure().is_some() && !self.checked_busy) => {
                self.ask_soon(now);
            }
            Verdict::Open => {}
        }
        self.over_by_silence(now)
    }

    /// Whether a turn without an end has ended all the same: its session has nothing to do, or claims to work
    /// although its last message is done.
    pub(super) fn over_by_silence(&self, now: Instant) -> Option<Over> {
        let unsettled = self.clock.unsettled_for(now).unwrap_or_default();
        let failure = self.fold.failure();
        // With a failure on record there is less to wait for: only that the server stores it with its message.
        let settle = if failure.is_some() { self.config.settle / 10 } else { self.config.settle };
        if unsettled >= settle && self.fold.was_read() {
            let error = error_of_silence(failure, self.fold.prompt_seen());
            return Some(Over::Ended(Outcome::Failed(error)));
        }
        let silent = self.clock.silent_for(now) >= self.config.settle;
        let done = self.checked_busy && silent && self.fold.verdict(true) == Verdict::Completed;
        done.then_some(Over::Ended(Outcome::Completed))
    }

    pub(super) fn ask_soon(&mut self, now: Instant) {
        if self.clock.due() > now && self.clock.unsettled_for(now).is_none() {
            self.clock.note_unsettled(now);
            self.clock.ask_now(now);
        }
    }

    /// Whether a turn that is being ended has ended.
    pub(super) fn cut_over(&mut self, now: Instant) -> Option<Over> {
        let cutting = self.cutting.as_ref()?;
        let never_began = self.stage == Stage::Before;
        let quiet = cutting.answered && (self.fold.is_idle() || self.fold.was_read());
        let expired = now >= cutting.until;
        if !(never_began || quiet || expired) {
            return None;
        }
        let cutting = self.cutting.take()?;
        if never_began {
            return Some(Over::Refused(cutting.why.unbegun("before it began")));
        }
        if quiet && self.stage == Stage::Accepted {
            return Some(Over::Ended(cutting.why.outcome()));
        }
        if quiet {
            return Some(Over::Refused(cutting.why.unbegun("before the server confirmed the prompt")));
        }
        let stuck = Error::new(
            ErrorKind::Timeout,
            "abort a turn",
            format!("the server did not end it within {} s", self.config.abort.as_secs_f32()),
        )
        .with_session(&self.session)
        .with_hint("the container is stopped instead");
        Some(Over::Broken(cutting.why.outcome(), stuck))
    }

    pub(super) fn lost(&mut self, lost: Lost) -> Over {
        let error = match lost {
            Lost::Container(error) => error,
            Lost::Server(error) => {
                Error::new(ErrorKind::Connection, "run a turn", "the server in the container was lost")
                    .with_session(&self.session)
                    .with_source(error)
                    .temporary()
            }
        };
        if self.stage == Stage::Accepted {
            let outcome = match self.cutting.take() {
                Some(cutting) => cutting.why.outcome(),
                None => Outcome::Failed(error.clone()),
            };
            return Over::Broken(outcome, error);
        }
        Over::Broken(Outcome::Failed(error.clone()), error)
    }
}
