//! What a caller sees while a turn goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{MessageId, SessionId};
use crate::input::{AnsweredBy, InputAnswer, InputRequest};
use crate::result::RunResult;
use crate::session::{ToolState, Usage};

/// One event of a turn. Sequence numbers count up by one within a runner, over all its turns; a gap never happens
/// without a [`RunEventKind::Lagged`] that says how many were missed.
#[derive(Debug, Clone)]
pub struct RunEvent {
    /// Place in the runner's events.
    pub seq: u64,
    /// What happened.
    pub kind: RunEventKind,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RunEventKind {
    /// The prompt was accepted. The turn's first event.
    Started {
        /// The conversation.
        session: SessionId,
        /// The user's message.
        message: MessageId,
    },
    /// The agent wrote this. Deltas of one part add up to its text; a part that the agent's server gave up half-way
    /// is followed by another one, so what was written for good is [`RunResult::text`].
    Text {
        /// The part of the answer that grew.
        part: Arc<str>,
        /// What was added.
        delta: String,
    },
    /// The agent thought this.
    Reasoning {
        /// The part of the reasoning that grew.
        part: Arc<str>,
        /// What was added.
        delta: String,
    },
    /// A tool call changed.
    Tool {
        /// The call's id; the same for all its changes.
        call_id: String,
        /// The tool's name.
        tool: String,
        /// Where it stands now.
        state: ToolState,
    },
    /// A model call ended.
    Step(Usage),
    /// The model's provider failed and the server waits before it tries again.
    Retry {
        /// Which try comes next.
        attempt: u32,
        /// What the provider said.
        message: String,
        /// When, in milliseconds since the Unix epoch.
        next_at_ms: Option<u64>,
    },
    /// The agent, or one of its sub-agents, waits for a permission or an answer. Whoever can gives it with
    /// [`Runner::answer`](crate::Runner::answer) within `within`; after that the configured default is given.
    InputNeeded {
        /// What is asked.
        request: InputRequest,
        /// Time left to answer.
        within: Duration,
    },
    /// A request is settled; the agent no longer waits for it.
    InputSettled {
        /// The request's id.
        request: Arc<str>,
        /// Who settled it.
        by: AnsweredBy,
        /// What the agent was told, where we know.
        answer: Option<InputAnswer>,
    },
    /// The event stream was lost and is open again. What was missed is read back and follows; it may come later than
    /// what was newer.
    Reconnected,
    /// This reader was too slow and missed so many events; the next one follows them.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The turn's last event, always delivered.
    Finished(Arc<RunResult>),
}
