//! The ports to an agent's server.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::ids::{MessageId, SessionId};
use crate::input::{InputAnswer, InputRequest};
use crate::session::{
    AgentEventStream, Message, NewSession, Prompt, ServerHealth, ServerRequirements, SessionStatus,
};

/// Makes an [`AgentApi`] once the address is known, which is after the container runs.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AgentConnector: fmt::Debug + Send + Sync + 'static {
    /// What a server must be started with.
    fn requirements(&self) -> ServerRequirements;

    /// A client for one server. Nothing is sent yet; an address that cannot be one is
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
    async fn connect(&self, endpoint: Endpoint) -> Result<Arc<dyn AgentApi>>;
}

/// Talks to one agent server. One call is one request with a time limit of its own; nothing is retried inside,
/// and above all no prompt is ever sent twice.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait AgentApi: fmt::Debug + Send + Sync + 'static {
    /// One short probe. A server that is not there yet is [`ErrorKind::Connection`] or [`ErrorKind::Timeout`], both
    /// temporary; wrong credentials and a version outside the supported range are permanent.
    ///
    /// [`ErrorKind::Connection`]: crate::ErrorKind::Connection
    /// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
    async fn health(&self) -> Result<ServerHealth>;

    /// Makes the server load what it would otherwise load during the first turn.
    async fn warm_up(&self) -> Result<()>;

    /// Makes a session. The first one also boots the server's instance for the directory.
    async fn create_session(&self, session: &NewSession) -> Result<SessionId>;

    /// An id for the next prompt, in the server's own form and greater than every earlier one.
    fn next_message_id(&self) -> MessageId;

    /// Hands a prompt over and returns once the server has accepted it; the turn goes on by itself. After
    /// [`ErrorKind::Connection`] or [`ErrorKind::Timeout`] it is unknown whether it was: look for the message.
    ///
    /// [`ErrorKind::Connection`]: crate::ErrorKind::Connection
    /// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
    async fn prompt(&self, session: &SessionId, prompt: &Prompt) -> Result<()>;

    /// Asks the server to end the session's turn. It answers the same for a session it does not know: confirm.
    async fn abort(&self, session: &SessionId) -> Result<()>;

    /// The session's messages in order.
    async fn messages(&self, session: &SessionId) -> Result<Vec<Message>>;

    /// What the session does. `Idle` is also what a server says that knows nothing of it.
    async fn session_status(&self, session: &SessionId) -> Result<SessionStatus>;

    /// Everything that waits for a permission or an answer, of all sessions. Requests of a turn that was aborted
    /// may still be among them: the server does not take them off its list.
    async fn input_requests(&self) -> Result<Vec<InputRequest>>;

    /// Answers a request. One that is settled already, or was never asked, is [`ErrorKind::NotFound`].
    ///
    /// [`ErrorKind::NotFound`]: crate::ErrorKind::NotFound
    async fn answer_input(&self, request: &InputRequest, answer: &InputAnswer) -> Result<()>;

    /// The server's events, from now on. Returns once the stream is open, with its first event read: whatever is
    /// sent to the server after that is seen on it.
    async fn events(&self) -> Result<AgentEventStream>;
}
