//! Requests for a person during a turn: who is asked, until when, and what the agent is told. Pure but for the
//! channel of whoever answers.

use std::collections::VecDeque;
use std::sync::Arc;

use runner_core::event::RunEventKind;
use runner_core::input::{AnsweredBy, InputAnswer, InputKind, InputRequest};
use runner_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::actor::answer;
use crate::config::{InputConfig, Unanswered};

const OPERATION: &str = "answer the agent";

/// One that waits for somebody.
#[derive(Debug)]
struct Pending {
    request: InputRequest,
    deadline: Instant,
}

/// An answer on its way to the server.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) request: InputRequest,
    pub(super) answer: InputAnswer,
    by: AnsweredBy,
    reply: Option<oneshot::Sender<Result<()>>>,
    deadline: Instant,
}

/// The requests of one turn.
#[derive(Debug)]
pub(super) struct Inputs {
    config: InputConfig,
    pending: Vec<Pending>,
    given: VecDeque<Given>,
    /// The request whose answer is with the server right now.
    sending: Option<Arc<str>>,
}

impl Inputs {
    pub(super) fn new(config: InputConfig) -> Self {
        Self { config, pending: Vec::new(), given: VecDeque::new(), sending: None }
    }

    /// The agent asks.
    pub(super) fn asked(&mut self, request: InputRequest, now: Instant, out: &mut Vec<RunEventKind>) {
        let within = self.config.deadline;
        out.push(RunEventKind::InputNeeded { request: request.clone(), within });
        self.pending.push(Pending { request, deadline: now + within });
    }

    /// The server says that a request is settled. Where the answer was ours, it is told when the server has
    /// confirmed it.
    pub(super) fn settled(&mut self, id: &str, out: &mut Vec<RunEventKind>) {
        if self.sending.as_deref() == Some(id) {
            return;
        }
        if let Some(place) = self.pending.iter().position(|p| &*p.request.id == id) {
            let gone = self.pending.remove(place);
            out.push(by_server(gone.request.id));
        }
    }

    /// Somebody answers. Whoever does hears what came of it.
    pub(super) fn give(&mut self, id: &str, given: InputAnswer, reply: oneshot::Sender<Result<()>>) {
        let Some(place) = self.pending.iter().position(|p| &*p.request.id == id) else {
            return answer(reply, Err(unknown(id)));
        };
        let checked = self.pending.get(place).map_or(Ok(()), |p| given.check(&p.request));
        if let Err(error) = checked {
            return answer(reply, Err(error));
        }
        let Pending { request, deadline } = self.pending.remove(place);
        let by = AnsweredBy::Caller;
        self.given.push_back(Given { request, answer: given, by, reply: Some(reply), deadline });
    }

    /// Gives the default to those that nobody answered in time.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(place) = self.pending.iter().position(|p| p.deadline <= now) {
            let Pending { request, deadline } = self.pending.remove(place);
            tracing::warn!(session = %request.session, request = %request, "nobody answered the agent in time");
            let answer = self.default_for(&request);
            self.given.push_back(Given { request, answer, by: AnsweredBy::Deadline, reply: None, deadline });
        }
    }

    fn default_for(&self, request: &InputRequest) -> InputAnswer {
        let permission = matches!(request.kind, InputKind::Permission { .. });
        match self.config.unanswered {
            Unanswered::Allow if permission => InputAnswer::Allow,
            Unanswered::GoOn if permission => InputAnswer::Deny {
                message: Some(
                    "Nobody was there to allow this. Go on without it, or say what you could not do."
                        .to_owned(),
                ),
            },
            _ => InputAnswer::deny(),
        }
    }

    /// The next answer to send.
    pub(super) fn next(&mut self) -> Option<Given> {
        let given = self.given.pop_front()?;
        self.sending = Some(Arc::clone(&given.request.id));
        Some(given)
    }

    /// When the next request runs out.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.iter().map(|p| p.deadline).min()
    }

    /// What came of an answer. An error is one that the turn cannot go on with: nobody but the deadline would ever
    /// answer, and that did not work.
    pub(super) fn sent(
        &mut self,
        given: Given,
        result: Result<()>,
        out: &mut Vec<RunEventKind>,
    ) -> Result<()> {
        self.sending = None;
        let Given { request, answer: told, by, reply, deadline } = given;
        let error = match result {
            Ok(()) => {
                out.push(RunEventKind::InputSettled { request: request.id, by, answer: Some(told) });
                tell(reply, Ok(()));
                return Ok(());
            }
            Err(error) => error,
        };
        if error.kind() == ErrorKind::NotFound {
            out.push(by_server(request.id));
            tell(reply, Err(error));
            return Ok(());
        }
        if let Some(reply) = reply {
            // Whoever answered may do so again; until the deadline nothing is lost.
            self.pending.push(Pending { request, deadline });
            answer(reply, Err(error));
            return Ok(());
        }
        Err(error)
    }

    /// The turn is over: whoever waits is told, and the ids of what was left open are returned.
    pub(super) fn close(&mut self, out: &mut Vec<RunEventKind>) -> Vec<Arc<str>> {
        let mut left = Vec::new();
        for pending in self.pending.drain(..) {
            left.push(Arc::clone(&pending.request.id));
            out.push(by_server(pending.request.id));
        }
        for given in self.given.drain(..) {
            left.push(Arc::clone(&given.request.id));
            let id = given.request.id;
            tell(given.reply, Err(unknown(&id)));
            out.push(by_server(id));
        }
        left
    }
}

