//! What happens to containers, as an engine tells it.

use std::time::SystemTime;

use futures::stream::BoxStream;

use crate::container::Labels;
use crate::error::Result;
use crate::ids::ContainerId;

/// What happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerEventKind {
    /// It was created.
    Created,
    /// It was started.
    Started,
    /// It ended.
    Died {
        /// Its exit code, where the engine tells.
        code: Option<i64>,
    },
    /// The kernel killed a process in it for memory.
    OutOfMemory,
    /// It was sent a signal.
    Signaled {
        /// The signal's number, where the engine tells.
        signal: Option<u8>,
    },
    /// A stop of it has come to its end.
    Stopped,
    /// It was frozen.
    Paused,
    /// It was thawed.
    Unpaused,
    /// Its limits were changed.
    Updated,
    /// It was removed.
    Removed,
    /// Something else, in the engine's words.
    Other(String),
}

/// One event of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// When, by the engine's clock.
    pub at: SystemTime,
    /// Which container.
    pub id: ContainerId,
    /// Its name; empty where the engine does not tell.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// What happened.
    pub kind: ContainerEventKind,
}

/// An item of an engine's stream of events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeEvent {
    /// The subscription stands; always the first item. What happens from here on is told.
    Connected,
    /// The connection was lost and stands again. What the engine remembers of the time between follows, without
    /// repetition; it may have forgotten some, above all when it was restarted: list the containers now.
    Reconnected,
    /// Something happened.
    Container(ContainerEvent),
}

/// Events as they come. They are hints that make things fast; the truth is `list` and `inspect`. The stream ends only
/// with an error: the engine stayed away for too long.
pub type RuntimeEventStream = BoxStream<'static, Result<RuntimeEvent>>;
