//! What happens to containers, as a stream over as many connections as it takes.
//!
//! The engine drops events for a subscriber that does not read (after 100 ms with 1,024 waiting), and does not say
//! so. So a task of its own reads as fast as they come, into a bounded queue; when its reader is too slow for that,
//! the task ends the subscription, waits until there is room, and subscribes again: the gap is shown as
//! [`RuntimeEvent::Reconnected`] instead of being silent.
//!
//! Headers are sent before the subscription stands (moby), and a lost connection loses what happens meanwhile. So
//! every subscription begins at a moment in the past, by the engine's own clock, and what was told already is left
//! out (`told.rs`).
//!
//! Silence is normal. After a while of it the subscription is renewed, which proves more than a ping: the engine
//! answers, and the new connection is alive even where the old one had died without a word.

mod event;
mod split;
mod told;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::stream::{self, StreamExt};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use runner_core::container::Labels;
use runner_core::runtime_event::{RuntimeEvent, RuntimeEventStream};
use runner_core::{Error, ErrorKind, Result, Retry};
use serde::Deserialize;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::engine::{Engine, escape};
use crate::error::EngineError;
use crate::events::event::{Line, Told};
use crate::events::split::{Splitter, TooLong};
use crate::events::told::Seen;
use crate::stamp::Stamp;

const OPERATION: &str = "read the engine's events";

/// Longest event. Its labels make most of it; Docker's own requests with labels are smaller.
const MAX_LINE: usize = 1024 * 1024;

/// What waits for the reader: as many events as the engine would keep, and as many bytes as two of the longest and
/// thousands of the usual take.
const QUEUE_EVENTS: usize = 1024;
const QUEUE_BYTES: usize = 2 * MAX_LINE;

/// A subscription that has stood for so long, or has told something new, was one: the next absence of the engine gets
/// the whole time again.
const STEADY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Clock {
    #[serde(rename = "SystemTime")]
    time: Option<String>,
}

/// An item and its place in the queue's bytes, which is given back when the reader takes it.
type Queued = (Result<RuntimeEvent>, Option<OwnedSemaphorePermit>);

pub(crate) async fn open(engine: Arc<Engine>, labels: &Labels) -> Result<RuntimeEventStream> {
    event::check_labels(OPERATION, labels)?;
    let limit = engine.budgets.read;
    let clock: Clock =
        engine.json(Method::GET, "/info", None, limit).await.map_err(|e| e.into_core(OPERATION))?;
    let begin = clock.time.and_then(|time| Stamp::parse(time.as_bytes()));
    let (queue, items) = mpsc::channel(QUEUE_EVENTS);
    let mut feed = Feed {
        filters: filters(labels),
        labels: labels.clone(),
        seen: Seen::new(begin),
        retries: retries(&engine),
        bytes: Arc::new(Semaphore::new(QUEUE_BYTES)),
        engine,
        queue,
    };
    // Failures that are known at once belong to the call and not to the stream.
    let body = feed.subscribe().await.map_err(|e| e.into_core(OPERATION))?;
    feed.mark(RuntimeEvent::Connected);
    let task = Task(tokio::spawn(feed.run(body)));
    Ok(stream::unfold((items, task, false), next).fuse().boxed())
}

/// The task's end is the stream's end, and the other way round.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Reading = (Receiver<Queued>, Task, bool);

async fn next((mut items, task, over): Reading) -> Option<(Result<RuntimeEvent>, Reading)> {
    if over {
        return None;
    }
    let item = match items.recv().await {
        Some((item, _place)) => item,
        None => Err(Error::new(ErrorKind::Internal, OPERATION, "the reading of events broke")),
    };
    let over = item.is_err();
    Some((item, (items, task, over)))
}

fn filters(labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    escape(serde_json::json!({ "type": ["container"], "label": labels }).to_string())
}

fn retries(engine: &Engine) -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2), engine.budgets.reconnect)
}

/// Why a subscription is over.
enum Over {
    /// The engine is lost, or has closed it.
    Lost(Error),
    /// The reader is too slow.
    Slow,
    /// It cannot be read.
    Broken(Error),
}

struct Feed {
    engine: Arc<Engine>,
    labels: Labels,
    filters: String,
    seen: Seen,
    retries: Backoff,
    queue: Sender<Queued>,
    bytes: Arc<Semaphore>,
}

impl Feed {
    async fn subscribe(&mut self) -> Result<Incoming, EngineError> {
        let since = self.seen.since().map(|since| format!("since={since}&")).unwrap_or_default();
        let path = format!("/events?{since}filters={}", self.filters);
        self.engine.open(Method::GET, &path, self.engine.budgets.read).await
    }

