//! The contract of [`AgentApi`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use runner_core::session::{
    AgentEvent, AgentEventStream, Finish, Message, NewSession, Prompt, Role, SessionStatus,
};
use runner_core::{AgentApi, ErrorKind, MessageId, ModelId, Result, SessionId};

use super::support::{eventually, fails, ok, within};

/// What the checks need from the one who knows the server.
#[derive(Clone)]
pub struct AgentFixture {
    /// Two prompts that are answered with some text and no tools.
    pub prompts: [String; 2],
    /// The model to ask, if the server has none of its own.
    pub model: Option<ModelId>,
    /// A well-formed id of a session that the server does not have.
    pub unknown_session: SessionId,
    /// How long any one step, a whole turn included, may take.
    pub patience: Duration,
}

impl AgentFixture {
    /// Prompts that any model answers, an id that no server has given, and a minute's patience.
    pub fn new() -> Result<Self> {
        Ok(Self {
            prompts: ["Say hello.".to_owned(), "Say it again.".to_owned()],
            model: None,
            unknown_session: SessionId::new("ses_7fffffffffffcontractcheck0")?,
            patience: Duration::from_mins(1),
        })
    }
}

impl fmt::Debug for AgentFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentFixture").field("prompts", &self.prompts).finish_non_exhaustive()
    }
}

struct Lab {
    api: Arc<dyn AgentApi>,
    fixture: AgentFixture,
}

/// Runs all checks, one after the other, on a server that is ready. Its sessions stay: the port cannot remove
/// them.
///
/// # Panics
///
/// At the first promise that is broken.
pub async fn all(api: Arc<dyn AgentApi>, fixture: AgentFixture) {
    let lab = Lab { api, fixture };
    lab.it_is_healthy_and_warms_up().await;
    lab.message_ids_increase();
    lab.the_first_event_is_connected().await;
    lab.sessions_are_distinct_and_announced().await;
    lab.the_unknown_session_is_not_found().await;
    lab.aborting_nothing_is_fine().await;
    lab.turns_are_seen_stored_and_in_order().await;
}

