//! What an agent's server says: messages, parts, and the events that change them.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;

use crate::attachment::Attachment;
use crate::error::Result;
use crate::ids::{MessageId, SessionId};
use crate::input::InputRequest;
use crate::model::ModelId;

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// Its version.
    pub version: String,
}

/// A session to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Its title. Always given: without one the server asks the model for a title, an extra call per session.
    pub title: String,
}

/// One prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The id of the user's message, from [`AgentApi::next_message_id`](crate::AgentApi::next_message_id).
    pub message: MessageId,
    /// The user's text.
    pub text: String,
    /// The model to use; the settings' own if `None`.
    pub model: Option<ModelId>,
    /// A system prompt for this turn, in addition to the agent's own.
    pub system: Option<String>,
    /// The server's agent (a way of working, such as `plan`) to use; its default if `None`.
    pub mode: Option<String>,
    /// Files that go with it.
    pub attachments: Vec<Attachment>,
}

impl Prompt {
    /// A prompt of text alone.
    pub fn new(message: MessageId, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { message, text, model: None, system: None, mode: None, attachments: Vec::new() }
    }
}

/// What a session does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionStatus {
    /// Nothing, as far as the server knows; a server that has just restarted says the same.
    Idle,
    /// It works on a turn.
    Busy,
    /// The model's provider failed; the server tries again by itself.
    Retry {
        /// Which try comes next.
        attempt: u32,
        /// What the provider said.
        message: String,
        /// When the next try is due, in milliseconds since the Unix epoch.
        next_at_ms: Option<u64>,
    },
}

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user's: ours.
    User,
    /// The agent's.
    Assistant,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// It was done.
    Stop,
    /// It called tools; another step follows.
    ToolCalls,
    /// It hit the limit of its output.
    Length,
    /// The provider withheld the answer.
    ContentFilter,
    /// Anything else, in the server's words.
    Other(String),
}

/// Tokens and cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written, reasoning included where the provider counts it so.
    pub output_tokens: u64,
    /// Tokens of reasoning.
    pub reasoning_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Cost in US dollars as the server computes it; 0 where it knows no price.
    pub cost_usd: f64,
}

impl Usage {
    /// Adds another step's usage. The figures are a peer's, so a sum that is too large stays at its limit.
    pub fn add(&mut self, other: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.reasoning_tokens = self.reasoning_tokens.saturating_add(other.reasoning_tokens);
        self.cache_read_tokens = self.cache_read_tokens.saturating_add(other.cache_read_tokens);
        self.cache_write_tokens = self.cache_write_tokens.saturating_add(other.cache_write_tokens);
        self.cost_usd += other.cost_usd;
    }
}

/// A failure that the server reports for a message or a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFailure {
    /// The server's name for it, for instance `APIError`.
    pub name: String,
    /// What it says about it. Bodies and headers of the provider are left out: they may hold secrets.
    pub message: String,
    /// The provider's HTTP status, where there was one.
    pub status: Option<u16>,
    /// Whether it is the report of an abort.
    pub aborted: bool,
    /// Whether the server itself recovers from it (a context overflow is compacted), so that it ends nothing.
    pub recoverable: bool,
}

/// A message without its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageInfo {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    pub session: SessionId,
    /// Whose it is.
    pub role: Role,
    /// The user's message that it answers.
    pub parent: Option<MessageId>,
    /// Whether it has ended, in success or not. Only the agent's messages do; a user's stays `false`.
    pub completed: bool,
    /// Why the model stopped, once it has.
    pub finish: Option<Finish>,
    /// What went wrong with it.
    pub error: Option<AgentFailure>,
    /// Whether it is a summary made by compaction and not an answer.
    pub summary: bool,
    /// Its tokens and cost.
    pub usage: Usage,
}

