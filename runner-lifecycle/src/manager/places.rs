//! Which task has what, and who may change it: one start or one delete at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runner_core::{Error, ErrorKind, Result, TaskId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::handle::ContainerRunner;

/// The places of all tasks, and whether new ones are taken.
#[derive(Debug, Default)]
pub(super) struct Places {
    entries: Mutex<HashMap<TaskId, Entry>>,
    /// Every start, every delete, and every runner's own task.
    pub(super) tasks: TaskTracker,
    closing: CancellationToken,
}

#[derive(Debug)]
enum Entry {
    /// A start holds the place.
    Starting { give_up: CancellationToken, over: CancellationToken },
    /// Nobody holds it.
    Started(Arc<ContainerRunner>),
    /// A delete holds it.
    Deleting { runner: Option<Arc<ContainerRunner>>, over: CancellationToken },
}

impl Entry {
    fn runner(&self) -> Option<&Arc<ContainerRunner>> {
        match self {
            Self::Started(runner) | Self::Deleting { runner: Some(runner), .. } => Some(runner),
            Self::Starting { .. } | Self::Deleting { runner: None, .. } => None,
        }
    }
}

/// A task's place, held by a start or a delete. Whichever way that ends (a panic too), dropping this leaves in the
/// place what the task then has, and lets the next one in.
#[derive(Debug)]
pub(super) struct Hold {
    places: Arc<Places>,
    task: TaskId,
    /// What the task has.
    pub(super) runner: Option<Arc<ContainerRunner>>,
    over: CancellationToken,
    /// A shutdown waits for whoever holds a place.
    _counted: TaskTrackerToken,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut entries = self.places.lock();
        match self.runner.take() {
            Some(runner) => entries.insert(self.task.clone(), Entry::Started(runner)),
            None => entries.remove(&self.task),
        };
        drop(entries);
        self.over.cancel();
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Entry>> {
        // Entries are replaced whole, so a panic elsewhere cannot have left one half-made.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the task's place for a start; of two at once only one goes on. The token gives the start up.
    pub(super) fn hold_for_start(self: &Arc<Self>, task: &TaskId) -> Result<(Hold, CancellationToken)> {
        // One lock for the question and the answer: a shutdown sees this start, or this start sees the shutdown.
        let mut entries = self.lock();
        if self.closing.is_cancelled() {
            return Err(
                Error::new(ErrorKind::NotReady, "start a runner", "the manager is shut down").with_task(task)
            );
        }
        let refuse = |message: &str, hint: &str| {
            Err(Error::new(ErrorKind::AlreadyExists, "start a runner", message)
                .with_hint(hint)
                .with_task(task))
        };
        match entries.get(task) {
            Some(Entry::Deleting { .. }) => {
                return refuse("the task is being deleted", "start it once that is done");
            }
            Some(Entry::Starting { .. }) => {
                return refuse("the task has a runner", "use that one, or delete the task first");
            }
            Some(Entry::Started(runner)) if !runner.is_over() => {
                return refuse("the task has a runner", "use that one, or delete the task first");
            }
            Some(Entry::Started(_)) | None => {}
        }
        let hold = self.hold(task, None);
        let give_up = self.closing.child_token();
        let entry = Entry::Starting { give_up: give_up.clone(), over: hold.over.clone() };
        entries.insert(task.clone(), entry);
        Ok((hold, give_up))
    }

    /// Takes the task's place for a delete: gives a start up that is under way, and waits for whoever holds it.
    pub(super) async fn hold_for_delete(self: &Arc<Self>, task: &TaskId) -> Hold {
        loop {
            let over = {
                let mut entries = self.lock();
                let runner = match entries.get(task) {
                    Some(Entry::Starting { give_up, over }) => {
                        give_up.cancel();
                        Err(over.clone())
                    }
                    Some(Entry::Deleting { over, .. }) => Err(over.clone()),
                    Some(Entry::Started(runner)) => Ok(Some(Arc::clone(runner))),
                    None => Ok(None),
                };
                match runner {
                    Ok(runner) => {
                        let hold = self.hold(task, runner.clone());
                        entries.insert(task.clone(), Entry::Deleting { runner, over: hold.over.clone() });
                        return hold;
                    }
                    Err(over) => over,
                }
            };
            over.cancelled().await;
        }
    }

    fn hold(self: &Arc<Self>, task: &TaskId, runner: Option<Arc<ContainerRunner>>) -> Hold {
        let over = CancellationToken::new();
        Hold { places: Arc::clone(self), task: task.clone(), runner, over, _counted: self.tasks.token() }
    }

    /// The task's runner, if it has one that has started.
    pub(super) fn get(&self, task: &TaskId) -> Option<Arc<ContainerRunner>> {
        self.lock().get(task).and_then(Entry::runner).cloned()
    }

    /// All runners that have started, by task.
    pub(super) fn list(&self) -> Vec<Arc<ContainerRunner>> {
        let mut all: Vec<_> = self.lock().values().filter_map(Entry::runner).cloned().collect();
        all.sort_by(|a, b| a.task.cmp(&b.task));
        all
    }

    /// Takes no more starts and gives up those under way.
    pub(super) fn close(&self) {
        // With the lock, so that a start is either refused or counted before anybody waits for the count.
        let entries = self.lock();
        self.closing.cancel();
        self.tasks.close();
        drop(entries);
    }

    /// The tasks that still have something, by name.
    pub(super) fn left_over(&self) -> Vec<TaskId> {
        let entries = self.lock();
        let left = entries.iter().filter(|(_, e)| !matches!(e, Entry::Started(runner) if runner.is_over()));
        let mut left: Vec<_> = left.map(|(task, _)| task.clone()).collect();
        left.sort();
        left
    }
}
