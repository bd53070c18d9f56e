//! Frames of the event stream: bytes in, the data of each frame out.
//!
//! The framing is the crate `sse-stream` 0.3.0. It follows the standard (a split anywhere, LF, CR and CRLF, comments,
//! several `data` lines, a byte order mark, an unfinished last frame thrown away), resumes where the last chunk ended
//! instead of searching a growing buffer again, is maintained (its 0.3.0 is of September 2026), and everything that it
//! depends on is in the tree already. Looked at and not taken: `eventsource-stream` 0.2.3 and `reqwest-eventsource`
//! 0.6.0 on top of it. They parse the unfinished line anew from its beginning with each chunk, which is quadratic in
//! the size of a frame, and bring `nom`; the latter also reconnects by itself, which is decided above.
//!
//! None of them has a limit, and a peer that never ends a frame fills the memory. The limits are here, around the
//! bytes that go in:
//!
//! - **size**: no more input is fetched once so many bytes have come in since the last frame was complete. The buffer
//!   is never larger than the limit and one chunk.
//! - **silence**: input that does not come within the limit is an error. Any byte is a sign of life, a comment or a
//!   piece of a large frame too.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt};
use sse_stream::SseByteStream;
use tokio::time::{Instant, Sleep};

use crate::error::Failure;

/// What may come in between two frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_frame: usize,
    pub(crate) silence: Duration,
}

/// The data of the frames of a byte stream. Ends after an error.
pub(crate) struct Frames {
    frames: SseByteStream<Watched>,
    since_frame: Arc<AtomicUsize>,
}

impl Frames {
    pub(crate) fn new(input: BoxStream<'static, Result<Bytes, reqwest::Error>>, limits: Limits) -> Self {
        let since_frame = Arc::new(AtomicUsize::new(0));
        let silence = Box::pin(tokio::time::sleep(limits.silence));
        let watched =
            Watched { input, limits, since_frame: Arc::clone(&since_frame), silence, waiting: false };
        Self { frames: SseByteStream::new(watched), since_frame }
    }
}

/// Only frames that have data.
impl Stream for Frames {
    type Item = Result<String, Failure>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(frame) = ready!(this.frames.poll_next_unpin(cx)) else { return Poll::Ready(None) };
            return Poll::Ready(Some(match frame {
                Ok(frame) => {
                    this.since_frame.store(0, Ordering::Relaxed);
                    match frame.data {
                        Some(data) if !data.is_empty() => Ok(data),
                        Some(_) | None => continue,
                    }
                }
                Err(sse_stream::Error::Body(source)) => {
                    let failure = source.downcast::<Stopped>().map(|stopped| stopped.0);
                    Err(failure.unwrap_or(Failure::NotText))
                }
                Err(_) => Err(Failure::NotText),
            }));
        }
    }
}

/// Carries our failure through the framing, which asks for an error type and hands it back boxed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Stopped(Failure);

/// The input with its limits.
struct Watched {
    input: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    limits: Limits,
    /// Bytes that came in after the last frame was complete. Shared, because the framing owns this stream; both
    /// halves are polled by one task.
    since_frame: Arc<AtomicUsize>,
    /// Set anew each time the input begins to be waited for, not with each chunk: a timer costs more than a frame.
    silence: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Stream for Watched {
    type Item = Result<Bytes, Stopped>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let waiting_for_end = this.since_frame.load(Ordering::Relaxed);
        if waiting_for_end >= this.limits.max_frame {
            return Poll::Ready(Some(Err(Stopped(Failure::FrameTooLarge(this.limits.max_frame)))));
        }
        match this.input.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                this.waiting = false;
                this.since_frame.store(waiting_for_end.saturating_add(bytes.len()), Ordering::Relaxed);
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Stopped(Failure::transport(error))))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if !this.waiting {
                    this.waiting = true;
                    this.silence.as_mut().reset(Instant::now() + this.limits.silence);
                }
                ready!(this.silence.as_mut().poll(cx));
                Poll::Ready(Some(Err(Stopped(Failure::Silent(this.limits.silence)))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// All that the standard allows in one text, and what it must come to.
    const BODY: &str = "\u{feff}data: a\n\n: comment\n\ndata:b\r\n\r\ndata: c\rdata:\rdata:  d\r\revent: e\nid: 7\n\
                        retry: 1\nnonsense\ndata: \u{e9}\n\ndata\n\nevent: only\n\ndata:{\"x\":\ndata:1}\n\ndata: unfinished";
    const FRAMES: [&str; 5] = ["a", "b", "c\n\n d", "\u{e9}", "{\"x\":\n1}"];
    const LIMITS: Limits = Limits { max_frame: 1000, silence: Duration::from_secs(30) };

    fn pieces<'a>(
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> BoxStream<'static, Result<Bytes, reqwest::Error>> {
        let pieces: Vec<_> = pieces.into_iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).boxed()
    }

    async fn read(mut frames: Frames) -> Vec<Result<String, String>> {
        let mut read = Vec::new();
        while let Some(frame) = frames.next().await {
            read.push(frame.map_err(|failure| failure.to_string()));
        }
        read
    }

    fn expected() -> Vec<Result<String, String>> {
        FRAMES.iter().map(|frame| Ok((*frame).to_owned())).collect()
    }

    #[tokio::test]
    async fn any_two_splits_give_the_same_frames() {
        let bytes = BODY.as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let split = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let input = pieces(split.into_iter().filter(|piece| !piece.is_empty()));
                assert_eq!(
                    read(Frames::new(input, LIMITS)).await,
                    expected(),
                    "split at {first} and {second}"
                );
            }
        }
    }

    #[tokio::test]
    async fn byte_by_byte_gives_the_same_frames() {
        assert_eq!(read(Frames::new(pieces(BODY.as_bytes().chunks(1)), LIMITS)).await, expected());
    }

    #[tokio::test]
    async fn an_empty_piece_is_no_end() {
        let input = pieces([&b"data: a\n"[..], b"", b"\n"]);
        assert_eq!(read(Frames::new(input, LIMITS)).await, [Ok("a".to_owned())]);
    }

    #[tokio::test]
    async fn a_frame_at_the_limit_is_read_and_one_beyond_ends_the_stream() {
        let frame = |size: usize| format!("data: {}\n\n", "x".repeat(size));
        for (size, fits) in [(900, true), (992, true), (1000, false), (5000, false)] {
            let text = frame(10) + &frame(size) + &frame(20);
            let read = read(Frames::new(pieces(text.as_bytes().chunks(1)), LIMITS)).await;
            assert_eq!(read.len(), if fits { 3 } else { 2 }, "{size}");
            assert_eq!(read.iter().all(Result::is_ok), fits, "{size}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_byte() {
        let beat = |n: u64| async move {
            tokio::time::sleep(Duration::from_secs(n)).await;
            Ok(Bytes::from_static(b":\n"))
        };
        let input = stream::iter([29, 29, 29, 31]).then(beat).boxed();
        let begun = Instant::now();
        let read = read(Frames::new(input, LIMITS)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(29 * 3 + 30));
        assert!(matches!(&read[..], [Err(text)] if text.contains("silent")), "{read:?}");
    }
}
