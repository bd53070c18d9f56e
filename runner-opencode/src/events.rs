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

use crate::decode::{MARKER, decode};
use crate::error::Failure;
use crate::frames::{Frames, Input};
use crate::ids::Ids;
use crate::message_id;
use crate::wire::cut;
use crate::wire::event::{self, Kind};

const READ: &str = "read the agent's events";

/// How long an echo may take to show before the next one is sent. It takes some 5 ms where the stream listens.
const ECHO_WAIT: Duration = Duration::from_millis(50);

/// Bytes of frames that are kept while the stream is being proved: what a busy server sends in the meantime.
const HELD: usize = 32 << 20;

/// Reads the first frame. It says that the stream is open; whether it is, [`prove`] tells.
pub(crate) async fn connected(frames: &mut Frames<impl Input>) -> Result<(), Failure> {
    let frame = frames.next().await.ok_or(Failure::EndedEarly)??;
    match event::read(&text(frame)?) {
        Ok(first) if Kind::of(&first.kind) == Kind::Connected => Ok(()),
        Ok(first) => Err(Failure::NotConnected(cut(&first.kind, 100).to_owned())),
        Err(error) => Err(Failure::unreadable(&error)),
    }
}

fn text(frame: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(frame).map_err(|_| Failure::NotText)
}

/// Proves that everything from here on is seen: asks for an event that names a session of its own, until the stream
/// shows one. `held` keeps the frames that came before it. The caller bounds the time.
pub(crate) async fn prove<F: Future<Output = Result<(), Failure>>>(
    frames: &mut Frames<impl Input>,
    held: &mut Vec<String>,
    echo: impl Fn(String) -> F,
) -> Result<(), Failure> {
    let mut bytes = 0;
    loop {
        let marker = message_id::next().as_str().replacen("msg_", MARKER, 1);
        echo(marker.clone()).await?;
        let shown = async {
            while let Some(frame) = frames.next().await {
                let frame = text(frame?)?;
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
pub(crate) fn stream<S: Input>(frames: Frames<S>, held: Vec<String>, directory: String) -> AgentEventStream {
    Events { frames, held: held.into_iter(), directory, ids: Ids::default(), begun: false }.boxed()
}

/// A type and not a chain of combinators: those move the state of the framing about with each event, which cost a
/// third of all the time.
struct Events<S> {
    frames: Frames<S>,
    held: std::vec::IntoIter<String>,
    directory: String,
    ids: Ids,
    /// Whether `Connected` was delivered, whose frame has been read before this stream was made.
    begun: bool,
}

impl<S: Input> Stream for Events<S> {
    type Item = Result<AgentEvent, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { frames, held, directory, ids, begun } = self.get_mut();
        if !*begun {
            *begun = true;
            return Poll::Ready(Some(Ok(AgentEvent::Connected)));
        }
        let event = match held.by_ref().find_map(|frame| decode(frame.as_bytes(), directory, ids)) {
            Some(event) => Some(event),
            None => ready!(frames.poll(cx, |frame| decode(frame, directory, ids))),
        };
        Poll::Ready(event.map(|event| event.map_err(|failure| failure.into_error(READ))))
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
