//! What the server is asked during a turn, and what its answers change. At most one request is in flight.

use std::sync::Arc;

use futures::future::BoxFuture;
use runner_core::event::RunEventKind;
use runner_core::input::InputRequest;
use runner_core::session::{AgentEventStream, Message, SessionStatus};
use runner_core::{Error, ErrorKind, Result, Retry};
use tokio::time::Instant;

use super::drive::{Drive, RECONNECT_PAUSE, RECONNECT_PAUSE_MAX, Stage};
use super::inputs::Given;
use super::over::{Cut, Lost, Over};
use crate::actor::answer;

/// A request to the server that has been answered, or has failed.
pub(super) enum Answer {
    Connected(Result<AgentEventStream>),
    Prompted(Result<()>),
    Checked(Result<Checked>),
    Answered(Box<Given>, Result<()>),
    Aborted(Result<()>),
}

/// How the session stands.
pub(super) struct Checked {
    status: SessionStatus,
    messages: Option<Vec<Message>>,
    /// What waits for somebody; not asked of a session that is idle.
    requests: Vec<InputRequest>,
}

/// A request to the server that is in flight.
pub(super) struct Call {
    /// Whether it may be given up for an abort: all but the prompt, which might arrive after it.
    pub(super) droppable: bool,
    pub(super) answer: BoxFuture<'static, Answer>,
}

impl Call {
    fn new(droppable: bool, answer: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self { droppable, answer: Box::pin(answer) }
    }
}

impl Drive {
    pub(super) fn abort_is_due(&self) -> bool {
        let begun = matches!(self.stage, Stage::Unknown | Stage::Accepted);
        begun && self.cutting.as_ref().is_some_and(|c| !c.sent)
    }

    /// The next request to send, if one is due.
    pub(super) fn next_call(&mut self, now: Instant, connected: bool) -> Option<Call> {
        let (api, session) = (Arc::clone(&self.api), self.session.clone());
        if self.abort_is_due() {
            if let Some(cutting) = &mut self.cutting {
                cutting.sent = true;
            }
            return Some(Call::new(false, async move { Answer::Aborted(api.abort(&session).await) }));
        }
        if !connected && self.lost_stream.is_some_and(|(_, at, _)| now >= at) {
            return Some(Call::new(true, async move { Answer::Connected(api.events().await) }));
        }
        if self.stage == Stage::Before {
            // The stream comes first, so that nothing of the turn is missed.
            if !connected {
                return None;
            }
            self.stage = Stage::Sent;
            let prompt = self.prompt.clone();
            return Some(Call::new(
                false,
                async move { Answer::Prompted(api.prompt(&session, &prompt).await) },
            ));
        }
        if self.cutting.is_none() {
            self.inputs.expire(now);
            if let Some(given) = self.inputs.next() {
                return Some(Call::new(false, async move {
                    let sent = api.answer_input(&given.request, &given.answer).await;
                    Answer::Answered(Box::new(given), sent)
                }));
            }
        }
        if now < self.clock.due() {
            return None;
        }
        // A session at work is only asked what it does; its messages are read where that tells something.
        let always_read = !self.fold.is_gapless();
        Some(Call::new(true, async move {
            let read = async {
                let status = api.session_status(&session).await?;
                let idle = status == SessionStatus::Idle;
                let messages = if idle || always_read { Some(api.messages(&session).await?) } else { None };
                // An ask that no stream showed would hang for ever. A list that cannot be read ends no turn.
                let requests = if idle { Ok(Vec::new()) } else { api.input_requests().await };
                let requests = requests.unwrap_or_else(|error| {
                    tracing::debug!(session = %session, error = error.chain(), "what waits could not be listed");
                    Vec::new()
                });
                Ok(Checked { status, messages, requests })
            };
            Answer::Checked(read.await)
        }))
    }