/// Tells whoever answered; at the deadline nobody has.
fn tell(reply: Option<oneshot::Sender<Result<()>>>, what: Result<()>) {
    if let Some(reply) = reply {
        answer(reply, what);
    }
}

fn by_server(request: Arc<str>) -> RunEventKind {
    RunEventKind::InputSettled { request, by: AnsweredBy::Server, answer: None }
}

/// No such request waits.
pub(crate) fn unknown(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    Error::new(ErrorKind::NotFound, OPERATION, format!("no request {shown:?} waits for an answer"))
        .with_hint("it was answered, ran out of time, or its turn is over")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner_core::SessionId;

    use super::*;

    const CONFIG: InputConfig =
        InputConfig { deadline: Duration::from_secs(10), unanswered: Unanswered::GoOn };

    fn permission(id: &str) -> InputRequest {
        InputRequest {
            id: id.into(),
            session: SessionId::new("ses_1").unwrap(),
            kind: InputKind::Permission {
                permission: "bash".into(),
                patterns: Vec::new(),
                always: Vec::new(),
            },
            call_id: None,
        }
    }

    fn names(out: &[RunEventKind]) -> Vec<String> {
        out.iter()
            .map(|kind| match kind {
                RunEventKind::InputNeeded { request, .. } => format!("asks {}", request.id),
                RunEventKind::InputSettled { request, by, .. } => format!("{request} by {by:?}"),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_settles_its_request_once() {
        let (mut inputs, mut out) = (Inputs::new(CONFIG), Vec::new());
        inputs.asked(permission("a"), Instant::now(), &mut out);
        let (reply, told) = oneshot::channel();
        inputs.give("a", InputAnswer::Allow, reply);
        let given = inputs.next().expect("an answer");
        // The server tells everybody before it answers us.
        inputs.settled("a", &mut out);
        inputs.sent(given, Ok(()), &mut out).unwrap();
        told.await.unwrap().unwrap();
        assert_eq!(names(&out), ["asks a", "a by Caller"]);

        let (reply, told) = oneshot::channel();
        inputs.give("a", InputAnswer::Allow, reply);
        assert_eq!(told.await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_the_default_is_given_at_the_deadline() {
        for (unanswered, want) in
            [(Unanswered::Deny, InputAnswer::deny()), (Unanswered::Allow, InputAnswer::Allow)]
        {
            let (mut inputs, mut out) = (Inputs::new(InputConfig { unanswered, ..CONFIG }), Vec::new());
            let now = Instant::now();
            inputs.asked(permission("a"), now, &mut out);
            assert_eq!(inputs.due(), Some(now + CONFIG.deadline));
            inputs.expire(now + Duration::from_secs(9));
            assert!(inputs.next().is_none());
            inputs.expire(now + CONFIG.deadline);
            let given = inputs.next().expect("the default");
            assert_eq!(given.answer, want);
            inputs.sent(given, Ok(()), &mut out).unwrap();
            assert_eq!(names(&out), ["asks a", "a by Deadline"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_did_not_arrive_can_be_given_again() {
        let (mut inputs, mut out) = (Inputs::new(CONFIG), Vec::new());
        inputs.asked(permission("a"), Instant::now(), &mut out);
        let (reply, told) = oneshot::channel();
        inputs.give("a", InputAnswer::Allow, reply);
        let given = inputs.next().unwrap();
        let broken = Error::new(ErrorKind::Connection, "x", "broke").temporary();
        inputs.sent(given, Err(broken.clone()), &mut out).unwrap();
        assert_eq!(told.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
        // At the deadline it is the last chance.
        inputs.expire(Instant::now() + CONFIG.deadline);
        let given = inputs.next().unwrap();
        assert!(inputs.sent(given, Err(broken), &mut out).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_open_at_the_end_is_told_and_remembered() {
        let (mut inputs, mut out) = (Inputs::new(CONFIG), Vec::new());
        for id in ["a", "b", "c"] {
            inputs.asked(permission(id), Instant::now(), &mut out);
        }
        let (reply, told) = oneshot::channel();
        inputs.give("b", InputAnswer::Allow, reply);
        inputs.settled("c", &mut out);
        let left = inputs.close(&mut out);
        assert_eq!(left.iter().map(|id| &**id).collect::<Vec<_>>(), ["a", "b"]);
        assert!(told.await.unwrap().is_err());
        assert_eq!(names(&out), ["asks a", "asks b", "asks c", "c by Server", "a by Server", "b by Server"]);
    }
}
