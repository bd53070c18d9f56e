//! An agent's server in memory, whose turns are scripted, and the connector to it.

mod api;
mod connector;
mod control;
mod ends;
mod play;
mod script;
mod server;
mod streams;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};

use self::control::Readiness;
use self::server::Server;
use crate::faults::{Faults, fault_methods};

pub use self::connector::{ConnectorOp, FakeConnector};
pub use self::script::{TurnScript, aborted, failure, provider_error};
pub use self::server::Incoming;

/// The calls of [`AgentApi`](runner_core::AgentApi).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `health`
    Health,
    /// `warm_up`
    WarmUp,
    /// `create_session`; the log names the title.
    CreateSession,
    /// `prompt`; the log names the session, as for the calls below.
    Prompt,
    /// `abort`
    Abort,
    /// `messages`
    Messages,
    /// `session_status`
    SessionStatus,
    /// `input_requests`
    InputRequests,
    /// `answer_input`; the log names the request.
    AnswerInput,
    /// `events`, the opening of a stream.
    Events,
}

struct Shared {
    faults: Faults<Op>,
    server: Mutex<Server>,
    readiness: Mutex<Readiness>,
    /// Counts the ids of messages, ours and the server's, so that they sort in the order of their making.
    ids: AtomicU64,
    /// Counts deaths; calls and turns of an earlier life end when it changes.
    life: watch::Sender<Life>,
    /// A permit per [`FakeAgent::resume`] that no turn has used yet.
    resumes: Semaphore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    alive: bool,
    deaths: u64,
}

/// An [`AgentApi`](runner_core::AgentApi) that keeps sessions in memory and plays scripted turns.
///
/// Clones are handles to the same server. Without a script it answers `ok: ` and the prompt; every session keeps
/// its messages. What it does, it does in the order of a real server: the events on every open stream, and what
/// `messages` and `session_status` report at the same moments. All time passes on tokio's clock.
///
/// ```
/// use futures::StreamExt;
/// use runner_core::session::{AgentEvent, NewSession, Prompt};
/// use runner_core::{AgentApi, Result};
/// use runner_testkit::fake_agent::{FakeAgent, TurnScript};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<()> {
/// let agent = FakeAgent::new();
/// agent.script(
///     TurnScript::new()
///         .reasoning("a file is wanted")
///         .tool("write", serde_json::json!({ "path": "a.txt" }), "written")
///         .text("I wrote a.txt."),
/// );
///
/// let session = agent.create_session(&NewSession { title: "demo".into() }).await?;
/// let mut events = agent.events().await?;
/// let prompt = Prompt::new(agent.next_message_id(), "write a.txt");
/// agent.prompt(&session, &prompt).await?;
/// while let Some(event) = events.next().await {
///     if matches!(event?, AgentEvent::Other(name) if name == "session.idle") {
///         break;
///     }
/// }
/// let messages = agent.messages(&session).await?;
/// assert_eq!(messages.len(), 3, "ours, the step that called the tool, and the answer");
/// assert_eq!(messages[2].text(), "I wrote a.txt.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakeAgent {
    shared: Arc<Shared>,
}

fault_methods!(FakeAgent, Op);

impl FakeAgent {
    /// A server that is up and has no session.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                faults: Faults::default(),
                server: Mutex::new(Server::default()),
                readiness: Mutex::new(Readiness::default()),
                ids: AtomicU64::new(0),
                life: watch::Sender::new(Life { alive: true, deaths: 0 }),
                resumes: Semaphore::new(0),
            }),
        }
    }

    fn faults(&self) -> &Faults<Op> {
        &self.shared.faults
    }
}

impl Default for FakeAgent {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAgent")
    }
}
