//! A container's output as a stream of lines.
//!
//! The stream reads from the engine only when its reader asks, and holds one line and one piece of the connection:
//! a slow reader slows the engine's connection and nothing else. Dropping it closes the connection.
//!
//! A followed log is one log, over as many connections as it takes. Its end is the container's to say, not the
//! connection's: engines cut a follow when they are restarted, close that of a container that has not been started
//! at once, and have been seen to end one before the last output (20.10.24 under load). So an end is looked into:
//! while the container lives, reading goes on where it stopped; once it has ended, what is left is read. Nothing is
//! lost or repeated by that, see `position.rs`.
//!
//! Unless the container writes faster than its log is read. Then the engine throws the oldest file away; what is
//! lost is told, as an error between two lines, after which reading goes on. And a follow is not what it seems then
//! (20.10.24, measured with 4 KiB to 10 MiB a file): when a file is rotated it reads the new one from its start
//! again, or skips a whole file that is still there, or ends with "no such file", or ends early. A reading without
//! following is right: it sees the files as they are at one moment. So the repetitions are recognized, the ends are
//! looked into, and after every eighth of a file reading is made sure of in the other way, for as long as there is
//! much to read. What is left leaves no trace: what a burst of more than a file on a quiet log lets the engine skip,
//! and what was thrown away before reading began.

mod entries;
mod frames;
mod lines;
mod position;
mod repeat;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use runner_core::logs::{LogLine, LogOptions, LogSource, LogStream};
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result, Retry};
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::config::LogLimits;
use crate::engine::Engine;
use crate::error::{EngineError, clean};
use crate::logs::entries::{Entries, Output};
use crate::logs::lines::{LineJoiner, Ready};
use crate::stamp::Stamp;
use crate::wait::inspect;

const OPERATION: &str = "read the container's log";

/// Longest pause between questions for the log of a container that is not started yet.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// A connection that has stood for so long, or has brought something new, was one: the next absence of the engine
/// gets the whole time again.
const STEADY: Duration = Duration::from_secs(1);

/// The part of a log file after which the reading of a followed log is made sure of.
const PART_OF_FILE: u64 = 8;

/// What an entry of a log file takes beside its text: its stream, its moment, and the words around them.
const ENTRY_BYTES: usize = 70;

pub(crate) async fn open(
    engine: Arc<Engine>,
    id: &ContainerId,
    options: LogOptions,
    limits: &LogLimits,
) -> Result<LogStream> {
    let line_bytes = limits.line_bytes;
    let mut reader = LogReader {
        body: None,
        entries: Entries::since(options.since.map(Stamp::from_time)),
        out: LineJoiner::new(LogSource::Stdout, line_bytes),
        err: LineJoiner::new(LogSource::Stderr, line_bytes),
        ready: Ready::new(),
        failure: None,
        done: false,
        follow: options.follow,
        sure_after: usize::try_from(limits.file_bytes / PART_OF_FILE).unwrap_or(usize::MAX),
        came: 0,
        came_before: 0,
        making_sure: false,
        retries: retries(&engine),
        opened: Instant::now(),
        pause: Duration::from_millis(20),
        engine,
        id: id.clone(),
        options,
    };
    // Failures that are known at once, such as a missing container, belong to the call and not to the stream.
    reader.connect().await?;
    let read = |mut reader: LogReader| async {
        let item = reader.next().await?;
        Some((item, reader))
    };
    Ok(stream::unfold(reader, read).fuse().boxed())
}

/// For an engine that is lost, from the last sign of life.
fn retries(engine: &Engine) -> Backoff {
    Backoff::new(Duration::from_millis(20), Duration::from_secs(2), engine.budgets.reconnect)
}

