//! The server's state: sessions with their messages, and every change together with its event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runner_core::input::{InputAnswer, InputRequest};
use runner_core::session::{
    AgentEvent, AgentFailure, Message, MessageInfo, Part, PartBody, Prompt, Role, SessionStatus, Usage,
};
use runner_core::{MessageId, Result, SessionId};
use tokio::sync::{oneshot, watch};

use super::script::TurnScript;
use super::streams::Streams;

/// A prompt as the responder sees it.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The session it is for.
    pub session: &'a SessionId,
    /// The prompt.
    pub prompt: &'a Prompt,
    /// The session's messages before it.
    pub history: &'a [Message],
}

pub(super) type Responder = Arc<dyn Fn(&Incoming<'_>) -> TurnScript + Send + Sync>;

/// A turn that waits or is played.
pub(super) struct Turn {
    pub(super) user: MessageId,
    pub(super) script: TurnScript,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) messages: Vec<Message>,
    /// `None` is idle: a server does not list such a session.
    status: Option<SessionStatus>,
    /// How to abort the turn under way.
    pub(super) turn: Option<watch::Sender<bool>>,
    pub(super) queue: VecDeque<Turn>,
}

pub(super) struct Server {
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) streams: Streams,
    pub(super) scripts: VecDeque<TurnScript>,
    pub(super) responder: Responder,
    pub(super) prompts: Vec<(SessionId, Prompt)>,
    pub(super) ignores_aborts: bool,
    /// What waits for a person, with the way to tell the turn.
    pub(super) requests: Vec<(InputRequest, oneshot::Sender<InputAnswer>)>,
    /// As in `Life`; kept here too so that a change and the check for it are one step.
    pub(super) deaths: u64,
    parts: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            streams: Streams::default(),
            scripts: VecDeque::new(),
            responder: Arc::new(|incoming| TurnScript::answer(format!("ok: {}", incoming.prompt.text))),
            prompts: Vec::new(),
            ignores_aborts: false,
            requests: Vec::new(),
            deaths: 0,
            parts: 0,
        }
    }
}

#[expect(clippy::expect_used, reason = "a prefix and digits are a legal id; there is no caller to blame")]
fn made<T>(id: Result<T>) -> T {
    id.expect("a prefix and digits are a legal id")
}

/// A session id that no other fake in this process has given: two servers must not seem to share a session.
pub(super) fn new_session_id() -> SessionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    made(SessionId::new(format!("ses_{:026}", NEXT.fetch_add(1, Ordering::Relaxed))))
}

pub(super) fn new_message_id(counter: &AtomicU64) -> MessageId {
    made(MessageId::new(format!("msg_{:026}", counter.fetch_add(1, Ordering::Relaxed) + 1)))
}

/// A message of the agent that has just begun.
pub(super) fn begun(id: MessageId, session: &SessionId, parent: &MessageId) -> MessageInfo {
    MessageInfo {
        id,
        session: session.clone(),
        role: Role::Assistant,
        parent: Some(parent.clone()),
        completed: false,
        finish: None,
        error: None,
        summary: false,
        usage: Usage::default(),
    }
}

impl Server {
    pub(super) fn emit(&mut self, event: &AgentEvent) {
        self.streams.emit(event);
    }

    pub(super) fn emit_other(&mut self, name: &str) {
        self.emit(&AgentEvent::Other(name.to_owned()));
    }

    pub(super) fn add_session(&mut self, parent: Option<&SessionId>) -> SessionId {
        let session = new_session_id();
        self.sessions.insert(session.clone(), Session::default());
        self.emit(&AgentEvent::SessionCreated { session: session.clone(), parent: parent.cloned() });
        self.emit_other("session.updated");
        session
    }

    pub(super) fn status(&self, session: &SessionId) -> SessionStatus {
        let known = self.sessions.get(session).and_then(|s| s.status.clone());
        known.unwrap_or(SessionStatus::Idle)
    }

    pub(super) fn set_status(&mut self, session: &SessionId, status: SessionStatus) {
        if let Some(entry) = self.sessions.get_mut(session) {
            entry.status = (status != SessionStatus::Idle).then(|| status.clone());
        }
        self.emit(&AgentEvent::Status { session: session.clone(), status });
    }

    /// The two events that say that a session is idle. They are not the end of a turn: see the failures.
    pub(super) fn set_idle(&mut self, session: &SessionId) {
        self.set_status(session, SessionStatus::Idle);
        self.emit_other("session.idle");
    }

    pub(super) fn fail(&mut self, session: &SessionId, failure: &AgentFailure) {
        self.emit(&AgentEvent::Failure { session: Some(session.clone()), failure: failure.clone() });
    }

    /// Stores a message, new or changed, and says so.
    pub(super) fn put_message(&mut self, info: &MessageInfo) {
        if let Some(session) = self.sessions.get_mut(&info.session) {
            match session.messages.iter_mut().find(|m| m.info.id == info.id) {
                Some(message) => message.info = info.clone(),
                None => session.messages.push(Message { info: info.clone(), parts: Vec::new() }),
            }
        }
        self.emit(&AgentEvent::Message(Box::new(info.clone())));
    }

    pub(super) fn new_part(&mut self, message: &MessageId, body: PartBody) -> Part {
        self.parts += 1;
        Part { id: format!("prt_{:026}", self.parts).into(), message: message.clone(), body }
    }

    /// Stores a part, new or changed, and says so.
    pub(super) fn put_part(&mut self, session: &SessionId, part: &Part) {
        let messages = self.sessions.get_mut(session).map(|s| &mut s.messages);
        if let Some(message) = messages.and_then(|m| m.iter_mut().find(|m| m.info.id == part.message)) {
            match message.parts.iter_mut().find(|p| p.id == part.id) {
                Some(old) => *old = part.clone(),
                None => message.parts.push(part.clone()),
            }
        }
        self.emit(&AgentEvent::Part { session: session.clone(), part: Box::new(part.clone()) });
    }

    /// Stores the user's message. If the id is taken, the text joins the old message and `false` is returned: a
    /// server begins no new turn then.
    pub(super) fn put_user(&mut self, session: &SessionId, id: &MessageId, text: &str) -> bool {
        let known = self.sessions.get(session);
        let fresh = !known.is_some_and(|s| s.messages.iter().any(|m| m.info.id == *id));
        if fresh {
            let info = MessageInfo { role: Role::User, parent: None, ..begun(id.clone(), session, id) };
            self.put_message(&info);
        }
        let part = self.new_part(id, PartBody::Text(text.to_owned()));
        self.put_part(session, &part);
        self.emit_other("session.updated");
        fresh
    }

    /// What follows a turn's idle: the server titles and diffs, and touches the user's message once more.
    pub(super) fn settle(&mut self, session: &SessionId, user: &MessageId) {
        self.emit_other("session.updated");
        self.emit_other("session.diff");
        let messages = self.sessions.get(session).map(|s| &s.messages);
        let info = messages.and_then(|m| m.iter().find(|m| m.info.id == *user)).map(|m| m.info.clone());
        if let Some(info) = info {
            self.emit(&AgentEvent::Message(Box::new(info)));
        }
    }

    /// Forgets what a dead process forgets: turns, queues, statuses and connections. Sessions are on disk.
    pub(super) fn lose_process(&mut self) {
        self.deaths += 1;
        for session in self.sessions.values_mut() {
            session.status = None;
            session.turn = None;
            session.queue.clear();
        }
        self.requests.clear();
    }
}
