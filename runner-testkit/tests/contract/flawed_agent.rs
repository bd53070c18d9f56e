//! Servers that break one promise each, all of which the suite must notice.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use runner_core::input::{InputAnswer, InputRequest};
use runner_core::session::{
    AgentEvent, AgentEventStream, Message, NewSession, Prompt, ServerHealth, SessionStatus,
};
use runner_core::{AgentApi, Error, ErrorKind, MessageId, Result, SessionId};
use runner_testkit::contract::agent_api::{self, AgentFixture};
use runner_testkit::fake_agent::{FakeAgent, TurnScript, provider_error};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    IdsRepeat,
    NoConnected,
    EventsAreLost,
    OneSessionForAll,
    UnknownSessionIsMade,
    OurIdIsIgnored,
    AnswersAreEmpty,
    AnswersFail,
    NeverIdle,
    NeverBusy,
    MessagesReversed,
    AbortOfNothingFails,
    NoVersion,
}

use Flaw::*;

const ALL: [Flaw; 13] = [
    IdsRepeat,
    NoConnected,
    EventsAreLost,
    OneSessionForAll,
    UnknownSessionIsMade,
    OurIdIsIgnored,
    AnswersAreEmpty,
    AnswersFail,
    NeverIdle,
    NeverBusy,
    MessagesReversed,
    AbortOfNothingFails,
    NoVersion,
];

#[derive(Debug)]
struct Flawed {
    agent: FakeAgent,
    flaw: Flaw,
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }
}

#[async_trait]
impl AgentApi for Flawed {
    async fn health(&self) -> Result<ServerHealth> {
        let health = self.agent.health().await?;
        Ok(if self.is(NoVersion) { ServerHealth { version: String::new() } } else { health })
    }

    async fn warm_up(&self) -> Result<()> {
        self.agent.warm_up().await
    }

    async fn create_session(&self, session: &NewSession) -> Result<SessionId> {
        let first = self.agent.sessions().into_iter().next().filter(|_| self.is(OneSessionForAll));
        let made = self.agent.create_session(session).await?;
        Ok(first.unwrap_or(made))
    }

    fn next_message_id(&self) -> MessageId {
        let next = self.agent.next_message_id();
        if self.is(IdsRepeat) { MessageId::new("msg_1").unwrap() } else { next }
    }

    async fn prompt(&self, session: &SessionId, prompt: &Prompt) -> Result<()> {
        let mut prompt = prompt.clone();
        if self.is(OurIdIsIgnored) {
            prompt.message = self.agent.next_message_id();
        }
        match self.agent.prompt(session, &prompt).await {
            Err(e) if self.is(UnknownSessionIsMade) && e.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn abort(&self, session: &SessionId) -> Result<()> {
        if self.is(AbortOfNothingFails) && self.agent.running_turns() == 0 {
            return Err(Error::new(ErrorKind::NotFound, "abort", "nothing to abort"));
        }
        self.agent.abort(session).await
    }

    async fn messages(&self, session: &SessionId) -> Result<Vec<Message>> {
        let mut messages = self.agent.messages(session).await?;
        if self.is(MessagesReversed) {
            messages.reverse();
        }
        Ok(messages)
    }

    async fn session_status(&self, session: &SessionId) -> Result<SessionStatus> {
        self.agent.session_status(session).await
    }

    async fn input_requests(&self) -> Result<Vec<InputRequest>> {
        self.agent.input_requests().await
    }

    async fn answer_input(&self, request: &InputRequest, answer: &InputAnswer) -> Result<()> {
        self.agent.answer_input(request, answer).await
    }

    async fn events(&self) -> Result<AgentEventStream> {
        let events = self.agent.events().await?;
        let keep =
            |event: &Result<AgentEvent>, wanted: fn(&AgentEvent) -> bool| event.as_ref().is_ok_and(wanted);
        let (no_connected, never_busy) = (self.is(NoConnected), self.is(NeverBusy));
        let filtered = events.filter(move |event| {
            let lost = no_connected && keep(event, |e| *e == AgentEvent::Connected)
                || never_busy && keep(event, |e| matches!(e, AgentEvent::Status { .. }));
            std::future::ready(!lost)
        });
        Ok(filtered.boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_noticed() {
    for flaw in ALL {
        let agent = FakeAgent::new();
        agent.mute(flaw == EventsAreLost);
        let script = match flaw {
            AnswersAreEmpty => TurnScript::empty(),
            AnswersFail => TurnScript::new().text("x").fail(provider_error(500, "no")),
            NeverIdle => TurnScript::answer("x").stays_busy(),
            _ => TurnScript::answer("x"),
        };
        agent.respond(move |_| script.clone());
        let suite = agent_api::all(Arc::new(Flawed { agent, flaw }), AgentFixture::new().unwrap());
        assert!(crate::is_noticed(suite).await, "{flaw:?} is not noticed");
    }
}