struct LogReader {
    engine: Arc<Engine>,
    id: ContainerId,
    options: LogOptions,
    body: Option<Incoming>,
    entries: Entries,
    out: LineJoiner,
    err: LineJoiner,
    ready: Ready,
    /// Delivered after the lines that are ready.
    failure: Option<Error>,
    done: bool,
    /// Whether the connection's end leaves a question. Not when only what is there was asked for.
    follow: bool,
    /// After so many bytes of the log file reading is made sure of.
    sure_after: usize,
    /// Text that has come over the connection, and entries that had come before it.
    came: usize,
    came_before: usize,
    /// Reading without following, to follow again once there is little to read.
    making_sure: bool,
    retries: Backoff,
    /// When the connection was made.
    opened: Instant,
    /// Before asking again for the log of a container that is not started yet.
    pause: Duration,
}

impl LogReader {
    /// Connects, to go on where reading stopped.
    async fn connect(&mut self) -> Result<()> {
        let part = if let Some(stamp) = self.entries.resume() {
            // The tail is where reading began; now all that came since is wanted.
            format!("since={stamp}")
        } else {
            let tail = self.options.tail.map_or_else(|| "all".to_owned(), |n| n.to_string());
            // Of the last lines, those since then: each leaves out some of the first, in whatever order. From the
            // beginning of the second, because Podman compares with whole ones; the rest is left out here.
            let since =
                self.options.since.map(|since| format!("&since={}", Stamp::from_time(since).second()));
            format!("tail={tail}{}", since.unwrap_or_default())
        };
        let path = format!(
            "/containers/{}/logs?stdout=true&stderr=true&timestamps=true&follow={}&{part}",
            self.id,
            self.follow && !self.making_sure
        );
        let opened = self.engine.open(Method::GET, &path, self.engine.budgets.read).await;
        self.body = Some(opened.map_err(|e| self.error(e))?);
        self.opened = Instant::now();
        (self.came, self.came_before) = (0, self.entries.count());
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<LogLine>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if let Some(failure) = self.failure.take() {
                return Some(Err(failure));
            }
            if self.done {
                return None;
            }
            self.read().await;
        }
    }

    /// Reads once; what comes of it is in `ready`, `failure` and `done`.
    async fn read(&mut self) {
        let Some(body) = &mut self.body else {
            self.done = true;
            return;
        };
        let idle = self.engine.budgets.stream_idle;
        match timeout(idle, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Some(Err(trouble)) = frame.data_ref().map(|data| self.take(data)) {
                    self.interrupted(Some(trouble)).await;
                } else if self.follow && !self.making_sure && self.has_much() {
                    self.making_sure = true;
                    self.go_on().await;
                }
            }
            Ok(Some(Err(e))) => {
                let cause = self.error(EngineError::Broken { source: Box::new(e) });
                self.interrupted(Some(cause)).await;
            }
            Ok(None) if self.follow && self.making_sure && self.entries.is_whole() => {
                self.making_sure = self.has_much();
                self.go_on().await;
            }
            Ok(None) => self.interrupted(None).await,
            Err(_) if self.follow && !self.making_sure => self.silent().await,
            Err(_) if self.follow => {
                let cause = self.error(EngineError::Timeout { after: idle });
                self.interrupted(Some(cause)).await;
            }
            Err(_) => self.end(Some(self.error(EngineError::Timeout { after: idle }))),
        }
    }

    /// An error: the engine has failed to read its log.
    fn take(&mut self, data: &[u8]) -> Result<()> {
        let mut news = false;
        let Self { entries, out, err, ready, id, came, .. } = self;
        let fed = entries.feed(data, |output| {
            news = true;
            if let Output::Text { bytes, .. } = &output {
                *came += bytes.len();
            }
            match output {
                Output::Text { source: LogSource::Stdout, at, bytes } => out.push(at, bytes, ready),
                Output::Text { source: LogSource::Stderr, at, bytes } => err.push(at, bytes, ready),
                Output::Lost => {
                    out.finish(ready);
                    err.finish(ready);
                    ready.push_back(Err(lost(id)));
                }
            }
        });
        if news {
            self.retries = retries(&self.engine);
        }
        if fed.is_err() {
            let message = "the container's output is not framed";
            let error = Error::new(ErrorKind::Protocol, OPERATION, message)
                .with_container(&self.id)
                .with_hint("was the container made with a terminal?");
            self.end(Some(error));
        } else if let Some(words) = self.entries.trouble() {
            let message = format!("the engine cannot go on: {}", clean(&String::from_utf8_lossy(words)));
            return Err(Error::new(ErrorKind::Engine, OPERATION, message).with_container(&self.id));
        }
        Ok(())
    }

    /// Whether much has come over the connection.
    fn has_much(&self) -> bool {
        let entries = self.entries.count() - self.came_before;
        let bytes = self.came.saturating_add(entries.saturating_mul(ENTRY_BYTES));
        bytes > self.sure_after && self.entries.can_resume()
    }

    /// Another connection, from where reading has come.
    async fn go_on(&mut self) {
        if self.done {
            return;
        }
        self.body = None;
        if let Err(e) = self.connect().await {
            self.interrupted(Some(e)).await;
        }
    }

    /// The connection is over, in good order or with a cause.
    async fn interrupted(&mut self, cause: Option<Error>) {
        let cause =
            cause.or_else(|| (!self.entries.is_whole()).then(|| self.cut("in the middle of an entry")));
        if !self.follow {
            self.end(cause);
            return;
        }
        if self.opened.elapsed() >= STEADY {
            self.retries = retries(&self.engine);
        }
        loop {
            // A container that has ended says nothing more: only what is left is read.
            match self.state().await {
                Ok(ContainerState::Created) if self.entries.is_start() => {
                    self.retries = retries(&self.engine);
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(MAX_PAUSE);
                }
                Ok(ContainerState::Exited(_) | ContainerState::Removing) => self.follow = false,
                Ok(_) => {
                    if !self.entries.can_resume() || !self.retries.pause().await {
                        self.end(Some(cause.unwrap_or_else(|| self.cut("while the container runs"))));
                        return;
                    }
                }
                Err(e) if e.kind() == ErrorKind::NotFound => return self.end(None),
                Err(e) => {
                    if e.retry() != Retry::Temporary || !self.retries.pause().await {
                        return self.end(Some(e));
                    }
                    continue;
                }
            }
            if !self.entries.can_resume() {
                return self.end(cause);
            }
            match self.connect().await {
                Ok(()) => return,
                Err(e) if e.kind() == ErrorKind::NotFound => return self.end(None),
                Err(e) => {
                    // Still to be followed: whether it has ended is asked again.
                    self.follow = true;
                    if e.retry() != Retry::Temporary || !self.retries.pause().await {
                        return self.end(Some(e));
                    }
                }
            }
        }
    }

    /// Nothing came for a while, which is normal; unless the engine or the container is gone without a word.
    async fn silent(&mut self) {
        match self.state().await {
            Ok(ContainerState::Exited(_) | ContainerState::Removing) => self.interrupted(None).await,
            Ok(_) => self.retries = retries(&self.engine),
            Err(e) => self.interrupted(Some(e)).await,
        }
    }

    async fn state(&self) -> Result<ContainerState> {
        inspect(&self.engine, &self.id).await.map(|info| info.state).map_err(|e| self.error(e))
    }

    fn end(&mut self, failure: Option<Error>) {
        self.out.finish(&mut self.ready);
        self.err.finish(&mut self.ready);
        self.failure = failure;
        self.body = None;
        self.done = true;
    }

    fn cut(&self, when: &str) -> Error {
        Error::new(ErrorKind::Connection, OPERATION, format!("the log ended {when}"))
            .temporary()
            .with_container(&self.id)
            .with_hint("is the engine being restarted?")
    }

    fn error(&self, error: EngineError) -> Error {
        error.into_core(OPERATION).with_container(&self.id)
    }
}

/// Told between two lines.
fn lost(id: &ContainerId) -> Error {
    let message = "lines were thrown away by the engine before they could be read";
    Error::new(ErrorKind::Capacity, OPERATION, message)
        .with_container(id)
        .with_hint("the container writes faster than its log is read; more or larger log files give it time")
}
