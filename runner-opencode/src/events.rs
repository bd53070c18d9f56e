//! The event stream of one directory.
//!
//! `GET /global/event` and not `/event`: the latter ends when the server throws its instance away. It carries the
//! events of all directories, and most of them twice (once more in their durable form), so both are left out here.
//!
//! Nothing is buffered beyond the frame being read: whoever reads slowly slows the connection. No task runs behind
//! the stream, and dropping it closes the connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::stream::{Stream, StreamExt};
use runner_core::Error;
use runner_core::session::{AgentEvent, AgentEventStream};
use tokio::time::timeout;

use crate::error::Failure;
use crate::sse::Frames;
use crate::wire::{cut, event};
use crate::{convert, message_id};

const READ: &str = "read the agent's events";

/// What the ids of sessions begin with that exist only to be named in an event.
const MARKER: &str = "ses_0echo";

/// What the server calls the directory of events that belong to none.
const EVERYWHERE: &str = "global";

/// How long an echo may take to show before the next one is sent. It takes some 5 ms where the stream listens.
const ECHO_WAIT: Duration = Duration::from_millis(50);

/// Bytes of frames that are kept while the stream is being proved: what a busy server sends in the meantime.
const HELD: usize = 32 << 20;

/// Reads the first frame. It says that the stream is open; whether it is, [`prove`] tells.
pub(crate) async fn connected(frames: &mut Frames) -> Result<(), Failure> {
    let frame = frames.next().await.ok_or(Failure::EndedEarly)??;
    match event::read(&frame) {
        Ok(first) if matches!(first.event, event::Event::Connected) => Ok(()),
        Ok(first) => Err(Failure::NotConnected(cut(&first.kind, 100).to_owned())),
        Err(error) => Err(Failure::unreadable(&error)),
    }
}

/// Proves that everything from here on is seen: asks for an event that names a session of its own, until the stream
/// shows one. `held` keeps the frames that came before it. The caller bounds the time.
pub(crate) async fn prove<F: Future<Output = Result<(), Failure>>>(
    frames: &mut Frames,
    held: &mut Vec<String>,
    echo: impl Fn(String) -> F,
) -> Result<(), Failure> {
    let mut bytes = 0;
    loop {
        let marker = message_id::next().as_str().replacen("msg_", MARKER, 1);
        echo(marker.clone()).await?;
        let shown = async {
            while let Some(frame) = frames.next().await {
                let frame = frame?;
                if frame.contains(&marker) {
                    return Ok(());
                }
                bytes += frame.len();
                if bytes > HELD {
                    return Err(Failure::NotProved(HELD));
                }
                held.push(frame);
            }
            Err(Failure::EndedEarly)
        };
        match timeout(ECHO_WAIT, shown).await {
            Ok(proved) => return proved,
            // The echo was sent before the stream listened.
            Err(_elapsed) => {}
        }
    }
}

/// The events of a directory, beginning with [`AgentEvent::Connected`] and the frames that are held.
pub(crate) fn stream(frames: Frames, held: Vec<String>, directory: String) -> AgentEventStream {
    Events { frames, held: held.into_iter(), directory, begun: false }.boxed()
}

/// A type and not a chain of combinators: those move the state of the framing about with each event, which cost a
/// third of all the time.
struct Events {
    frames: Frames,
    held: std::vec::IntoIter<String>,
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
        for frame in this.held.by_ref() {
            if let Some(event) = decode(&frame, &this.directory) {
                return Poll::Ready(Some(Ok(event)));
            }
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
    let event = match envelope.directory.as_deref() {
        None | Some(EVERYWHERE) => convert::event(envelope),
        Some(of) if of == directory => convert::event(envelope),
        Some(_) => return None,
    };
    match event {
        // What is left of an echo, ours or another stream's.
        AgentEvent::Status { ref session, .. } if session.as_str().starts_with(MARKER) => None,
        event => Some(event),
    }
}
