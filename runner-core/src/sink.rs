//! A place to report progress to.

use std::fmt;
use std::sync::Arc;

/// A cheap, cloneable receiver of progress items. It is called on the path that makes the progress: it must not
/// block, and what it does with a flood (drop, count, draw) is its own affair.
///
/// ```
/// use std::sync::mpsc;
/// let (tx, rx) = mpsc::channel();
/// let sink = runner_core::Sink::new(move |n: u32| drop(tx.send(n)));
/// sink.send(7);
/// assert_eq!(rx.recv(), Ok(7));
/// ```
pub struct Sink<T>(Option<Arc<dyn Fn(T) + Send + Sync>>);

impl<T> Sink<T> {
    /// Calls `receive` with every item.
    pub fn new(receive: impl Fn(T) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(receive)))
    }

    /// Throws every item away.
    pub fn none() -> Self {
        Self(None)
    }

    /// Reports one item.
    pub fn send(&self, item: T) {
        if let Some(receive) = &self.0 {
            receive(item);
        }
    }
}

impl<T> Clone for Sink<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Sink<T> {
    fn default() -> Self {
        Self::none()
    }
}

impl<T> fmt::Debug for Sink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Sink(set)" } else { "Sink(none)" })
    }
}