    pub(super) fn on_answer(
        &mut self,
        answer: Answer,
        stream: &mut Option<AgentEventStream>,
    ) -> Option<Over> {
        let now = Instant::now();
        match answer {
            Answer::Connected(Ok(opened)) => {
                *stream = Some(opened);
                self.lost_stream = None;
                if self.stage != Stage::Before {
                    // What was missed is read before anything else; a moment later once more, because the server
                    // may say that the stream is open a moment before it is.
                    self.out.push(RunEventKind::Reconnected);
                    self.clock.note_unsettled(now);
                    self.clock.ask_now(now);
                }
                self.flush();
            }
            Answer::Connected(Err(error)) => return self.not_connected(error, now),
            Answer::Prompted(Ok(())) => self.accepted(now),
            Answer::Prompted(Err(error)) => {
                // Only where the connection failed on the way can the server have it all the same.
                if !matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout) {
                    return Some(Over::Refused(error));
                }
                tracing::warn!(session = %self.session, error = error.chain(), "whether the prompt arrived is not known; asking");
                self.stage = Stage::Unknown;
                self.fold.note_gap();
                self.clock.ask_now(now);
            }
            Answer::Checked(Ok(checked)) => {
                for request in &checked.requests {
                    self.fold.on_request(request);
                }
                self.note_requests(now);
                self.on_checked(&checked.status, checked.messages.as_deref(), now);
            }
            Answer::Answered(given, result) => {
                let told = self.inputs.sent(*given, result, &mut self.out);
                self.flush();
                if let Err(error) = told {
                    self.cut(Cut::Failed(error), now);
                } else {
                    self.clock.note_activity(now);
                }
            }
            Answer::Checked(Err(error)) => {
                tracing::debug!(session = %self.session, error = error.chain(), "the session could not be asked");
                if error.retry() == Retry::Permanent {
                    return Some(self.lost(Lost::Server(error)));
                }
                self.clock.note_unsettled(now);
            }
            Answer::Aborted(result) => {
                if let Err(error) = result {
                    tracing::debug!(session = %self.session, error = error.chain(), "the abort failed");
                }
                if let Some(cutting) = &mut self.cutting {
                    cutting.answered = true;
                }
                self.fold.forget_read();
                self.clock.ask_now(now);
            }
        }
        None
    }

    pub(super) fn not_connected(&mut self, error: Error, now: Instant) -> Option<Over> {
        let (since, _, pause) = self.lost_stream.unwrap_or((now, now, RECONNECT_PAUSE));
        let too_long = now.duration_since(since) >= self.config.reconnect;
        if too_long || error.retry() == Retry::Permanent {
            return Some(self.lost(Lost::Server(error)));
        }
        self.lost_stream = Some((since, now + pause, (pause * 2).min(RECONNECT_PAUSE_MAX)));
        None
    }

    pub(super) fn accepted(&mut self, now: Instant) {
        self.stage = Stage::Accepted;
        // Silence counts from here: before, the server had nothing to say.
        self.clock.note_activity(now);
        let turn = self.feed.turn();
        self.feed
            .send(RunEventKind::Started { session: self.session.clone(), message: self.message.clone() });
        if let Some(reply) = self.reply.take() {
            // A caller who has gone is noticed by what it holds beside: see `kept`.
            answer(reply, Ok(turn));
        }
        self.flush();
    }

    pub(super) fn on_checked(&mut self, status: &SessionStatus, messages: Option<&[Message]>, now: Instant) {
        if let Some(messages) = messages {
            self.fold.on_read_back(messages, *status == SessionStatus::Idle, &mut self.out);
        }
        if self.stage == Stage::Unknown && self.fold.prompt_seen() {
            self.accepted(now);
        }
        // The stream reports retries itself; saying them again with every question would be noise.
        let works = SessionStatus::Busy;
        let told = if matches!(status, SessionStatus::Retry { .. }) { &works } else { status };
        self.fold.on_status(told, &mut self.out);
        self.checked_busy = *status != SessionStatus::Idle;
        if self.checked_busy {
            self.clock.note_busy(now);
        } else {
            self.clock.note_unsettled(now);
        }
        if messages.is_some() && !self.checked_busy {
            self.fold.note_read();
        }
        self.flush();
    }
}