    /// Reads to the stream's end. Its reader's going away ends the task.
    async fn run(mut self, mut body: Incoming) {
        loop {
            let over = self.read(body).await;
            // Nothing is open while the reader takes its time, and that time is not the engine's.
            if self.room().await {
                self.retries = retries(&self.engine);
            }
            let again = match over {
                Over::Lost(cause) => self.again(cause).await,
                Over::Slow => {
                    let cause = Error::new(ErrorKind::Connection, OPERATION, "the engine has gone away");
                    self.again(cause.temporary()).await
                }
                Over::Broken(error) => Err(error),
            };
            match again {
                Ok(next) => {
                    self.mark(RuntimeEvent::Reconnected);
                    body = next;
                }
                Err(error) => {
                    // Nobody is there to tell where it fails.
                    drop(self.queue.send((Err(error), None)).await);
                    return;
                }
            }
        }
    }

    /// Reads one subscription, renewed as often as there is silence.
    async fn read(&mut self, mut body: Incoming) -> Over {
        let mut lines = Splitter::new(MAX_LINE);
        let mut opened = Instant::now();
        let mut news = false;
        let over = loop {
            match timeout(self.engine.budgets.stream_idle, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let data = frame.data_ref().map(|data| &data[..]).unwrap_or_default();
                    match self.take(&mut lines, data) {
                        Ok(new) => news |= new,
                        Err(over) => break over,
                    }
                }
                Ok(Some(Err(e))) => {
                    break Over::Lost(EngineError::Broken { source: Box::new(e) }.into_core(OPERATION));
                }
                Ok(None) => {
                    let message = "the engine has closed the stream";
                    let error = Error::new(ErrorKind::Connection, OPERATION, message).temporary();
                    break Over::Lost(error.with_hint("is the engine being restarted?"));
                }
                Err(_) => match self.subscribe().await {
                    Ok(renewed) => {
                        body = renewed;
                        lines = Splitter::new(MAX_LINE);
                        opened = Instant::now();
                        news = true;
                    }
                    Err(e) => break Over::Lost(e.into_core(OPERATION)),
                },
            }
        };
        if news || opened.elapsed() >= STEADY {
            self.retries = retries(&self.engine);
        }
        over
    }

    /// Takes bytes of a subscription. Whether they told something new.
    fn take(&mut self, lines: &mut Splitter, data: &[u8]) -> Result<bool, Over> {
        let (mut news, mut slow) = (false, false);
        let fed = lines.feed(data, |line| {
            if slow {
                return;
            }
            match event::read(line, &self.labels, SystemTime::now()) {
                Line::Ours(told) if self.seen.is_new(&told) => {
                    slow = !tell(&self.queue, &self.bytes, &mut self.seen, told, line.len());
                    news |= !slow;
                }
                Line::Garbage if !line.trim_ascii().is_empty() => {
                    tracing::warn!(bytes = line.len(), "the engine told something that is not an event");
                }
                _ => {}
            }
        });
        match fed {
            _ if slow => Err(Over::Slow),
            Err(TooLong) => {
                let message = format!("an event is longer than {MAX_LINE} bytes");
                Err(Over::Broken(Error::new(ErrorKind::Protocol, OPERATION, message)))
            }
            Ok(()) => Ok(news),
        }
    }

    /// A new subscription, once the engine is there.
    async fn again(&mut self, mut cause: Error) -> Result<Incoming> {
        loop {
            if !self.retries.pause().await {
                return Err(cause);
            }
            match self.subscribe().await {
                Ok(body) => return Ok(body),
                Err(e) => {
                    tracing::debug!(error = %e, "the engine's events cannot be read");
                    cause = e.into_core(OPERATION);
                    if cause.retry() != Retry::Temporary {
                        return Err(cause);
                    }
                }
            }
        }
    }

    /// Returns when half of the queue is free, however long the reader takes. Whether it had to be waited for.
    async fn room(&self) -> bool {
        let bytes = u32::try_from(QUEUE_BYTES / 2).unwrap_or(u32::MAX);
        if self.bytes.try_acquire_many(bytes).is_ok() && self.queue.try_reserve_many(QUEUE_EVENTS / 2).is_ok()
        {
            return false;
        }
        // Neither is ever closed while the reader is there, and without a reader this task is ended.
        drop(self.bytes.acquire_many(bytes).await);
        drop(self.queue.reserve_many(QUEUE_EVENTS / 2).await);
        true
    }

    /// Tells about the stream itself. There is room: nothing else is put in the queue but after this.
    fn mark(&self, mark: RuntimeEvent) {
        drop(self.queue.try_send((Ok(mark), None)));
    }
}

/// Puts an event in the queue. `false`: there is no room.
fn tell(queue: &Sender<Queued>, bytes: &Arc<Semaphore>, seen: &mut Seen, told: Told, length: usize) -> bool {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let Ok(place) = Arc::clone(bytes).try_acquire_many_owned(length) else { return false };
    let Ok(slot) = queue.try_reserve() else { return false };
    seen.tell(&told);
    slot.send((Ok(RuntimeEvent::Container(told.event)), Some(place)));
    true
}
