//! What a test can tell the server to do, and see of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use runner_core::session::{Message, Prompt};
use runner_core::{Error, ErrorKind, Result, SessionId};
use tokio::time::Instant;

use super::script::TurnScript;
use super::server::Incoming;
use super::{FakeAgent, Op};
use crate::faults::lock;

/// What stands between a running process and a server that answers.
#[derive(Default)]
pub(super) struct Readiness {
    probes: usize,
    /// The time until it is up, and when that time is over; it begins with the first call.
    boot: Option<(Duration, Option<Instant>)>,
    unauthorized: bool,
    version: Option<String>,
}

pub(super) fn refused(operation: &'static str) -> Error {
    Error::new(ErrorKind::Connection, operation, "connection refused").temporary()
}

impl Readiness {
    /// Refuses a call that comes too early or with wrong credentials.
    pub(super) fn check(&mut self, op: Op) -> Result<()> {
        let operation = "talk to the agent's server";
        if let Some((takes, over)) = &mut self.boot
            && Instant::now() < *over.get_or_insert_with(|| Instant::now() + *takes)
        {
            return Err(refused(operation));
        }
        if self.probes > 0 {
            self.probes -= usize::from(op == Op::Health);
            return Err(refused(operation));
        }
        if self.unauthorized {
            return Err(Error::new(ErrorKind::Unauthorized, operation, "the password is wrong"));
        }
        if let Some(version) = self.version.as_ref().filter(|_| op == Op::Health) {
            let message = format!("the server is of version {version}");
            return Err(Error::new(ErrorKind::UnsupportedVersion, operation, message));
        }
        Ok(())
    }
}

impl FakeAgent {
    /// The next prompt that has no script yet plays this one.
    pub fn script(&self, script: TurnScript) {
        lock(&self.shared.server).scripts.push_back(script);
    }

    /// Prompts without a script play what this says.
    ///
    /// ```
    /// use runner_testkit::fake_agent::{FakeAgent, TurnScript};
    /// let agent = FakeAgent::new();
    /// agent.respond(|incoming| TurnScript::answer(format!("turn {}", incoming.history.len() / 2 + 1)));
    /// ```
    pub fn respond(&self, responder: impl Fn(&Incoming<'_>) -> TurnScript + Send + Sync + 'static) {
        lock(&self.shared.server).responder = Arc::new(responder);
    }

    /// Lets one turn go on that holds or waits for a permission, now or when it comes to that.
    pub fn resume(&self) {
        self.shared.resumes.add_permits(1);
    }

    /// The server refuses connections until it was probed so often.
    pub fn not_ready_for_probes(&self, probes: usize) {
        lock(&self.shared.readiness).probes = probes;
    }

    /// The server refuses connections for so long after the first call.
    pub fn not_ready_for(&self, time: Duration) {
        lock(&self.shared.readiness).boot = Some((time, None));
    }

    /// The server refuses our credentials, in every call.
    pub fn unauthorized(&self) {
        lock(&self.shared.readiness).unauthorized = true;
    }

    /// The server is of a version outside the supported range, which its health check tells.
    pub fn wrong_version(&self, version: impl Into<String>) {
        lock(&self.shared.readiness).version = Some(version.into());
    }

    /// Event streams end after so many more events; 0 is now. Heartbeats do not count.
    pub fn cut_stream_after(&self, events: u64) {
        lock(&self.shared.server).streams.cut_after(events);
    }

    /// Event streams end before the first event of this range, and no stream ever shows an event of it, also not
    /// one that is opened meanwhile. Events are counted from now, beginning with 0; heartbeats do not count.
    pub fn lose_events(&self, events: Range<u64>) {
        lock(&self.shared.server).streams.lose(events);
    }

    /// Event streams stay open and show nothing, not even heartbeats, or do so again. As from an adapter, a
    /// stream ends with an error after three missed heartbeats.
    pub fn silence(&self, silent: bool) {
        lock(&self.shared.server).streams.silence(silent);
    }

    /// Event streams show heartbeats and lose everything else, or do so no more.
    pub fn mute(&self, muted: bool) {
        lock(&self.shared.server).streams.mute(muted);
    }

    /// Event streams end with an error, now.
    pub fn break_streams(&self, error: &Error) {
        lock(&self.shared.server).streams.fail(error);
    }

    /// The next prompt is refused.
    pub fn fail_prompt(&self, error: Error) {
        self.fail_next(Op::Prompt, error);
    }

    /// The next prompt is accepted, but its caller gets a connection error.
    pub fn accept_but_lose_reply(&self) {
        self.lose_reply(Op::Prompt);
    }

    /// Prompts are neither accepted nor answered, until `unstall(Op::Prompt)`.
    pub fn stall_prompt(&self) {
        self.stall(Op::Prompt);
    }

    /// Aborts answer as always and do nothing, or do something again.
    pub fn ignore_aborts(&self, ignore: bool) {
        lock(&self.shared.server).ignores_aborts = ignore;
    }

    /// The process ends: calls fail with [`ErrorKind::Connection`], also those under way; streams break; turns are
    /// gone without a word. Sessions and messages stay, as on disk.
    pub fn die(&self) {
        {
            let mut server = lock(&self.shared.server);
            server.lose_process();
            let message = "the connection was closed before the end";
            server
                .streams
                .fail(&Error::new(ErrorKind::Connection, "read the server's events", message).temporary());
        }
        // After the state, so that whoever wakes up sees it.
        self.shared.life.send_modify(|life| {
            life.alive = false;
            life.deaths += 1;
        });
    }

    /// A new process on the same state: sessions and messages are there, no turn runs.
    pub fn restart(&self) {
        self.shared.life.send_modify(|life| life.alive = true);
    }

    /// Whether it answers at all.
    pub fn is_alive(&self) -> bool {
        self.shared.life.borrow().alive
    }

    /// Every accepted prompt, in order.
    pub fn prompts(&self) -> Vec<(SessionId, Prompt)> {
        lock(&self.shared.server).prompts.clone()
    }

    /// All sessions, sub-agents' included, in the order of their making.
    pub fn sessions(&self) -> Vec<SessionId> {
        lock(&self.shared.server).sessions.keys().cloned().collect()
    }

    /// A session's messages, without a logged call; empty for one that does not exist.
    pub fn transcript(&self, session: &SessionId) -> Vec<Message> {
        let server = lock(&self.shared.server);
        server.sessions.get(session).map(|s| s.messages.clone()).unwrap_or_default()
    }

    /// How many requests for a person are on the server's list, those of aborted turns included.
    pub fn waiting_requests(&self) -> usize {
        lock(&self.shared.server).requests.len()
    }

    /// How many turns are under way.
    pub fn running_turns(&self) -> usize {
        lock(&self.shared.server).sessions.values().filter(|s| s.turn.is_some()).count()
    }

    /// How many event streams are open.
    pub fn open_streams(&self) -> usize {
        lock(&self.shared.server).streams.count()
    }
}
