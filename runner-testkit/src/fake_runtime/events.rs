//! Streams of events, and what can go wrong with them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use futures::stream::{self, StreamExt};
use runner_core::container::Labels;
use runner_core::container_runtime::Feature;
use runner_core::runtime_event::{ContainerEvent, ContainerEventKind, RuntimeEvent, RuntimeEventStream};
use runner_core::{ContainerId, Error, ErrorKind, Result};
use tokio::sync::Notify;

use super::FakeRuntime;
use crate::faults::lock;

const OPERATION: &str = "read the engine's events";

/// As many as a real engine remembers.
const CAPACITY: usize = 256;

/// What becomes of the events that happen while the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missed {
    /// They follow the reconnect, as far as the buffer goes.
    Told,
    /// The engine has forgotten them.
    Forgotten,
}

#[derive(Default)]
struct Queue {
    /// What the reader gets next.
    items: VecDeque<RuntimeEvent>,
    /// What happens while the connection is lost.
    missed: VecDeque<RuntimeEvent>,
    /// Something was dropped before the first item.
    lagged: bool,
    end: Option<Error>,
}

impl Queue {
    fn push(&mut self, item: RuntimeEvent, capacity: usize) {
        while self.items.len() >= capacity.max(1) {
            self.items.pop_front();
            self.lagged = true;
        }
        self.items.push_back(item);
    }

    fn next(&mut self) -> Option<Result<RuntimeEvent>> {
        if std::mem::take(&mut self.lagged) {
            return Some(Ok(RuntimeEvent::Reconnected));
        }
        self.items.pop_front().map(Ok).or_else(|| self.end.clone().map(Err))
    }
}

struct Subscription {
    labels: Labels,
    queue: Mutex<Queue>,
    changed: Notify,
}

impl Subscription {
    fn with(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut lock(&self.queue));
        self.changed.notify_one();
    }

    /// The next item; after an error, nothing.
    async fn next(self: Arc<Self>) -> Option<(Result<RuntimeEvent>, Option<Arc<Self>>)> {
        loop {
            if let Some(item) = lock(&self.queue).next() {
                let go_on = item.is_ok();
                return Some((item, go_on.then_some(Arc::clone(&self))));
            }
            // There is one reader, and a change in between is kept for it.
            self.changed.notified().await;
        }
    }
}

/// The open streams. A subscription lives as long as its reader.
pub(super) struct Events {
    open: Vec<Weak<Subscription>>,
    connected: bool,
    capacity: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self { open: Vec::new(), connected: true, capacity: CAPACITY }
    }
}

impl Events {
    fn each(&mut self, mut act: impl FnMut(&Subscription)) {
        self.open.retain(|subscription| {
            let Some(subscription) = subscription.upgrade() else { return false };
            act(&subscription);
            true
        });
    }

