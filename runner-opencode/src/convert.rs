//! From the wire to the domain. What a value means is decided here and nowhere else.

use runner_core::input::InputRequest;
use runner_core::session::{
    AgentEvent, AgentFailure, Finish, Message, MessageInfo, Part, PartBody, Role, SessionStatus, ToolState,
    Usage,
};
use serde_json::from_str;
use serde_json::value::RawValue;

use crate::ids::Ids;
use crate::input;
use crate::wire::error::{NamedError, first_line, one_line};
use crate::wire::event::{self, Delta, InfoOf, Kind, PartOf};
use crate::wire::message::{self, Info, Progress, State, Tokens};
use crate::wire::quick;
use crate::wire::session::{Session, Status};
use crate::wire::{Number, Text};

/// Longest text of a failure, in bytes: providers write pages.
const MAX_FAILURE: usize = 500;

/// The event with these properties. `None` where they cannot be what they should; an error where they cannot be read.
pub(crate) fn event(
    kind: Kind,
    properties: &str,
    ids: &mut Ids,
) -> Result<Option<AgentEvent>, serde_json::Error> {
    Ok(match kind {
        Kind::Connected => Some(AgentEvent::Connected),
        Kind::Heartbeat => Some(AgentEvent::Heartbeat),
        Kind::Disposed => Some(AgentEvent::Disposed),
        Kind::Delta => delta(quick::read(quick::delta, properties)?, ids),
        Kind::Part => match quick::read(quick::part, properties) {
            Ok(PartOf { part }) => part_updated(part, ids),
            Err(error) => {
                // A part of a kind we do not know may look as it likes.
                let PartOf::<&RawValue> { part } = from_str(properties)?;
                part_updated(message::part(part.get()).map_err(|_| error)?, ids)
            }
        },
        Kind::Message => {
            let InfoOf { info: message } = quick::read(quick::message, properties)?;
            info(message, ids).map(|info| AgentEvent::Message(Box::new(info)))
        }
        Kind::Status => {
            let event::SessionStatus { session, status: now } = quick::read(quick::status, properties)?;
            ids.session(&session).map(|session| AgentEvent::Status { session, status: status(now) })
        }
        // It repeats what `session.status` has said; should a later version drop either, the other is enough.
        Kind::Idle => {
            let event::Idle { session: id } = from_str(properties)?;
            ids.session(&id).map(|session| AgentEvent::Status { session, status: SessionStatus::Idle })
        }
        Kind::SessionCreated => {
            let InfoOf::<Session<'_>> { info: made } = from_str(properties)?;
            let parent = made.parent.and_then(|Text(id)| ids.session(&id));
            ids.session(&made.id).map(|session| AgentEvent::SessionCreated { session, parent })
        }
        Kind::Failure => {
            let event::Failure { session: id, error } = from_str(properties)?;
            let session = id.and_then(|Text(id)| ids.session(&id));
            let failure = error.as_ref().map_or_else(unnamed_failure, failure);
            Some(AgentEvent::Failure { session, failure })
        }
        Kind::Permission => input::permission(from_str(properties)?).map(asked),
        Kind::Questions => input::questions(from_str(properties)?).map(asked),
        Kind::InputSettled => input::settled(from_str(properties)?),
        Kind::Duplicate | Kind::Other => None,
    })
}

fn asked(request: InputRequest) -> AgentEvent {
    AgentEvent::InputNeeded(Box::new(request))
}

fn delta(delta: Delta<'_>, ids: &mut Ids) -> Option<AgentEvent> {
    if delta.field != "text" {
        return None;
    }
    let (session, message) = (ids.session(&delta.session)?, ids.message(&delta.message)?);
    let (part, text) = (ids.part(&delta.part), delta.text.into_owned());
    Some(AgentEvent::Delta { session, message, part, text })
}

fn part_updated(updated: message::Part<'_>, ids: &mut Ids) -> Option<AgentEvent> {
    let session = ids.session(updated.session.as_ref()?)?;
    Some(AgentEvent::Part { session, part: Box::new(part(updated, ids)?) })
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
pub(crate) fn info(info: Info<'_>, ids: &mut Ids) -> Option<MessageInfo> {
    let role = match info.role.as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    Some(MessageInfo {
        id: ids.message(&info.id)?,
        session: ids.session(&info.session)?,
        role,
        parent: info.parent.and_then(|Text(id)| ids.message(&id)),
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
pub(crate) fn part(part: message::Part<'_>, ids: &mut Ids) -> Option<Part> {
    let text = |text: Option<Text<'_>>| text.map(|t| t.0.into_owned()).unwrap_or_default();
    let body = match part.kind.as_ref() {
        "text" => PartBody::Text(text(part.text)),
        "reasoning" => PartBody::Reasoning(text(part.text)),
        "step-finish" => PartBody::StepFinish { usage: usage(&part.tokens, part.cost) },
        "tool" => match part.state.and_then(|state| tool_state(*state)) {
            Some(state) => PartBody::Tool { call_id: text(part.call), tool: text(part.tool), state },
            None => PartBody::Other(part.kind.into_owned()),
        },
        _ => PartBody::Other(part.kind.into_owned()),
    };
    Some(Part { id: ids.part(&part.id), message: ids.message(&part.message)?, body })
}

fn tool_state(state: State<'_>) -> Option<ToolState> {
    let text = |text: Option<Text<'_>>| text.map(|t| t.0.into_owned());
    let input = state.input;
    match state.status.as_ref() {
        "pending" => Some(ToolState::Pending),
        "running" => {
            let progress = state.metadata.and_then(|json| from_str::<Progress<'_>>(json).ok());
            Some(ToolState::Running { input, output: progress.and_then(|p| text(p.output)) })
        }
        "completed" => Some(ToolState::Completed { input, output: text(state.output).unwrap_or_default() }),
        "error" => Some(ToolState::Failed { input, error: text(state.error).unwrap_or_default() }),
        _ => None,
    }
}

/// The answer of `GET /session/{id}/message`.
pub(crate) fn messages(body: &str) -> Result<Vec<Message>, serde_json::Error> {
    let wire: Vec<message::Message<'_>> = from_str(body)?;
    let mut messages = Vec::with_capacity(wire.len());
    let mut ids = Ids::default();
    for entry in wire {
        let (id, role) = (entry.info.id.clone(), entry.info.role.clone());
        let Some(info) = info(entry.info, &mut ids) else {
            tracing::debug!(message = %id, role = %role, "message of an unknown kind left out");
            continue;
        };
        let mut parts = Vec::with_capacity(entry.parts.len());
        for raw in entry.parts {
            parts.extend(part(message::part(raw.get())?, &mut ids));
        }
        messages.push(Message { info, parts });
    }
    Ok(messages)
}
