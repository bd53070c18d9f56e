//! Talking to a fake agent, for the tests of it.

use std::time::Duration;

use futures::StreamExt;
use runner_core::session::{
    AgentEvent, AgentEventStream, NewSession, PartBody, Prompt, Role, SessionStatus, ToolState,
};
use runner_core::{AgentApi, MessageId, Result, SessionId};
use runner_testkit::fake_agent::FakeAgent;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn session(agent: &FakeAgent) -> SessionId {
    agent.create_session(&NewSession { title: "t".into() }).await.unwrap()
}

pub(crate) fn message(agent: &FakeAgent, text: &str) -> Prompt {
    Prompt::new(agent.next_message_id(), text)
}

pub(crate) async fn say(agent: &FakeAgent, session: &SessionId, text: &str) -> MessageId {
    let prompt = message(agent, text);
    agent.prompt(session, &prompt).await.unwrap();
    prompt.message
}

/// What an event says, in a word or two.
pub(crate) fn word(event: &Result<AgentEvent>) -> String {
    match event {
        Ok(AgentEvent::Connected) => "connected".into(),
        Ok(AgentEvent::Heartbeat) => "heartbeat".into(),
        Ok(AgentEvent::SessionCreated { parent, .. }) => {
            if parent.is_some() {
                "child".into()
            } else {
                "session".into()
            }
        }
        Ok(AgentEvent::Status { status, .. }) => match status {
            SessionStatus::Idle => "idle".into(),
            SessionStatus::Busy => "busy".into(),
            SessionStatus::Retry { attempt, .. } => format!("retry {attempt}"),
        },
        Ok(AgentEvent::Message(info)) => {
            let who = if info.role == Role::User { "user" } else { "answer" };
            let how = match (&info.error, &info.finish, info.completed) {
                (Some(error), _, _) => format!(" {}", error.name),
                (None, Some(finish), true) => format!(" done {finish:?}"),
                (None, None, true) => " done".into(),
                (None, Some(finish), false) => format!(" {finish:?}"),
                (None, None, false) => String::new(),
            };
            format!("{who}{how}")
        }
        Ok(AgentEvent::Part { part, .. }) => match &part.body {
            PartBody::Text(text) => format!("text {text:?}"),
            PartBody::Reasoning(text) => format!("reasoning {text:?}"),
            PartBody::Tool { state, .. } => match state {
                ToolState::Pending => "tool pending".into(),
                ToolState::Running { .. } => "tool running".into(),
                ToolState::Completed { output, .. } => format!("tool {output:?}"),
                ToolState::Failed { error, .. } => format!("tool failed {error:?}"),
            },
            PartBody::StepFinish { .. } => "step-finish".into(),
            PartBody::Other(name) => name.clone(),
            other => format!("{other:?}"),
        },
        Ok(AgentEvent::Delta { text, .. }) => format!("+{text:?}"),
        Ok(AgentEvent::Failure { failure, .. }) => format!("failure {}", failure.name),
        Ok(AgentEvent::InputNeeded(request)) => format!("asks {}", request.name()),
        Ok(AgentEvent::Other(name)) => name.clone(),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("error {:?}", error.kind()),
    }
}

/// The events up to the moment when nothing has come for a second, or to the end of the stream.
pub(crate) async fn words(events: &mut AgentEventStream) -> Vec<String> {
    let mut words = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(SECOND, events.next()).await {
        words.push(word(&event));
    }
    words
}

/// The same without what merely accompanies a turn.
pub(crate) async fn gist(events: &mut AgentEventStream) -> Vec<String> {
    const NOISE: [&str; 6] =
        ["connected", "session.updated", "session.diff", "step-start", "step-finish", "busy"];
    words(events).await.into_iter().filter(|word| !NOISE.contains(&word.as_str())).collect()
}
