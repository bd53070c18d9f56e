//! From the wire to the domain. What a value means is decided here and nowhere else.

use runner_core::session::{
    AgentEvent, AgentFailure, Finish, InputRequest, Message, MessageInfo, Part, PartBody, Role,
    SessionStatus, ToolState, Usage,
};
use runner_core::{MessageId, SessionId};

use crate::wire::error::{NamedError, first_line, one_line};
use crate::wire::event::{Envelope, Event};
use crate::wire::message::{self, Info, Progress, State, Tokens};
use crate::wire::session::Status;
use crate::wire::{Number, Text};

/// Longest text of a failure, in bytes: providers write pages.
const MAX_FAILURE: usize = 500;

/// The event.
pub(crate) fn event(envelope: Envelope<'_>) -> AgentEvent {
    let Envelope { kind, event, .. } = envelope;
    let known = match event {
        Event::Unreadable(error) => {
            tracing::debug!(event = %kind, line = error.line(), column = error.column(), "unreadable event");
            None
        }
        Event::Connected => Some(AgentEvent::Connected),
        Event::Heartbeat => Some(AgentEvent::Heartbeat),
        Event::Disposed => Some(AgentEvent::Disposed),
        Event::Delta(delta) if delta.field == "text" => session(delta.session).and_then(|session| {
            let message = message_id(delta.message)?;
            let (part, text) = (delta.part.into_owned(), delta.text.into_owned());
            Some(AgentEvent::Delta { session, message, part, text })
        }),
        Event::Delta(_) | Event::Other => None,
        Event::Part(part) => {
            let owner = part.session.as_ref().and_then(|id| session(id.0.as_ref()));
            owner.and_then(|session| Some(AgentEvent::Part { session, part: self::part(*part)? }))
        }
        Event::Message(message) => info(*message).map(AgentEvent::Message),
        Event::Status(e) => {
            session(e.session).map(|session| AgentEvent::Status { session, status: status(e.status) })
        }
        // It repeats what `session.status` has said; should a later version drop either, the other is enough.
        Event::Idle(e) => {
            session(e.session).map(|session| AgentEvent::Status { session, status: SessionStatus::Idle })
        }
        Event::SessionCreated(s) => {
            let parent = s.parent.and_then(|Text(id)| session(id));
            session(s.id).map(|session| AgentEvent::SessionCreated { session, parent })
        }
        Event::Failure(e) => Some(AgentEvent::Failure {
            session: e.session.and_then(|Text(id)| session(id)),
            failure: e.error.as_ref().map_or_else(unnamed_failure, failure),
        }),
        Event::Permission(p) => input(p.id, p.session, p.what),
        Event::Question(q) => input(q.id, q.session, "question"),
    };
    known.unwrap_or_else(|| AgentEvent::Other(kind.into_owned()))
}

fn session(id: impl Into<String>) -> Option<SessionId> {
    SessionId::new(id).ok()
}

fn message_id(id: impl Into<String>) -> Option<MessageId> {
    MessageId::new(id).ok()
}

fn input(id: impl Into<String>, owner: impl Into<String>, what: impl Into<String>) -> Option<AgentEvent> {
    Some(AgentEvent::InputNeeded(InputRequest { id: id.into(), session: session(owner)?, what: what.into() }))
}

/// A status of a kind we do not know is some kind of work.
pub(crate) fn status(status: Status<'_>) -> SessionStatus {
    match status.kind.as_ref() {
        "idle" => SessionStatus::Idle,
        "retry" => SessionStatus::Retry {
            attempt: u32::try_from(status.attempt.count()).unwrap_or(u32::MAX),
            message: status.message.map(|m| one_line(first_line(&m), MAX_FAILURE)).unwrap_or_default(),
            next_at_ms: status.next.map(Number::count),
        },
        _ => SessionStatus::Busy,
    }
}

