//! The frames of a connection, within limits. A peer that never ends a frame fills the memory, and one that is gone
//! without a word is waited for, unless there is an end to both:
//!
//! - **size**: a frame that is larger than the limit is an error as soon as so much of it has come in. Never more than
//!   that and one piece of the input is held.
//! - **silence**: input that does not come within the limit is an error. Any byte is a sign of life, a comment or a
//!   piece of a large frame too.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncBufRead;
use tokio::time::{Instant, Sleep};

use crate::error::Failure;
use crate::sse::Framing;

/// What may come in between two frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_frame: usize,
    pub(crate) silence: Duration,
}

/// What frames are read from.
pub(crate) trait Input: AsyncBufRead + Send + Unpin + 'static {}

impl<R: AsyncBufRead + Send + Unpin + 'static> Input for R {}

/// The data of the frames of a byte stream. Ends after an error.
pub(crate) struct Frames<R> {
    input: R,
    framing: Framing,
    limit: Duration,
    /// Set anew each time the input begins to be waited for, not with each piece: a timer costs more than a frame.
    silence: Pin<Box<Sleep>>,
    waiting: bool,
    ended: bool,
}

impl<R: Input> Frames<R> {
    pub(crate) fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            framing: Framing::new(limits.max_frame),
            limit: limits.silence,
            silence: Box::pin(tokio::time::sleep(limits.silence)),
            waiting: false,
            ended: false,
        }
    }

    /// Lends out the data of one frame after the other, until something is made of one, or an error. Data is never
    /// empty, and not always text.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&[u8]) -> Option<Result<T, Failure>>,
    ) -> Poll<Option<Result<T, Failure>>> {
        let Self { input, framing, limit, silence, waiting, ended } = self;
        while !*ended {
            let read = match Pin::new(&mut *input).poll_fill_buf(cx) {
                Poll::Ready(Ok([])) => break,
                Poll::Ready(Ok(piece)) => framing.read(piece, &mut take),
                Poll::Ready(Err(error)) => Err(Failure::broken(error)),
                Poll::Pending => {
                    if !std::mem::replace(waiting, true) {
                        silence.as_mut().reset(Instant::now() + *limit);
                    }
                    ready!(silence.as_mut().poll(cx));
                    Err(Failure::Silent(*limit))
                }
            };
            *waiting = false;
            let taken = read.and_then(|(length, taken)| {
                Pin::new(&mut *input).consume(length);
                taken.transpose()
            });
            if let Some(taken) = taken.transpose() {
                *ended = taken.is_err();
                return Poll::Ready(Some(taken));
            }
        }
        *ended = true;
        Poll::Ready(None)
    }

    /// The data of the next frame.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<u8>, Failure>> {
        poll_fn(|cx| self.poll(cx, |data| Some(Ok(data.to_owned())))).await
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