impl Lab {
    async fn soon<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        within(self.fixture.patience, what, future).await
    }

    async fn new_session(&self, title: &str) -> SessionId {
        ok("create_session", self.api.create_session(&NewSession { title: title.to_owned() }).await)
    }

    fn prompt(&self, text: &str) -> Prompt {
        Prompt { model: self.fixture.model.clone(), ..Prompt::new(self.api.next_message_id(), text) }
    }

    async fn messages(&self, session: &SessionId) -> Vec<Message> {
        ok("messages", self.api.messages(session).await)
    }

    async fn open(&self) -> AgentEventStream {
        let mut events = ok("events", self.soon("events", self.api.events()).await);
        let first = self.soon("the first event", events.next()).await;
        let first = first.map(|event| ok("the first event", event));
        assert_eq!(first, Some(AgentEvent::Connected), "a stream must begin with Connected");
        events
    }

    /// Reads events up to the first one that is wanted; gives all of them.
    async fn read_until(
        &self,
        events: &mut AgentEventStream,
        what: &str,
        wanted: impl Fn(&AgentEvent) -> bool,
    ) -> Vec<AgentEvent> {
        let mut seen = Vec::new();
        let read = async {
            loop {
                let event = events.next().await;
                assert!(event.is_some(), "the stream must not end before {what}; seen: {seen:?}");
                let Some(event) = event else { return };
                let event = ok("an event", event);
                let found = wanted(&event);
                seen.push(event);
                if found {
                    return;
                }
            }
        };
        self.soon(what, read).await;
        seen
    }

    async fn becomes_idle(&self, session: &SessionId) {
        let idle = || async {
            let status = ok("session_status", self.api.session_status(session).await);
            (status == SessionStatus::Idle).then_some(())
        };
        eventually(self.fixture.patience, "becoming idle", idle).await;
    }

    async fn it_is_healthy_and_warms_up(&self) {
        let health = ok("health", self.soon("health", self.api.health()).await);
        assert!(!health.version.is_empty(), "the server must tell its version");
        ok("warm_up", self.soon("warm_up", self.api.warm_up()).await);
        ok("a second warm_up", self.soon("a second warm_up", self.api.warm_up()).await);
    }

    /// Also faster than any clock ticks.
    fn message_ids_increase(&self) {
        let ids: Vec<MessageId> = (0..1000).map(|_| self.api.next_message_id()).collect();
        for (one, next) in ids.iter().zip(ids.iter().skip(1)) {
            assert!(one < next, "message ids must increase: {one}, then {next}");
        }
    }

    async fn the_first_event_is_connected(&self) {
        let (_one, _other) = (self.open().await, self.open().await);
    }

    async fn sessions_are_distinct_and_announced(&self) {
        let mut events = self.open().await;
        let mut made = BTreeSet::new();
        for title in ["one", "two", "three"] {
            let session = self.new_session(title).await;
            let is_it =
                |e: &AgentEvent| matches!(e, AgentEvent::SessionCreated { session: s, .. } if *s == session);
            let seen = self.read_until(&mut events, "the session's announcement", is_it).await;
            let announced = Some(AgentEvent::SessionCreated { session: session.clone(), parent: None });
            assert_eq!(seen.last(), announced.as_ref(), "a session of our own must have no parent");
            assert_eq!(self.messages(&session).await, [], "a new session must be empty");
            assert!(made.insert(session), "every session must have an id of its own");
        }
    }

    async fn the_unknown_session_is_not_found(&self) {
        let unknown = &self.fixture.unknown_session;
        let prompted = self.api.prompt(unknown, &self.prompt("Say hello.")).await;
        fails("prompt to an unknown session", prompted, ErrorKind::NotFound);
        fails("messages of an unknown session", self.api.messages(unknown).await, ErrorKind::NotFound);
        let status = ok("status of an unknown session", self.api.session_status(unknown).await);
        assert_eq!(status, SessionStatus::Idle, "an unknown session must look idle");
        ok("abort of an unknown session", self.api.abort(unknown).await);
    }

    async fn aborting_nothing_is_fine(&self) {
        let session = self.new_session("aborted").await;
        ok("abort of an idle session", self.api.abort(&session).await);
        ok("a second abort", self.api.abort(&session).await);
        self.becomes_idle(&session).await;
        assert_eq!(self.messages(&session).await, [], "aborting nothing must add no message");
    }

    async fn turns_are_seen_stored_and_in_order(&self) {
        let session = self.new_session("turns").await;
        let mut before: Vec<MessageId> = Vec::new();
        for text in &self.fixture.prompts {
            let after = self.one_turn(&session, text).await;
            assert!(
                after.starts_with(&before),
                "earlier messages must stay first: {before:?}, then {after:?}"
            );
            before = after;
        }
    }

    /// One turn from prompt to idle; gives the ids of all messages after it.
    async fn one_turn(&self, session: &SessionId, text: &str) -> Vec<MessageId> {
        let mut events = self.open().await;
        let prompt = self.prompt(text);
        let ours = &prompt.message;
        ok("prompt", self.soon("prompt", self.api.prompt(session, &prompt)).await);

        let is_answer = |info: &runner_core::session::MessageInfo| {
            info.role == Role::Assistant && info.parent.as_ref() == Some(ours)
        };
        let answered = |event: &AgentEvent| match event {
            AgentEvent::Message(info) => {
                is_answer(info) && info.completed && info.finish != Some(Finish::ToolCalls)
            }
            _ => false,
        };
        let seen = self.read_until(&mut events, "the answer's completion", answered).await;
        let place = |wanted: &dyn Fn(&AgentEvent) -> bool| seen.iter().position(wanted);
        let user_at =
            place(&|e| matches!(e, AgentEvent::Message(info) if info.id == *ours && info.role == Role::User));
        let answer_at = place(&|e| matches!(e, AgentEvent::Message(info) if is_answer(info)));
        assert!(user_at.is_some(), "our message must be seen with the id we gave it ({ours}): {seen:?}");
        assert!(user_at < answer_at, "our message must be seen before its answer: {seen:?}");
        let busy = AgentEvent::Status { session: session.clone(), status: SessionStatus::Busy };
        assert!(seen.contains(&busy), "the session must be seen busy: {seen:?}");
        let of_answer = |id: &MessageId| {
            seen.iter().any(|e| matches!(e, AgentEvent::Message(info) if info.id == *id && is_answer(info)))
        };
        let wrote = place(&|e| match e {
            AgentEvent::Delta { message, .. } => of_answer(message),
            AgentEvent::Part { part, .. } => of_answer(&part.message),
            _ => false,
        });
        assert!(wrote.is_some(), "what the agent writes must be seen: {seen:?}");
        self.becomes_idle(session).await;
        self.stored_in_order(session, &prompt).await
    }

    async fn stored_in_order(&self, session: &SessionId, prompt: &Prompt) -> Vec<MessageId> {
        let messages = self.messages(session).await;
        let user_at = messages.iter().position(|m| m.info.id == prompt.message);
        let user = user_at.and_then(|at| messages.get(at));
        let text = user.map(Message::text).unwrap_or_default();
        assert_eq!(text, prompt.text, "our message must be stored as we sent it: {messages:?}");
        assert_eq!(user.map(|m| m.info.role), Some(Role::User), "our message must be the user's");
        let answer_at = messages.iter().position(|m| m.info.parent.as_ref() == Some(&prompt.message));
        assert!(user_at < answer_at, "the answer must come after the question: {messages:?}");
        let last = messages.iter().rfind(|m| m.info.parent.as_ref() == Some(&prompt.message));
        assert!(last.is_some_and(|m| m.info.completed), "the answer must be completed: {last:?}");
        assert_eq!(last.and_then(|m| m.info.error.as_ref()), None, "the answer must have no error");
        assert!(last.is_some_and(|m| !m.text().is_empty()), "the answer must have text: {last:?}");
        assert!(messages.iter().all(|m| m.info.session == *session), "all must be of this session");
        messages.into_iter().map(|m| m.info.id).collect()
    }
}