    pub(super) fn has_readers(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn emit(&mut self, event: &ContainerEvent) {
        let (connected, capacity) = (self.connected, self.capacity);
        self.each(|subscription| {
            let wanted = |(key, value): (&String, &String)| event.labels.get(key) == Some(value);
            if !subscription.labels.iter().all(wanted) {
                return;
            }
            let item = RuntimeEvent::Container(event.clone());
            subscription.with(|queue| {
                if connected {
                    queue.push(item, capacity);
                    return;
                }
                if queue.missed.len() >= capacity {
                    queue.missed.pop_front();
                }
                queue.missed.push_back(item);
            });
        });
    }

    pub(super) fn cut(&mut self) {
        self.connected = false;
    }

    pub(super) fn reconnect(&mut self, missed: Missed) {
        self.connected = true;
        let capacity = self.capacity;
        self.each(|subscription| {
            subscription.with(|queue| {
                let waiting = std::mem::take(&mut queue.missed);
                queue.push(RuntimeEvent::Reconnected, capacity);
                if missed == Missed::Told {
                    for item in waiting {
                        queue.push(item, capacity);
                    }
                }
            });
        });
    }

    fn fail(&mut self, error: &Error) {
        self.each(|subscription| {
            subscription.with(|queue| queue.end = Some(error.clone()));
        });
        self.open.clear();
    }

    fn subscribe(&mut self, labels: &Labels) -> Result<RuntimeEventStream> {
        if !self.connected {
            let message = "the engine cannot be reached";
            return Err(Error::new(ErrorKind::EngineUnavailable, OPERATION, message).temporary());
        }
        let subscription = Arc::new(Subscription {
            labels: labels.clone(),
            queue: Mutex::default(),
            changed: Notify::new(),
        });
        // Those whose readers have gone would be kept until the next event.
        self.each(|_| {});
        self.open.push(Arc::downgrade(&subscription));
        let connected = stream::iter([Ok(RuntimeEvent::Connected)]);
        let events = stream::unfold(Some(subscription), |subscription| async { subscription?.next().await });
        Ok(connected.chain(events).fuse().boxed())
    }
}

/// A reader must not wait for an engine that is not there any more.
impl Drop for Events {
    fn drop(&mut self) {
        self.fail(&Error::new(ErrorKind::Connection, OPERATION, "the engine is gone"));
    }
}

impl FakeRuntime {
    pub(super) fn subscribe(&self, labels: &Labels) -> Result<RuntimeEventStream> {
        let mut engine = lock(&self.shared.engine);
        engine.require(Feature::Events, OPERATION)?;
        engine.events.subscribe(labels)
    }

    /// Streams of events lose their connection: nothing arrives, and `events` of the trait fails as
    /// [`ErrorKind::EngineUnavailable`], until [`reconnect_events`](Self::reconnect_events). Other calls work.
    ///
    /// ```
    /// # use runner_core::{ContainerRuntime, ContainerSpec, container::{Labels, UserSpec}};
    /// use futures::StreamExt;
    /// use runner_core::runtime_event::RuntimeEvent;
    /// use runner_testkit::fake_runtime::{FakeRuntime, Missed};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> runner_core::Result<()> {
    /// # let spec = ContainerSpec::new("demo", "img".parse()?, UserSpec { uid: 10001, gid: 10001 });
    /// let engine = FakeRuntime::new();
    /// let mut events = engine.events(&Labels::new()).await?;
    /// assert_eq!(events.next().await.transpose()?, Some(RuntimeEvent::Connected));
    /// engine.cut_events();
    /// engine.create(&spec).await?;
    /// engine.reconnect_events(Missed::Told);
    /// assert_eq!(events.next().await.transpose()?, Some(RuntimeEvent::Reconnected));
    /// assert!(matches!(events.next().await, Some(Ok(RuntimeEvent::Container(_)))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cut_events(&self) {
        lock(&self.shared.engine).events.cut();
    }

    /// Streams of events have their connection again, and say so.
    pub fn reconnect_events(&self, missed: Missed) {
        lock(&self.shared.engine).events.reconnect(missed);
    }

    /// All streams of events that are open end with this error, once their readers have read what came before it.
    pub fn fail_events(&self, error: &Error) {
        lock(&self.shared.engine).events.fail(error);
    }

    /// How many events wait for a reader; 256 by default. For one that is further behind, the oldest are dropped,
    /// and it is told `Reconnected` before the rest: it has to list the containers, as after a lost connection.
    pub fn event_buffer(&self, events: usize) {
        lock(&self.shared.engine).events.capacity = events;
    }

    /// Streams of events that are open.
    pub fn event_streams(&self) -> usize {
        let mut engine = lock(&self.shared.engine);
        engine.events.each(|_| {});
        engine.events.open.len()
    }

    /// Tells an event of a container that is there, whether it is true or not. `false` if it is gone.
    pub fn tell_event(&self, id: &ContainerId, kind: ContainerEventKind) -> bool {
        lock(&self.shared.engine).tell(id, kind)
    }
}
