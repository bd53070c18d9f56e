//! The calls to one server. One method is one request.

use std::fmt;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::future::join_all;
use runner_core::attachment::Attachment;
use runner_core::input::{InputAnswer, InputRequest};
use runner_core::session::{
    AgentEventStream, Message, NewSession, Prompt, ServerHealth, SessionStatus as Status,
};
use runner_core::{AgentApi, Error, ErrorKind, MessageId, Result, Retry, SessionId};

use crate::call::{Server, within};
use crate::config::OpenCodeConfig;
use crate::error::Failure;
use crate::frames::{Frames, Limits};
use crate::wire::error::one_line;
use crate::wire::session::{CreateSession, Health, InputPart, Model, SendPrompt, Session, StatusMap};
use crate::{convert, events, input, message_id, wire};

/// What this client is proved with, for people.
const SUPPORTED: &str = "1.18.x";
/// The same, for comparing: the server changes its format within a major version.
const SUPPORTED_PREFIX: &str = "1.18.";

/// What the server would otherwise load during the first turn. Measured on 1.18.33, first turn after each alone:
/// `/config/providers` takes a second off it (the provider packages), `/mcp` connects the tool servers, for which a
/// prompt waits up to 30 s each, the others take less. Left out: `/provider` does the same and answers with 6 MB;
/// `/api/*` loads a second copy of the catalogue that no turn uses and that competes with the first one.
const WARM_UP: [&str; 5] = ["/config/providers", "/mcp", "/agent", "/command", "/experimental/tool/ids"];

/// A client for one server.
pub(crate) struct OpenCodeClient {
    server: Server,
    config: OpenCodeConfig,
}

impl OpenCodeClient {
    pub(crate) fn new(server: Server, config: OpenCodeConfig) -> Self {
        Self { server, config }
    }

    /// One of the cheap calls. One that this version does not have, or that is slow, leaves a turn slower and
    /// nothing else; one that the server refuses tells that no turn would work.
    async fn warm(&self, path: &'static str) -> Result<(), Failure> {
        match self.server.json(self.server.get(path), self.config.limits.warm_up).await {
            Ok(_) => Ok(()),
            Err(failure) => match failure {
                Failure::Refused(ref refusal) if refusal.status != 404 => Err(failure),
                Failure::Connect(_) | Failure::Broken(_) => Err(failure),
                harmless => {
                    tracing::warn!(path, reason = %harmless, "a part of the warm-up failed");
                    Ok(())
                }
            },
        }
    }
}

impl OpenCodeClient {
    /// Makes the server send an event that names a session which does not exist. Ending the turn of such a session
    /// is the one request that does so and changes nothing (seen on the real server).
    async fn echo(&self, marker: String) -> Result<(), Failure> {
        let request = self.server.post(&format!("/session/{marker}/abort"));
        self.server.json(request, self.config.limits.open_events).await.map(drop)
    }
}

impl fmt::Debug for OpenCodeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCodeClient").field("base_url", &self.server.base_url()).finish_non_exhaustive()
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(body: &'a str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| Failure::unreadable(&error))
}

#[async_trait]
impl AgentApi for OpenCodeClient {
    async fn health(&self) -> Result<ServerHealth> {
        const OPERATION: &str = "probe the agent's server";
        let answer = self.server.json(self.server.get("/global/health"), self.config.limits.health).await;
        let checked = answer.and_then(|body| {
            let Health { healthy, version } = parse(&body)?;
            if !version.starts_with(SUPPORTED_PREFIX) {
                let found = one_line(&version, 40);
                return Err(Failure::Version { found, supported: SUPPORTED });
            }
            if healthy == Some(false) {
                return Err(Failure::Unhealthy);
            }
            Ok(ServerHealth { version: version.into_owned() })
        });
        checked.map_err(|failure| failure.into_error(OPERATION))
    }

    async fn warm_up(&self) -> Result<()> {
        let calls = join_all(WARM_UP.map(|path| self.warm(path))).await;
        let warmed: Result<(), Failure> = calls.into_iter().collect();
        warmed.map_err(|failure| failure.into_error("warm the agent's server up"))
    }

    async fn create_session(&self, session: &NewSession) -> Result<SessionId> {
        const OPERATION: &str = "make a session";
        let request = self.server.post_json("/session", &CreateSession { title: &session.title });
        let answer = self.server.json(request, self.config.limits.create_session).await;
        let made = answer.and_then(|body| {
            let made: Session<'_> = parse(&body)?;
            if let Some(found) = made.directory.as_deref().filter(|found| *found != self.server.directory()) {
                let expected = self.server.directory().to_owned();
                return Err(Failure::Directory { found: wire::cut(found, 200).to_owned(), expected });
            }
            SessionId::new(made.id).map_err(Failure::Id)
        });
        made.map_err(|failure| failure.into_error(OPERATION))
    }

