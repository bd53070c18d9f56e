//! The body of an answer as its bytes come in: what is around it in HTTP is taken off, the rest is lent from the
//! buffer that it was read into.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use httparse::Status;
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

/// Read at once. Some thirty events where the server is ahead; more makes them no cheaper.
const BUFFER: usize = 32 << 10;
/// The longest line with a chunk's size in it: up to 16 digits, and extensions that nobody uses.
const MAX_SIZE_LINE: usize = 1 << 10;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// It comes in chunks, each with its size, and an empty one at the end.
    Chunked,
    /// After so many bytes.
    Length(u64),
    /// With the connection.
    Close,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// So many bytes of the body; in chunks, then the line end behind a chunk.
    Bytes {
        left: u64,
        chunk: bool,
    },
    ChunkEnd,
    ChunkSize,
    BytesUntilClose,
    Nothing,
}

/// Bytes of a connection, and how far they have been read.
pub(crate) struct Buffered<R> {
    io: R,
    buffer: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl<R: AsyncRead + Unpin> Buffered<R> {
    pub(crate) fn new(io: R) -> Self {
        Self { io, buffer: vec![0; BUFFER].into(), begin: 0, end: 0 }
    }

    pub(crate) fn io(&mut self) -> &mut R {
        &mut self.io
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.begin..self.end).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.begin = (self.begin + count).min(self.end);
    }

    /// Reads more, behind what is there. A full buffer and an end of the connection are errors.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match ready!(self.poll_read(cx))? {
            0 => Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        let mut room = ReadBuf::new(self.buffer.get_mut(self.end..).unwrap_or_default());
        if room.capacity() == 0 {
            return Poll::Ready(Err(invalid("it has no end")));
        }
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

/// Ends where the body does; a connection that is cut before that is an error.
pub(crate) struct Body<R> {
    input: Buffered<R>,
    next: Next,
}

impl<R: AsyncRead + Unpin> Body<R> {
    /// The body that begins where the input has been read to.
    pub(crate) fn new(input: Buffered<R>, coding: Coding) -> Self {
        let next = match coding {
            Coding::Chunked => Next::ChunkSize,
            Coding::Length(left) => Next::Bytes { left, chunk: false },
            Coding::Close => Next::BytesUntilClose,
        };
        Self { input, next }
    }

    /// How many bytes of the body are there, after what is no part of it has been read over. `None` if there are none
    /// before more is read.
    fn available(&mut self) -> Result<Option<usize>> {
        loop {
            let there = self.input.bytes();
            let (read, next) = match self.next {
                Next::Nothing => return Ok(Some(0)),
                Next::Bytes { left: 0, chunk } => (0, if chunk { Next::ChunkEnd } else { Next::Nothing }),
                _ if there.is_empty() => return Ok(None),
                Next::Bytes { left, .. } => {
                    return Ok(Some(usize::try_from(left).unwrap_or(usize::MAX).min(there.len())));
                }
                Next::BytesUntilClose => return Ok(Some(there.len())),
                Next::ChunkEnd if there == b"\r" => return Ok(None),
                Next::ChunkEnd if there.starts_with(b"\r\n") => (2, Next::ChunkSize),
                Next::ChunkEnd => return Err(invalid("a chunk is longer than its size")),
                // The parser takes no digits for a zero, which would be a proper end.
                Next::ChunkSize if !there.first().is_some_and(u8::is_ascii_hexdigit) => {
                    return Err(invalid("a chunk has no size"));
                }
                Next::ChunkSize => match httparse::parse_chunk_size(there) {
                    // What may come behind the last chunk tells nothing.
                    Ok(Status::Complete((read, 0))) => (read, Next::Nothing),
                    Ok(Status::Complete((read, left))) => (read, Next::Bytes { left, chunk: true }),
                    Ok(Status::Partial) if there.len() <= MAX_SIZE_LINE => return Ok(None),
                    Ok(Status::Partial) | Err(_) => return Err(invalid("a chunk has no size")),
                },
            };
            self.input.consume(read);
            self.next = next;
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for Body<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<&[u8]>> {
        let this = self.get_mut();
        let available = loop {
            if let Some(available) = this.available()? {
                break available;
            }
            if matches!(this.next, Next::BytesUntilClose) {
                if ready!(this.input.poll_read(cx))? == 0 {
                    this.next = Next::Nothing;
                }
            } else {
                ready!(this.input.poll_more(cx))?;
            }
        };
        Poll::Ready(Ok(this.input.bytes().get(..available).unwrap_or_default()))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        let this = self.get_mut();
        this.input.consume(count);
        if let Next::Bytes { left, .. } = &mut this.next {
            *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }
}

/// Never used: whoever reads a body reads from its buffer. [`AsyncBufRead`] asks for it.
impl<R: AsyncRead + Unpin> AsyncRead for Body<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let there = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = there.len().min(into.remaining());
        into.put_slice(there.get(..count).unwrap_or_default());
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
