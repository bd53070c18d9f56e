//! The port that an executor holds.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::stream::{BoxStream, Stream, StreamExt};

use crate::error::{Error, ErrorKind, Result};
use crate::event::{RunEvent, RunEventKind};
use crate::ids::TaskId;
use crate::input::InputAnswer;
use crate::logs::{LogOptions, LogStream};
use crate::request::RunRequest;
use crate::result::RunResult;

/// Where a runner stands. The words are those of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunnerStatus {
    /// Asked for; nothing exists yet.
    Pending,
    /// Its container is on the way.
    Starting,
    /// It can take a turn.
    Ready,
    /// It works on a turn.
    Running,
    /// Its container is being stopped.
    Stopping,
    /// Its container is gone, on purpose.
    Stopped,
    /// It broke; the reason is kept.
    Failed,
}

impl RunnerStatus {
    /// The word of the specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for RunnerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A turn under way: a stream of its events that ends after [`RunEventKind::Finished`].
///
/// Events are buffered up to a bound; a reader that falls behind gets [`RunEventKind::Lagged`] and slows nobody.
/// Dropping it only stops listening: the turn goes on, and [`Runner::cancel`] ends it.
pub struct Turn {
    events: BoxStream<'static, RunEvent>,
}

impl Turn {
    /// A turn with these events. They must end with [`RunEventKind::Finished`].
    pub fn new(events: impl Stream<Item = RunEvent> + Send + 'static) -> Self {
        Self { events: events.boxed() }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

impl Stream for Turn {
    type Item = RunEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RunEvent>> {
        self.events.poll_next_unpin(cx)
    }
}

/// One container, one agent server and one session, working on one task.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Runner: fmt::Debug + Send + Sync + 'static {
    /// The task it works on.
    fn task(&self) -> &TaskId;

    /// Where it stands.
    fn status(&self) -> RunnerStatus;

    /// Begins a turn and returns once the server has accepted the prompt. One at a time: while another is under
    /// way it is [`ErrorKind::Busy`]. If the future is dropped before it returns, the turn is aborted.
    async fn run(&self, request: RunRequest) -> Result<Turn>;

    /// Ends the turn under way; it finishes as canceled. Without one, nothing happens. Returns once it has ended.
    async fn cancel(&self) -> Result<()>;

    /// Answers a request of the turn under way, by the id that [`RunEventKind::InputNeeded`] gave. An answer of the
    /// wrong kind is [`ErrorKind::InvalidInput`]; a request that is settled, or is not this turn's, is
    /// [`ErrorKind::NotFound`]. Returns once the server has taken it; if the future is dropped before, it may or may not have.
    async fn answer(&self, request: &str, answer: InputAnswer) -> Result<()>;

    /// What its container wrote.
    async fn logs(&self, options: LogOptions) -> Result<LogStream>;

    /// Ends the turn under way as canceled, stops and removes the container and throws its secrets away. Returns once it is
    /// gone; calling it again, or at the same time, waits for the same end.
    async fn stop(&self) -> Result<()>;
}

/// For callers who only want the end.
#[async_trait]
pub trait RunnerExt: Runner {
    /// Runs a turn to its end and gives its result; how it ended is in [`RunResult::outcome`]. Dropped after the
    /// prompt was accepted it only stops listening, like a dropped [`Turn`].
    async fn run_to_end(&self, request: RunRequest) -> Result<RunResult> {
        let mut turn = self.run(request).await?;
        while let Some(event) = turn.next().await {
            if let RunEventKind::Finished(result) = event.kind {
                return Ok((*result).clone());
            }
        }
        Err(Error::new(ErrorKind::Internal, "run a turn", "its events ended without an outcome")
            .with_task(self.task()))
    }
}

impl<R: Runner + ?Sized> RunnerExt for R {}
