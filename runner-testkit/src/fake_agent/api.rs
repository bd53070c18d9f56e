//! The port's calls, each led through its scripted faults.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use runner_core::input::{InputAnswer, InputRequest};
use runner_core::session::{AgentEventStream, Message, NewSession, Prompt, ServerHealth, SessionStatus};
use runner_core::{AgentApi, Error, ErrorKind, MessageId, Result, SessionId};
use tokio::sync::watch;

use super::control::refused;
use super::play::{Halt, Player};
use super::server::{Incoming, Server, Turn, new_message_id};
use super::{FakeAgent, Op};
use crate::faults::lock;

fn unknown(session: &SessionId) -> Error {
    Error::new(ErrorKind::NotFound, "use a session", "no such session").with_session(session)
}

impl FakeAgent {
    /// One call: refused if the server is dead, broken if it dies meanwhile.
    async fn request<T>(
        &self,
        op: Op,
        about: &str,
        effect: impl FnOnce(&Mutex<Server>) -> Result<T>,
    ) -> Result<T> {
        let mut life = self.shared.life.subscribe();
        let lost = async {
            let now = *life.borrow_and_update();
            if now.alive {
                let _ = life.wait_for(|life| life.deaths != now.deaths).await;
            }
            refused("talk to the agent's server")
        };
        let effect = async {
            lock(&self.shared.readiness).check(op)?;
            effect(&self.shared.server)
        };
        self.faults().call_unless(lost, op, about, effect).await
    }

    /// Plays the session's turns, one after the other, until none is queued.
    async fn play_all(
        self,
        session: SessionId,
        mut next: Turn,
        mut abort: watch::Receiver<bool>,
        deaths: u64,
    ) {
        loop {
            let player = Player::new(&self, &session, &next.user, abort, deaths);
            let ended = player.play(next.script).await;
            let mut server = lock(&self.shared.server);
            if ended == Err(Halt::Dead) || server.deaths != deaths {
                return;
            }
            let Some(entry) = server.sessions.get_mut(&session) else { return };
            let Some(queued) = entry.queue.pop_front() else {
                entry.turn = None;
                return;
            };
            next = queued;
            let (stop, stopped) = watch::channel(false);
            entry.turn = Some(stop);
            abort = stopped;
        }
    }

    /// Stores an accepted prompt and plays its turn, at once or after those before it.
    fn accept(&self, server: &mut Server, session: &SessionId, prompt: &Prompt, turn: Turn) {
        server.prompts.push((session.clone(), prompt.clone()));
        if !server.put_user(session, &prompt.message, &prompt.text) {
            return;
        }
        let deaths = server.deaths;
        let Some(entry) = server.sessions.get_mut(session) else { return };
        if entry.turn.is_some() {
            entry.queue.push_back(turn);
            return;
        }
        let (stop, stopped) = watch::channel(false);
        entry.turn = Some(stop);
        tokio::spawn(self.clone().play_all(session.clone(), turn, stopped, deaths));
    }
}

#[async_trait]
impl AgentApi for FakeAgent {
    async fn health(&self) -> Result<ServerHealth> {
        self.request(Op::Health, "", |_| Ok(ServerHealth { version: "fake".to_owned() })).await
    }

    async fn warm_up(&self) -> Result<()> {
        self.request(Op::WarmUp, "", |_| Ok(())).await
    }

    async fn create_session(&self, session: &NewSession) -> Result<SessionId> {
        self.request(Op::CreateSession, &session.title, |server| Ok(lock(server).add_session(None))).await
    }

    fn next_message_id(&self) -> MessageId {
        new_message_id(&self.shared.ids)
    }

    async fn prompt(&self, session: &SessionId, prompt: &Prompt) -> Result<()> {
        self.request(Op::Prompt, session.as_str(), |server| {
            let (history, scripted, responder) = {
                let mut server = lock(server);
                let history = server.sessions.get(session).ok_or_else(|| unknown(session))?.messages.clone();
                // An id that was used before begins no turn, so it uses up no script.
                let fresh = history.iter().all(|m| m.info.id != prompt.message);
                let scripted = if fresh { server.scripts.pop_front() } else { None };
                (history, scripted, Arc::clone(&server.responder))
            };
            // A test's own code: never called under the lock.
            let respond = || responder(&Incoming { session, prompt, history: &history });
            let script = scripted.unwrap_or_else(respond);
            self.accept(&mut lock(server), session, prompt, Turn { user: prompt.message.clone(), script });
            Ok(())
        })
        .await
    }

    async fn abort(&self, session: &SessionId) -> Result<()> {
        self.request(Op::Abort, session.as_str(), |server| {
            let mut server = lock(server);
            if server.ignores_aborts {
                return Ok(());
            }
            // The answer is the same whether there was something to abort or not.
            if let Some(entry) = server.sessions.get_mut(session) {
                entry.queue.clear();
                if let Some(stop) = &entry.turn {
                    stop.send_replace(true);
                }
            }
            Ok(())
        })
        .await
    }

    async fn messages(&self, session: &SessionId) -> Result<Vec<Message>> {
        self.request(Op::Messages, session.as_str(), |server| {
            Ok(lock(server).sessions.get(session).ok_or_else(|| unknown(session))?.messages.clone())
        })
        .await
    }

    async fn session_status(&self, session: &SessionId) -> Result<SessionStatus> {
        self.request(Op::SessionStatus, session.as_str(), |server| Ok(lock(server).status(session))).await
    }

    async fn input_requests(&self) -> Result<Vec<InputRequest>> {
        self.request(Op::InputRequests, "", |server| {
            Ok(lock(server).requests.iter().map(|(request, _)| request.clone()).collect())
        })
        .await
    }

    async fn answer_input(&self, request: &InputRequest, answer: &InputAnswer) -> Result<()> {
        answer.check(request)?;
        self.request(Op::AnswerInput, &request.id, |server| {
            let mut server = lock(server);
            let place = server.requests.iter().position(|(open, _)| open.id == request.id);
            let Some(place) = place else {
                let message = "no such request";
                return Err(Error::new(ErrorKind::NotFound, "answer a request", message)
                    .with_session(&request.session));
            };
            let (_, tell) = server.requests.remove(place);
            // Of an aborted turn: nobody listens any more.
            drop(tell.send(answer.clone()));
            Ok(())
        })
        .await
    }

    async fn events(&self) -> Result<AgentEventStream> {
        self.request(Op::Events, "", |server| Ok(lock(server).streams.open())).await
    }
}