/// A message without its parts; `None` where it is neither the user's nor the agent's.
pub(crate) fn info(info: Info<'_>) -> Option<MessageInfo> {
    let role = match info.role.as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    Some(MessageInfo {
        id: message_id(info.id)?,
        session: session(info.session)?,
        role,
        parent: info.parent.and_then(|Text(id)| message_id(id)),
        completed: info.time.completed.is_some(),
        finish: info.finish.map(finish),
        error: info.error.as_ref().map(failure),
        summary: info.summary.0,
        usage: usage(&info.tokens, info.cost),
    })
}

fn finish(finish: Text<'_>) -> Finish {
    match &*finish {
        "stop" => Finish::Stop,
        "tool-calls" => Finish::ToolCalls,
        "length" => Finish::Length,
        "content-filter" => Finish::ContentFilter,
        _ => Finish::Other(finish.0.into_owned()),
    }
}

fn usage(tokens: &Tokens, cost: Number) -> Usage {
    Usage {
        input_tokens: tokens.input.count(),
        output_tokens: tokens.output.count(),
        reasoning_tokens: tokens.reasoning.count(),
        cache_read_tokens: tokens.cache.read.count(),
        cache_write_tokens: tokens.cache.write.count(),
        cost_usd: cost.amount(),
    }
}

/// The first line only: a stack trace follows it, and bodies and headers of the provider are other fields.
fn failure(error: &NamedError<'_>) -> AgentFailure {
    let name = error.name.as_deref().unwrap_or("UnknownError").to_owned();
    let data = error.data();
    AgentFailure {
        message: data.message.map(|m| one_line(first_line(&m), MAX_FAILURE)).unwrap_or_default(),
        status: data.status.and_then(|s| u16::try_from(s.count()).ok()),
        aborted: name == "MessageAbortedError",
        recoverable: name == "ContextOverflowError",
        name,
    }
}

fn unnamed_failure() -> AgentFailure {
    failure(&NamedError { name: None, data: None })
}

/// A part; `None` where its ids cannot be ids.
pub(crate) fn part(part: message::Part<'_>) -> Option<Part> {
    let text = |text: Option<Text<'_>>| text.map(|t| t.0.into_owned()).unwrap_or_default();
    let body = match part.kind.as_ref() {
        "text" => PartBody::Text(text(part.text)),
        "reasoning" => PartBody::Reasoning(text(part.text)),
        "step-finish" => PartBody::StepFinish { usage: usage(&part.tokens, part.cost) },
        "tool" => match part.state.and_then(tool_state) {
            Some(state) => PartBody::Tool { call_id: text(part.call), tool: text(part.tool), state },
            None => PartBody::Other(part.kind.into_owned()),
        },
        _ => PartBody::Other(part.kind.into_owned()),
    };
    Some(Part { id: part.id.into_owned(), message: message_id(part.message)?, body })
}

fn tool_state(state: State<'_>) -> Option<ToolState> {
    let text = |text: Option<Text<'_>>| text.map(|t| t.0.into_owned());
    let input = state.input;
    match state.status.as_ref() {
        "pending" => Some(ToolState::Pending),
        "running" => {
            let progress =
                state.metadata.and_then(|raw| serde_json::from_str::<Progress<'_>>(raw.get()).ok());
            Some(ToolState::Running { input, output: progress.and_then(|p| text(p.output)) })
        }
        "completed" => Some(ToolState::Completed { input, output: text(state.output).unwrap_or_default() }),
        "error" => Some(ToolState::Failed { input, error: text(state.error).unwrap_or_default() }),
        _ => None,
    }
}

/// The answer of `GET /session/{id}/message`.
pub(crate) fn messages(body: &str) -> Result<Vec<Message>, serde_json::Error> {
    let wire: Vec<message::Message<'_>> = serde_json::from_str(body)?;
    let mut messages = Vec::with_capacity(wire.len());
    for entry in wire {
        let (id, role) = (entry.info.id.clone(), entry.info.role.clone());
        let Some(info) = info(entry.info) else {
            tracing::debug!(message = %id, role = %role, "message of an unknown kind left out");
            continue;
        };
        let mut parts = Vec::with_capacity(entry.parts.len());
        for raw in entry.parts {
            parts.extend(part(message::part(raw.get())?));
        }
        messages.push(Message { info, parts });
    }
    Ok(messages)
}
