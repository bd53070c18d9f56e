//! The one error of the ports: what kind, whether to retry, during which operation, about what, and why.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::container::ExitStatus;
use crate::ids::{AgentId, ContainerId, SessionId, TaskId};
use crate::phase::PhaseTimes;

/// Shorthand for results of the ports.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value given by the caller or the configuration is not acceptable. Never retried.
    InvalidInput,
    /// A run was asked for without any user text. Never retried.
    EmptyPrompt,
    /// The thing named does not exist (any more). Never retried.
    NotFound,
    /// The thing named exists already and belongs to somebody else or to another call.
    AlreadyExists,
    /// The runner or session works on another turn. One turn at a time; try again after it has ended.
    Busy,
    /// The runner is not in a state that allows the call, for instance stopped.
    NotReady,
    /// The operating system, engine or server knows us and refuses (EACCES, 403), or the operator's configuration does
    /// not allow what was asked for.
    PermissionDenied,
    /// The credentials were missing or wrong (401).
    Unauthorized,
    /// No engine answers where one was expected.
    EngineUnavailable,
    /// The image is not there and could not be fetched.
    ImageUnavailable,
    /// The workspace cannot be used: not a directory, not writable, owned by somebody else.
    Workspace,
    /// A limit of the host was hit: disk, address pools, processes. Starts on this host will fail until it is mended.
    HostResources,
    /// The engine refused or failed an operation for another reason; the message is the engine's.
    Engine,
    /// The container ended while it was needed. [`Error::start_failure`] has the exit and the last log lines.
    ContainerExited,
    /// A budget ran out. The message says which, and what was waited for.
    Timeout,
    /// The connection could not be made, broke, or ended early.
    Connection,
    /// A peer answered something that is not what its interface promises.
    Protocol,
    /// The server is of a version that this library has not been proved against.
    UnsupportedVersion,
    /// The agent or its model provider reported a failure; the message is theirs.
    Agent,
    /// The turn ended without an answer although nothing reported a failure. Never a success.
    EmptyAnswer,
    /// A cap is reached, or admission waited too long.
    Capacity,
    /// The caller, or a shutdown, ended it.
    Canceled,
    /// The engine or server cannot do what was asked.
    Unsupported,
    /// A promise inside this library was broken. Please report it.
    Internal,
}

/// Whether the same call may succeed later. Recovery looks at this and at nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// It will fail again until somebody changes something.
    Permanent,
    /// It may succeed later; retry with a pause.
    Temporary,
    /// It was temporary and the budget of retries is used up.
    Exhausted,
}

