//! Plays the steps of a turn.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use runner_core::input::{InputAnswer, InputKind, InputRequest};
use runner_core::session::{
    AgentEvent, Finish, Message, MessageInfo, Part, PartBody, Role, SessionStatus, ToolState, Usage,
};
use runner_core::{MessageId, SessionId};
use serde_json::{Value, json};
use tokio::sync::{SemaphorePermit, oneshot, watch};

use super::FakeAgent;
use super::script::{Step, TurnScript};
use super::server::{Server, begun, new_message_id};
use crate::faults::lock;

/// Why a turn does not play to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    Aborted,
    /// What it asked for was refused.
    Refused,
    /// The server died; there is nobody left to say anything.
    Dead,
}

/// The message under way.
pub(super) struct Current {
    pub(super) info: MessageInfo,
    pub(super) called_tools: bool,
}

pub(super) struct Player {
    pub(super) agent: FakeAgent,
    pub(super) session: SessionId,
    pub(super) user: MessageId,
    pub(super) abort: watch::Receiver<bool>,
    pub(super) deaths: u64,
    pub(super) current: Option<Current>,
    /// The tool call that runs.
    pub(super) tool: Option<Part>,
    /// The text that is being written, as far as it is.
    pub(super) writing: Option<Part>,
    pub(super) retrying: bool,
    usage: Usage,
    pace: Duration,
    calls: u64,
}

impl Player {
    pub(super) fn new(
        agent: &FakeAgent,
        session: &SessionId,
        user: &MessageId,
        abort: watch::Receiver<bool>,
        deaths: u64,
    ) -> Self {
        Self {
            agent: agent.clone(),
            session: session.clone(),
            user: user.clone(),
            abort,
            deaths,
            current: None,
            tool: None,
            writing: None,
            retrying: false,
            usage: Usage::default(),
            pace: Duration::ZERO,
            calls: 0,
        }
    }