/// What a tool call does.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolState {
    /// The model is still writing its arguments.
    Pending,
    /// It runs.
    Running {
        /// Its arguments.
        input: serde_json::Value,
        /// What it has written so far, where the tool tells.
        output: Option<String>,
    },
    /// It is done.
    Completed {
        /// Its arguments.
        input: serde_json::Value,
        /// What it gave back to the model.
        output: String,
    },
    /// It failed.
    Failed {
        /// Its arguments.
        input: serde_json::Value,
        /// The error's text.
        error: String,
    },
}

impl ToolState {
    /// Whether nothing more happens to it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed { .. } | Self::Failed { .. })
    }
}

/// What a part of a message holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PartBody {
    /// Text of the message, whole.
    Text(String),
    /// The model's reasoning, whole.
    Reasoning(String),
    /// A tool call.
    Tool {
        /// The call's id, the model's own.
        call_id: String,
        /// The tool's name.
        tool: String,
        /// Where it stands.
        state: ToolState,
    },
    /// The end of one model call.
    StepFinish {
        /// Its tokens and cost.
        usage: Usage,
    },
    /// Something else, by the server's name for it.
    Other(String),
}

/// A part of a message, as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The server's id of the part.
    pub id: Arc<str>,
    /// The message it belongs to.
    pub message: MessageId,
    /// What it holds.
    pub body: PartBody,
}

/// A message with its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The message.
    pub info: MessageInfo,
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

impl Message {
    /// The text of the message: its text parts, joined.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|p| match &p.body {
            PartBody::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// Something that happened at the server. Only facts; what they mean for a turn is decided above.
///
/// What is large is boxed: events are moved several times each, and most of them are small.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AgentEvent {
    /// The stream is open: whatever happens from here on is seen.
    Connected,
    /// The server is alive and has nothing to say.
    Heartbeat,
    /// A session was made; a sub-agent's has a parent.
    SessionCreated {
        /// The session.
        session: SessionId,
        /// The session it was made from.
        parent: Option<SessionId>,
    },
    /// A session's status changed.
    Status {
        /// The session.
        session: SessionId,
        /// Its status.
        status: SessionStatus,
    },
    /// A message was made or changed.
    Message(Box<MessageInfo>),
    /// A part was made or changed.
    Part {
        /// The session.
        session: SessionId,
        /// The part, whole.
        part: Box<Part>,
    },
    /// Text was added to a part.
    Delta {
        /// The session.
        session: SessionId,
        /// The message.
        message: MessageId,
        /// The part.
        part: Arc<str>,
        /// What was added.
        text: String,
    },
    /// A session reports a failure. It does not have to be the end of the turn.
    Failure {
        /// The session, where the server names it.
        session: Option<SessionId>,
        /// What failed.
        failure: AgentFailure,
    },
    /// A session waits for a permission or an answer.
    InputNeeded(Box<InputRequest>),
    /// A request was answered, by whomever, or is off.
    InputSettled {
        /// The session that waited.
        session: SessionId,
        /// The request.
        request: Arc<str>,
    },
    /// The server has thrown its instance away; turns in flight are aborted.
    Disposed,
    /// An event this library does not know, by name.
    Other(String),
}

/// Events of one connection. It begins with [`AgentEvent::Connected`] and ends, with or without an error, when
/// the connection does; a stream that is silent for longer than the server's heartbeat allows ends with an error.
pub type AgentEventStream = BoxStream<'static, Result<AgentEvent>>;

/// What the server must be started with so that a connector can work with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerRequirements {
    /// The port it listens on.
    pub port: u16,
    /// The user's name for its authentication.
    pub username: String,
    /// Environment variables, none of them secret.
    pub env: std::collections::BTreeMap<String, String>,
    /// How long a healthy server may be silent on its event stream.
    pub heartbeat: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_small() {
        assert!(size_of::<AgentEvent>() <= 80, "{}", size_of::<AgentEvent>());
    }

    #[test]
    fn figures_of_a_peer_cannot_overflow_a_sum() {
        let most = Usage { input_tokens: u64::MAX, output_tokens: 2, ..Usage::default() };
        let mut sum = most;
        sum.add(&most);
        assert_eq!((sum.input_tokens, sum.output_tokens), (u64::MAX, 4));
    }
}
