//! Lines that a container wrote.

use std::time::SystemTime;

use futures::stream::BoxStream;

use crate::error::Result;

/// Which of its two streams a container wrote a line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line, without its line break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it was written to.
    pub source: LogSource,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether the line was longer than the reader's limit and its rest was dropped.
    pub truncated: bool,
    /// When its first part was written, by the engine's clock, where it tells.
    pub at: Option<SystemTime>,
}

/// Lines as they come. The stream is bounded: a slow reader slows the engine's connection, nothing else. An error is
/// its last item, but for one of kind [`Capacity`](crate::ErrorKind::Capacity): lines that stood there were thrown
/// away by the engine before they could be read, and those that it still has follow.
pub type LogStream = BoxStream<'static, Result<LogLine>>;

/// What to read of a container's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Keep the stream open and deliver new lines until the container ends.
    pub follow: bool,
    /// Begin with at most this many of the last lines; all of them if `None`.
    pub tail: Option<u32>,
    /// Leave out what was written before this moment, by the engine's clock.
    pub since: Option<SystemTime>,
}
