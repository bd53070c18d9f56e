//! Requests for a person: read from the wire, and answered.

use runner_core::SessionId;
use runner_core::input::{InputAnswer, InputKind, InputRequest, Question, QuestionOption};
use runner_core::session::AgentEvent;

use crate::call::Server;
use crate::config::TimeLimits;
use crate::error::Failure;
use crate::wire::input::{self as wire, List, PermissionReply, QuestionReply, Settled, ToolOf};
use crate::wire::{Text, cut};

/// Longest text taken over for one pattern, question or option, in bytes: a command may be a whole script.
const MAX_TEXT: usize = 4096;
/// Patterns, questions or options taken over.
const MAX_LIST: usize = 64;

fn text(text: &str) -> String {
    let short = cut(text, MAX_TEXT);
    if short.len() == text.len() { text.to_owned() } else { format!("{short}…") }
}

fn texts(all: &[Text<'_>]) -> Vec<String> {
    all.iter().take(MAX_LIST).map(|t| text(t)).collect()
}

fn call_id(tool: Option<ToolOf<'_>>) -> Option<String> {
    tool?.call.map(|id| id.0.into_owned())
}

/// `None` where the session's id cannot be one.
pub(crate) fn permission(asked: wire::Permission<'_>) -> Option<InputRequest> {
    Some(InputRequest {
        id: asked.id.into(),
        session: SessionId::new(asked.session).ok()?,
        kind: InputKind::Permission {
            permission: text(&asked.name),
            patterns: texts(&asked.patterns),
            always: texts(&asked.always),
        },
        call_id: call_id(asked.tool),
    })
}

/// `None` where the session's id cannot be one.
pub(crate) fn questions(asked: wire::Questions<'_>) -> Option<InputRequest> {
    let optional = |value: &Option<Text<'_>>| value.as_ref().map(|t| text(t)).unwrap_or_default();
    let question = |question: &wire::Question<'_>| Question {
        header: optional(&question.header),
        text: optional(&question.text),
        options: question
            .options
            .iter()
            .take(MAX_LIST)
            .map(|option| QuestionOption {
                label: option.label.0.clone().into_owned(),
                description: optional(&option.description),
            })
            .collect(),
        multiple: question.multiple.0,
    };
    Some(InputRequest {
        id: asked.id.into(),
        session: SessionId::new(asked.session).ok()?,
        // All of them: an answer must have one for each.
        kind: InputKind::Questions(asked.all.iter().map(question).collect()),
        call_id: call_id(asked.tool),
    })
}

pub(crate) fn settled(event: Settled<'_>) -> Option<AgentEvent> {
    let session = SessionId::new(event.session).ok()?;
    Some(AgentEvent::InputSettled { session, request: event.request.into() })
}

/// Both lists of the server.
pub(crate) async fn list(server: &Server, limits: &TimeLimits) -> Result<Vec<InputRequest>, Failure> {
    let get = |path| server.json(server.get(path), limits.status);
    let (permissions, questions) = futures::future::try_join(get("/permission"), get("/question")).await?;
    let mut found = Vec::new();
    for raw in parse(&permissions)? {
        match serde_json::from_str(raw.get()) {
            Ok(asked) => found.extend(permission(asked)),
            Err(error) => odd("permission", &error),
        }
    }
    for raw in parse(&questions)? {
        match serde_json::from_str(raw.get()) {
            Ok(asked) => found.extend(self::questions(asked)),
            Err(error) => odd("question", &error),
        }
    }
    Ok(found)
}

fn parse(body: &str) -> Result<List<'_>, Failure> {
    serde_json::from_str(body).map_err(|error| Failure::unreadable(&error))
}

fn odd(what: &str, error: &serde_json::Error) {
    tracing::warn!(
        what,
        line = error.line(),
        column = error.column(),
        "a request of the agent is unreadable"
    );
}

/// Gives an answer that was checked to be of the request's kind.
pub(crate) async fn answer(
    server: &Server,
    limits: &TimeLimits,
    request: &InputRequest,
    answer: &InputAnswer,
) -> Result<(), Failure> {
    let id = id_segment(&request.id)?;
    let post = match (&request.kind, answer) {
        (InputKind::Questions(_), InputAnswer::Answers(answers)) => {
            server.post_json(&format!("/question/{id}/reply"), &QuestionReply { answers })
        }
        (InputKind::Questions(_), _) => server.post(&format!("/question/{id}/reject")),
        (_, answer) => {
            let (reply, message) = match answer {
                InputAnswer::Allow => ("once", None),
                InputAnswer::AllowAlways => ("always", None),
                InputAnswer::Deny { message } => ("reject", message.as_deref()),
                _ => return Err(Failure::Address("a permission has no answers".into())),
            };
            server.post_json(&format!("/permission/{id}/reply"), &PermissionReply { reply, message })
        }
    };
    // `true`, and nothing else to know.
    server.json(post, limits.answer).await.map(drop)
}

/// An id that came from the server and goes back to it in a path.
fn id_segment(id: &str) -> Result<&str, Failure> {
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if plain { Ok(id) } else { Err(Failure::Address("the id of the request cannot be one".into())) }
}