    fn next_message_id(&self) -> MessageId {
        message_id::next()
    }

    async fn prompt(&self, session: &SessionId, prompt: &Prompt) -> Result<()> {
        let body = SendPrompt {
            message: prompt.message.as_str(),
            model: prompt.model.as_ref().map(|m| Model { provider: m.provider(), model: m.model() }),
            system: prompt.system.as_deref(),
            agent: prompt.mode.as_deref(),
            parts: parts(prompt),
        };
        let request = self.server.post_json(&format!("/session/{session}/prompt_async"), &body);
        let sent = self.server.no_content(request, self.config.limits.prompt).await;
        sent.map_err(|failure| {
            let nothing_was_sent = matches!(failure, Failure::Connect(_));
            let error = failure.into_error("send the prompt").with_session(session);
            if !nothing_was_sent && matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout) {
                return uncertain(error);
            }
            error
        })
    }

    async fn abort(&self, session: &SessionId) -> Result<()> {
        let request = self.server.post(&format!("/session/{session}/abort"));
        let answer = self.server.json(request, self.config.limits.abort).await;
        // `true` also for a session that it does not know: whether it worked is asked for by other means.
        let done = answer.and_then(|body| parse::<serde::de::IgnoredAny>(&body));
        done.map(drop).map_err(|failure| failure.into_error("abort the turn").with_session(session))
    }

    async fn messages(&self, session: &SessionId) -> Result<Vec<Message>> {
        let request = self.server.get(&format!("/session/{session}/message"));
        let answer = self.server.json(request, self.config.limits.messages).await;
        let read =
            answer.and_then(|body| convert::messages(&body).map_err(|error| Failure::unreadable(&error)));
        read.map_err(|failure| failure.into_error("read the session's messages").with_session(session))
    }

    async fn session_status(&self, session: &SessionId) -> Result<Status> {
        let answer = self.server.json(self.server.get("/session/status"), self.config.limits.status).await;
        let read = answer.and_then(|body| {
            let map: StatusMap<'_> = parse(&body)?;
            map.get(session.as_str()).map_or(Ok(Status::Idle), |raw| parse(raw.get()).map(convert::status))
        });
        read.map_err(|failure| failure.into_error("read the session's status").with_session(session))
    }

    async fn input_requests(&self) -> Result<Vec<InputRequest>> {
        let read = input::list(&self.server, &self.config.limits).await;
        read.map_err(|failure| failure.into_error("read what the agent waits for"))
    }

    async fn answer_input(&self, request: &InputRequest, answer: &InputAnswer) -> Result<()> {
        answer.check(request)?;
        let sent = input::answer(&self.server, &self.config.limits, request, answer).await;
        sent.map_err(|failure| {
            failure.into_error("answer the agent's request").with_session(&request.session)
        })
    }

    async fn events(&self) -> Result<AgentEventStream> {
        let limits = &self.config.limits;
        let opened = within(limits.open_events, async {
            let body = self.server.event_stream("/global/event").await?;
            let bounds = Limits { max_frame: self.config.max_frame_bytes, silence: limits.silence };
            let mut frames = Frames::new(body, bounds);
            events::connected(&mut frames).await?;
            let mut held = Vec::new();
            if self.config.prove_events {
                events::prove(&mut frames, &mut held, |marker| self.echo(marker)).await?;
            }
            Ok((frames, held))
        });
        let (frames, held) =
            opened.await.map_err(|failure| failure.into_error("open the agent's event stream"))?;
        Ok(events::stream(frames, held, self.server.directory().to_owned()))
    }
}

/// The text, then the files.
fn parts(prompt: &Prompt) -> Vec<InputPart<'_>> {
    let text = InputPart::Text { text: &prompt.text };
    std::iter::once(text).chain(prompt.attachments.iter().map(file)).collect()
}

fn file(file: &Attachment) -> InputPart<'_> {
    let encoded = BASE64.encode(file.bytes());
    let url = format!("data:{};base64,{encoded}", file.media_type());
    InputPart::File { mime: file.media_type(), filename: file.name(), url }
}

/// A prompt that may or may not have been accepted. Never worth a retry by itself: a second one would be a second turn.
fn uncertain(error: Error) -> Error {
    error.with_retry(Retry::Permanent).with_hint(
        "it is unknown whether the prompt was accepted; look for its message before sending it again",
    )
}
