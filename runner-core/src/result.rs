//! How a turn ended.

use std::time::Duration;

use crate::error::Error;
use crate::ids::{MessageId, SessionId};
use crate::session::Usage;

/// How a turn ended; exactly one per turn. A time-out and an empty answer are never `Completed`.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The agent answered and is done.
    Completed,
    /// It failed; the error says why.
    Failed(Error),
    /// Somebody canceled it.
    Canceled,
    /// Its time ran out and it was aborted.
    TimedOut,
}

impl Outcome {
    /// The word for logs and labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed(_) => "failed",
            Self::Canceled => "canceled",
            Self::TimedOut => "timed out",
        }
    }
}

/// What a turn gave.
#[derive(Debug, Clone)]
pub struct RunResult {
    /// How it ended.
    pub outcome: Outcome,
    /// The agent's answer: the text of its last message. What it wrote before it failed or was canceled is kept.
    pub text: String,
    /// The conversation it belongs to.
    pub session: SessionId,
    /// The user's message that started it.
    pub message: MessageId,
    /// Tokens and cost of all its steps.
    pub usage: Usage,
    /// From the request to the end.
    pub duration: Duration,
}

impl RunResult {
    /// Whether the agent answered and is done.
    pub fn is_completed(&self) -> bool {
        matches!(self.outcome, Outcome::Completed)
    }
}