    /// Changes the server, unless this turn died with an earlier life of it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Server) -> T) -> Result<T, Halt> {
        let mut server = lock(&self.agent.shared.server);
        if server.deaths == self.deaths { Ok(change(&mut server)) } else { Err(Halt::Dead) }
    }

    /// Waits for something, unless the turn is halted first.
    pub(super) async fn until<T>(&mut self, awaited: impl Future<Output = T>) -> Result<T, Halt> {
        let mut life = self.agent.shared.life.subscribe();
        tokio::select! {
            biased;
            _ = life.wait_for(|life| life.deaths != self.deaths) => Err(Halt::Dead),
            // An error is a session whose turn was forgotten, which only a death does.
            asked = self.abort.wait_for(|abort| *abort) => Err(if asked.is_ok() { Halt::Aborted } else { Halt::Dead }),
            value = awaited => Ok(value),
        }
    }

    pub(super) async fn wait(&mut self, time: Duration) -> Result<(), Halt> {
        if time.is_zero() {
            // Others get their turn between two steps, as they would with a real server.
            self.until(tokio::task::yield_now()).await
        } else {
            self.until(tokio::time::sleep(time)).await
        }
    }

    async fn held(&mut self) -> Result<(), Halt> {
        let agent = self.agent.clone();
        let permit = self.until(agent.shared.resumes.acquire()).await?;
        permit.map_err(|_| Halt::Dead)?.forget();
        Ok(())
    }

    /// Plays a whole turn and its end. Boxed, because a sub-agent's turn is played inside its parent's.
    pub(super) fn play(
        mut self,
        script: TurnScript,
    ) -> Pin<Box<dyn Future<Output = Result<String, Halt>> + Send>> {
        Box::pin(async move {
            self.usage = script.usage;
            self.pace = script.pace;
            let played = self.play_through(&script).await;
            match played {
                Err(Halt::Aborted) => self.end_aborted()?,
                // No error, no further word: the model is not asked again.
                Err(Halt::Refused) => {
                    self.open(true)?;
                    self.close(Some(&Finish::ToolCalls))?;
                    self.become_idle(false)?;
                }
                Ok(()) | Err(Halt::Dead) => {}
            }
            match played {
                Err(Halt::Refused) => {}
                other => other?,
            }
            let server = lock(&self.agent.shared.server);
            let messages = server.sessions.get(&self.session).map(|s| s.messages.as_slice());
            let answer = messages.unwrap_or_default().iter().rfind(|m| m.info.role == Role::Assistant);
            Ok(answer.map(Message::text).unwrap_or_default())
        })
    }

    async fn play_through(&mut self, script: &TurnScript) -> Result<(), Halt> {
        self.wait(Duration::ZERO).await?;
        if self.begin_refused(&script.end).await? {
            return Ok(());
        }
        self.change(|server| server.set_status(&self.session, SessionStatus::Busy))?;
        for step in &script.steps {
            self.wait(self.pace).await?;
            self.play_step(step).await?;
        }
        self.wait(self.pace).await?;
        self.end(script).await
    }

    async fn play_step(&mut self, step: &Step) -> Result<(), Halt> {
        match step {
            Step::Wait(time) => self.wait(*time).await,
            Step::Hold => self.held().await,
            Step::Text(deltas) => self.write(deltas, PartBody::Text).await,
            Step::Reasoning(deltas) => self.write(deltas, PartBody::Reasoning).await,
            Step::ToolBegins { tool, input } => self.tool_begins(tool, input).await,
            Step::ToolProgress(output) => {
                self.tool_becomes(|input| ToolState::Running { input, output: Some(output.clone()) })
            }
            Step::ToolEnds { ok, text } => self.tool_ends(*ok, text),
            Step::SubAgent(script) => self.sub_agent(script).await,
            Step::Retry { attempt, message, wait } => self.retry(*attempt, message, *wait).await,
            Step::Ask(kind) => self.ask(kind).await,
            Step::Failure(failure) => self.change(|server| server.fail(&self.session, failure)),
            Step::Summary(text) => self.summary(text),
            Step::Break(finish) => {
                self.open(false)?;
                self.close(Some(finish))
            }
            Step::Event(event) => self.change(|server| server.emit(event)),
        }
    }

    /// Makes sure that a message is under way. What is not a tool call does not join one that has called tools.
    pub(super) fn open(&mut self, for_tool: bool) -> Result<MessageInfo, Halt> {
        if let Some(current) = &self.current
            && (for_tool || !current.called_tools)
        {
            return Ok(current.info.clone());
        }
        self.close(Some(&Finish::ToolCalls))?;
        let info = begun(new_message_id(&self.agent.shared.ids), &self.session, &self.user);
        self.change(|server| {
            server.put_message(&info);
            server.emit_other("session.updated");
            server.emit_other("session.diff");
            server.set_status(&self.session, SessionStatus::Busy);
            let part = server.new_part(&info.id, PartBody::Other("step-start".to_owned()));
            server.put_part(&self.session, &part);
        })?;
        self.current = Some(Current { info: info.clone(), called_tools: false });
        Ok(info)
    }

    /// Ends the message under way, if there is one.
    pub(super) fn close(&mut self, finish: Option<&Finish>) -> Result<(), Halt> {
        let Some(Current { mut info, .. }) = self.current.take() else { return Ok(()) };
        self.change(|server| {
            let part = server.new_part(&info.id, PartBody::StepFinish { usage: self.usage });
            server.put_part(&self.session, &part);
            info.finish = finish.cloned();
            info.usage = self.usage;
            server.put_message(&info);
            info.completed = true;
            server.put_message(&info);
        })
    }

    async fn write(&mut self, deltas: &[String], body: fn(String) -> PartBody) -> Result<(), Halt> {
        let info = self.open(false)?;
        let mut part = self.change(|server| {
            let part = server.new_part(&info.id, body(String::new()));
            server.put_part(&self.session, &part);
            part
        })?;
        let mut whole = String::new();
        for (place, delta) in deltas.iter().enumerate() {
            if place > 0 {
                self.wait(self.pace).await?;
            }
            whole.push_str(delta);
            part.body = body(whole.clone());
            self.writing = Some(part.clone());
            self.change(|server| {
                server.emit(&AgentEvent::Delta {
                    session: self.session.clone(),
                    message: info.id.clone(),
                    part: part.id.clone(),
                    text: delta.clone(),
                });
            })?;
        }
        self.writing = None;
        // The server stores the text once it is whole.
        self.change(|server| server.put_part(&self.session, &part))
    }

    async fn tool_begins(&mut self, tool: &str, input: &Value) -> Result<(), Halt> {
        let info = self.open(true)?;
        if let Some(current) = &mut self.current {
            current.called_tools = true;
        }
        self.calls += 1;
        let call_id = format!("call_{}_{}", info.id, self.calls);
        let body = PartBody::Tool { call_id, tool: tool.to_owned(), state: ToolState::Pending };
        let part = self.change(|server| {
            let part = server.new_part(&info.id, body);
            server.put_part(&self.session, &part);
            part
        })?;
        self.tool = Some(part);
        self.wait(self.pace).await?;
        self.tool_becomes(|_| ToolState::Running { input: input.clone(), output: None })
    }

    /// Changes the running tool call; given its input as far as it is known.
    pub(super) fn tool_becomes(&mut self, next: impl FnOnce(Value) -> ToolState) -> Result<(), Halt> {
        let Some(mut part) = self.tool.take() else { return Ok(()) };
        if let PartBody::Tool { state, .. } = &mut part.body {
            let input = match &*state {
                ToolState::Running { input, .. } => input.clone(),
                _ => Value::Null,
            };
            *state = next(input);
        }
        self.change(|server| server.put_part(&self.session, &part))?;
        self.tool = Some(part);
        Ok(())
    }

    fn tool_ends(&mut self, ok: bool, text: &str) -> Result<(), Halt> {
        let text = text.to_owned();
        self.tool_becomes(|input| {
            if ok {
                ToolState::Completed { input, output: text }
            } else {
                ToolState::Failed { input, error: text }
            }
        })?;
        self.tool = None;
        Ok(())
    }

    async fn sub_agent(&mut self, script: &TurnScript) -> Result<(), Halt> {
        self.tool_begins("task", &json!({ "description": "a sub-agent's work" })).await?;
        let child = self.change(|server| server.add_session(Some(&self.session)))?;
        let user = new_message_id(&self.agent.shared.ids);
        self.change(|server| server.put_user(&child, &user, "a sub-agent's work"))?;
        let player = Self::new(&self.agent, &child, &user, self.abort.clone(), self.deaths);
        let answer = player.play(script.clone()).await?;
        self.tool_ends(true, &answer)
    }

    async fn retry(&mut self, attempt: u32, message: &str, wait: Duration) -> Result<(), Halt> {
        self.open(false)?;
        // A date, as the server gives it; tokio's clock knows none.
        let due = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() + wait;
        let next_at_ms = u64::try_from(due.as_millis()).ok();
        let status = SessionStatus::Retry { attempt, message: message.to_owned(), next_at_ms };
        self.change(|server| server.set_status(&self.session, status))?;
        self.retrying = true;
        self.wait(wait).await?;
        self.retrying = false;
        self.change(|server| server.set_status(&self.session, SessionStatus::Busy))
    }

    /// Asks, and does what it is told.
    async fn ask(&mut self, kind: &InputKind) -> Result<(), Halt> {
        self.calls += 1;
        let id: Arc<str> = format!("req_{}_{}", self.user, self.calls).into();
        let call_id = self.tool.as_ref().and_then(|part| match &part.body {
            PartBody::Tool { call_id, .. } => Some(call_id.clone()),
            _ => None,
        });
        let request =
            InputRequest { id: Arc::clone(&id), session: self.session.clone(), kind: kind.clone(), call_id };
        let (tell, told) = oneshot::channel();
        self.change(|server| {
            server.requests.push((request.clone(), tell));
            server.emit(&AgentEvent::InputNeeded(Box::new(request)));
        })?;
        let agent = self.agent.clone();
        let answer = self
            .until(async {
                tokio::select! {
                    biased;
                    answer = told => answer.unwrap_or(InputAnswer::Allow),
                    permit = agent.shared.resumes.acquire() => {
                        permit.map(SemaphorePermit::forget).unwrap_or_default();
                        InputAnswer::Allow
                    }
                }
            })
            .await?;
        self.change(|server| {
            server.requests.retain(|(request, _)| request.id != id);
            server.emit(&AgentEvent::InputSettled { session: self.session.clone(), request: id });
        })?;
        match answer {
            InputAnswer::Deny { message } => {
                let goes_on = message.is_some() && matches!(kind, InputKind::Permission { .. });
                self.tool_ends(false, &message.unwrap_or_else(|| "rejected".to_owned()))?;
                if goes_on { Ok(()) } else { Err(Halt::Refused) }
            }
            InputAnswer::Answers(answers) => {
                let chosen: Vec<String> = answers.into_iter().flatten().collect();
                self.write(&[chosen.join(", ")], PartBody::Text).await
            }
            _ => Ok(()),
        }
    }

    fn summary(&mut self, text: &str) -> Result<(), Halt> {
        self.close(Some(&Finish::Stop))?;
        let mut info = begun(new_message_id(&self.agent.shared.ids), &self.session, &self.user);
        info.summary = true;
        self.change(|server| {
            server.put_message(&info);
            let part = server.new_part(&info.id, PartBody::Text(text.to_owned()));
            server.put_part(&self.session, &part);
            info.completed = true;
            info.finish = Some(Finish::Stop);
            server.put_message(&info);
            server.emit_other("session.compacted");
        })
    }
}
