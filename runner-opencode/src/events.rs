//! The event stream of one directory.
//!
//! `GET /global/event` and not `/event`: the latter ends when the server throws its instance away. It carries the
//! events of all directories, and most of them twice (once more in their durable form), so both are left out here.
//!
//! Nothing is buffered beyond the frame being read: whoever reads slowly slows the connection. No task runs behind
//! the stream, and dropping it closes the connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::stream::{Stream, StreamExt};
use runner_core::Error;
use runner_core::session::{AgentEvent, AgentEventStream};

use crate::convert;
use crate::error::Failure;
use crate::sse::Frames;
use crate::wire::{cut, event};

const READ: &str = "read the agent's events";

/// What the server calls the directory of events that belong to none.
const EVERYWHERE: &str = "global";

/// Reads the first frame, which proves that everything from here on is seen.
pub(crate) async fn connected(frames: &mut Frames) -> Result<(), Failure> {
    let frame = frames.next().await.ok_or(Failure::EndedEarly)??;
    match event::read(&frame) {
        Ok(first) if matches!(first.event, event::Event::Connected) => Ok(()),
        Ok(first) => Err(Failure::NotConnected(cut(&first.kind, 100).to_owned())),
        Err(error) => Err(Failure::unreadable(&error)),
    }
}

/// The events of a directory, beginning with [`AgentEvent::Connected`].
pub(crate) fn stream(frames: Frames, directory: String) -> AgentEventStream {
    Events { frames, directory, begun: false }.boxed()
}

/// A type and not a chain of combinators: those move the state of the framing about with each event, which cost a
/// third of all the time.
struct Events {
    frames: Frames,
    directory: String,
    /// Whether `Connected` was delivered, whose frame has been read before this stream was made.
    begun: bool,
}

impl Stream for Events {
    type Item = Result<AgentEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !this.begun {
            this.begun = true;
            return Poll::Ready(Some(Ok(AgentEvent::Connected)));
        }
        loop {
            return Poll::Ready(match ready!(this.frames.poll_next_unpin(cx)) {
                Some(Ok(frame)) => match decode(&frame, &this.directory) {
                    Some(event) => Some(Ok(event)),
                    None => continue,
                },
                Some(Err(failure)) => Some(Err(failure.into_error(READ))),
                None => None,
            });
        }
    }
}

/// One frame; `None` where it is not for this directory, or repeats another one.
pub(crate) fn decode(frame: &str, directory: &str) -> Option<AgentEvent> {
    if event::is_duplicate(frame) {
        return None;
    }
    let envelope = match event::read(frame) {
        Ok(envelope) => envelope,
        Err(error) => {
            tracing::debug!(line = error.line(), column = error.column(), "a frame that is no event");
            return Some(AgentEvent::Other(String::new()));
        }
    };
    // The durable form of an event, in an order of keys that the first look does not know.
    if envelope.kind == "sync" {
        return None;
    }
    match envelope.directory.as_deref() {
        None | Some(EVERYWHERE) => Some(convert::event(envelope)),
        Some(of) if of == directory => Some(convert::event(envelope)),
        Some(_) => None,
    }
}