/// What is known about a start that did not reach readiness.
#[derive(Debug, Clone, Default)]
pub struct StartFailure {
    /// Time spent in every phase, the failed one last.
    pub phases: PhaseTimes,
    /// How the container ended, if it did.
    pub exit: Option<ExitStatus>,
    /// The last lines the container wrote, oldest first.
    pub log_tail: Vec<String>,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    operation: &'static str,
    message: String,
    hint: Option<String>,
    task: Option<TaskId>,
    agent: Option<AgentId>,
    container: Option<ContainerId>,
    session: Option<SessionId>,
    start_failure: Option<Box<StartFailure>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// An error with its kind, retry status, operation, ids and cause.
///
/// `Display` is one line, whatever a peer's message holds: operation, message, ids and the way out. The cause is in the chain
/// ([`StdError::source`]), never repeated in the text. Secrets must not be put into a message.
///
/// ```
/// use runner_core::{Error, ErrorKind, Retry};
/// let e = Error::new(ErrorKind::EngineUnavailable, "connect to the engine", "no socket at /run/x.sock")
///     .with_hint("start Docker or set DOCKER_HOST")
///     .temporary();
/// assert_eq!(e.retry(), Retry::Temporary);
/// assert_eq!(e.to_string(), "connect to the engine: no socket at /run/x.sock; start Docker or set DOCKER_HOST");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

impl Error {
    /// A permanent error; see [`temporary`](Self::temporary) for the other kind.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: Retry::Permanent,
            operation,
            message: message.into(),
            hint: None,
            task: None,
            agent: None,
            container: None,
            session: None,
            start_failure: None,
            source: None,
        }))
    }

    /// Marks the error as worth a retry.
    #[must_use]
    pub fn temporary(self) -> Self {
        self.with_retry(Retry::Temporary)
    }

    /// Sets the retry status.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Adds the way out: what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Adds the task, unless one is named already: the innermost place knows best.
    #[must_use]
    pub fn with_task(mut self, task: &TaskId) -> Self {
        self.0.task.get_or_insert_with(|| task.clone());
        self
    }

    /// Adds the agent, unless one is named already.
    #[must_use]
    pub fn with_agent(mut self, agent: &AgentId) -> Self {
        self.0.agent.get_or_insert_with(|| agent.clone());
        self
    }

    /// Adds the container, unless one is named already.
    #[must_use]
    pub fn with_container(mut self, container: &ContainerId) -> Self {
        self.0.container.get_or_insert_with(|| container.clone());
        self
    }

    /// Adds the session, unless one is named already.
    #[must_use]
    pub fn with_session(mut self, session: &SessionId) -> Self {
        self.0.session.get_or_insert_with(|| session.clone());
        self
    }

    /// Adds what is known about the failed start.
    #[must_use]
    pub fn with_start_failure(mut self, failure: StartFailure) -> Self {
        self.0.start_failure = Some(Box::new(failure));
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// What was being done, as a verb phrase.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The message alone, without operation, ids and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The task it is about.
    pub fn task(&self) -> Option<&TaskId> {
        self.0.task.as_ref()
    }

    /// The agent it is about.
    pub fn agent(&self) -> Option<&AgentId> {
        self.0.agent.as_ref()
    }

    /// The container it is about.
    pub fn container(&self) -> Option<&ContainerId> {
        self.0.container.as_ref()
    }

    /// The session it is about.
    pub fn session(&self) -> Option<&SessionId> {
        self.0.session.as_ref()
    }

    /// Phase times, exit and last log lines, where a start failed.
    pub fn start_failure(&self) -> Option<&StartFailure> {
        self.0.start_failure.as_deref()
    }

    /// The whole chain as one text, for a log line at the edge.
    ///
    /// ```
    /// use runner_core::{Error, ErrorKind};
    /// let e = Error::new(ErrorKind::Connection, "probe", "no answer").with_source(std::io::Error::other("reset"));
    /// assert_eq!(e.chain(), "probe: no answer: reset");
    /// ```
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

/// Messages come from engines, servers and models too: none of them may forge a log line.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, " "))
    } else {
        Cow::Borrowed(text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}: {}", inner.operation, one_line(&inner.message))?;
        let ids = [
            ("task", inner.task.as_ref().map(TaskId::as_str)),
            ("agent", inner.agent.as_ref().map(AgentId::as_str)),
            ("container", inner.container.as_ref().map(ContainerId::short)),
            ("session", inner.session.as_ref().map(SessionId::as_str)),
        ];
        let mut named = ids.iter().filter_map(|(word, id)| id.map(|id| (word, id))).peekable();
        if named.peek().is_some() {
            f.write_str(" (")?;
            for (place, (word, id)) in named.enumerate() {
                if place > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{word} {id}")?;
            }
            f.write_str(")")?;
        }
        if let Some(exit) = inner.start_failure.as_ref().and_then(|s| s.exit.as_ref()) {
            write!(f, "; {}", one_line(&exit.to_string()))?;
        }
        if let Some(hint) = &inner.hint {
            write!(f, "; {}", one_line(hint))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("text", &self.to_string())
            .field("start_failure", &self.0.start_failure)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_the_thing_and_the_way_out_and_keeps_the_cause_in_the_chain() {
        let e = Error::new(ErrorKind::Workspace, "prepare the workspace", "/data/a is a file")
            .with_agent(&AgentId::new("a").unwrap())
            .with_task(&TaskId::new("t1").unwrap())
            .with_hint("move it away")
            .with_source(std::io::Error::other("ENOTDIR"));
        assert_eq!(
            e.to_string(),
            "prepare the workspace: /data/a is a file (task t1, agent a); move it away"
        );
        assert_eq!(e.chain(), format!("{e}: ENOTDIR"));
    }

    #[test]
    fn a_peers_message_cannot_forge_a_log_line() {
        let e = Error::new(ErrorKind::Agent, "run a turn", "no\n2026-01-01 ERROR forged\u{1b}[2J")
            .with_hint("a\rb");
        assert_eq!(e.to_string(), "run a turn: no 2026-01-01 ERROR forged [2J; a b");
        assert!(e.message().contains('\n'), "the message itself stays as it is");
    }

    #[test]
    fn the_innermost_id_stays() {
        let inner = TaskId::new("inner").unwrap();
        let e = Error::new(ErrorKind::Internal, "x", "y")
            .with_task(&inner)
            .with_task(&TaskId::new("outer").unwrap());
        assert_eq!(e.task(), Some(&inner));
    }
}
