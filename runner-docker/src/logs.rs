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

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use runner_core::logs::{LogLine, LogOptions, LogSource, LogStream};
use runner_core::{ContainerId, ContainerState, Error, ErrorKind, Result, Retry};
use tokio::time::timeout;

use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::entries::Entries;
use crate::error::{EngineError, clean};
use crate::lines::LineJoiner;
use crate::wait::inspect;

const OPERATION: &str = "read the container's log";

/// Longest pause between questions for the log of a container that is not started yet.
const MAX_PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn open(
    engine: Arc<Engine>,
    id: &ContainerId,
    options: LogOptions,
    line_bytes: usize,
) -> Result<LogStream> {
    let mut reader = LogReader {
        body: None,
        entries: Entries::default(),
        out: LineJoiner::new(LogSource::Stdout, line_bytes),
        err: LineJoiner::new(LogSource::Stderr, line_bytes),
        ready: VecDeque::new(),
        failure: None,
        done: false,
        follow: options.follow,
        retries: retries(&engine),
        pause: Duration::from_millis(20),
        engine,
        id: id.clone(),
        options,
    };
    // Failures that are known at once, such as a missing container, belong to the call and not to the stream.
    reader.connect().await?;
    Ok(Box::pin(stream::unfold(reader, |mut reader| async {
        let item = reader.next().await?;
        Some((item, reader))
    })))
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
    ready: VecDeque<LogLine>,
    /// Delivered after the lines that are ready.
    failure: Option<Error>,
    done: bool,
    /// Whether the connection's end leaves a question. Not when only what is there was asked for.
    follow: bool,
    retries: Backoff,
    /// Before asking again for the log of a container that is not started yet.
    pause: Duration,
}

impl LogReader {
    /// Connects, to go on where reading stopped.
    async fn connect(&mut self) -> Result<()> {
        let part = match self.entries.resume() {
            // The tail is where reading began; now all that came since is wanted.
            Some(stamp) => format!("since={stamp}"),
            None => format!("tail={}", self.options.tail.map_or_else(|| "all".to_owned(), |n| n.to_string())),
        };
        let path = format!(
            "/containers/{}/logs?stdout=true&stderr=true&timestamps=true&follow={}&{part}",
            self.id, self.follow
        );
        let opened = self.engine.open(Method::GET, &path, self.engine.budgets.read).await;
        self.body = Some(opened.map_err(|e| self.error(e))?);
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<LogLine>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
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
                if let Some(data) = frame.data_ref() {
                    self.take(data);
                }
            }
            Ok(Some(Err(e))) => {
                let cause = self.error(EngineError::Broken { source: Box::new(e) });
                self.interrupted(Some(cause)).await;
            }
            Ok(None) => self.interrupted(None).await,
            Err(_) if self.follow => self.silent().await,
            Err(_) => self.end(Some(self.error(EngineError::Timeout { after: idle }))),
        }
    }

    fn take(&mut self, data: &[u8]) {
        self.retries = retries(&self.engine);
        let Self { entries, out, err, ready, .. } = self;
        let fed = entries.feed(data, |source, bytes| match source {
            LogSource::Stdout => out.push(bytes, ready),
            LogSource::Stderr => err.push(bytes, ready),
        });
        if fed.is_err() {
            let message = "the container's output is not framed";
            let error = Error::new(ErrorKind::Protocol, OPERATION, message)
                .with_container(&self.id)
                .with_hint("was the container made with a terminal?");
            self.end(Some(error));
        } else if let Some(words) = self.entries.trouble() {
            let message = format!("the engine cannot go on: {}", clean(&String::from_utf8_lossy(words)));
            let error = Error::new(ErrorKind::Engine, OPERATION, message).with_container(&self.id);
            self.end(Some(error));
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
