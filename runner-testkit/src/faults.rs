//! Faults on request, and the log of calls: what every fake has in common.
//!
//! A call goes through these steps, each of which a test may script per operation:
//!
//! ```text
//! logged → delay → stall → fail ─┐→ effect → stall_reply → delay_reply → lose_reply ─┐→ answer
//!                                └→ error, nothing happened                          └→ error, although it happened
//! ```
//!
//! Which fault a call meets is decided when it begins. Dropping a call's future is noted in the log; what a
//! dropped call has not done by then does not happen.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runner_core::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// It has not.
    Open,
    /// In success.
    Done,
    /// With an error of this kind.
    Failed(ErrorKind),
    /// Its future was dropped before it ended.
    Dropped,
}

/// A call that a fake has received.
#[derive(Debug, Clone)]
pub struct Call<Op> {
    /// What was called.
    pub op: Op,
    /// What it was about: an id or a name, as text; empty where there is none.
    pub about: String,
    /// When it began, on tokio's clock.
    pub began: Instant,
    /// When it ended, in whichever way.
    pub ended: Option<Instant>,
    /// How it ended.
    pub result: CallResult,
}

impl<Op> Call<Op> {
    /// How long it took, once it has ended.
    pub fn took(&self) -> Option<Duration> {
        Some(self.ended?.duration_since(self.began))
    }
}

/// A lock whose holder has panicked is still good here: a failing test must not hide behind a second panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands for "every call from now on" in the counts below.
pub(crate) const ALWAYS: usize = usize::MAX;

/// Takes one off a count, unless it stands for all.
fn spend(count: &mut usize) -> bool {
    match *count {
        0 => false,
        ALWAYS => true,
        _ => {
            *count -= 1;
            true
        }
    }
}

#[derive(Default)]
struct Rules {
    delay: Duration,
    delay_reply: Duration,
    stall: usize,
    stall_reply: usize,
    failures: VecDeque<(usize, Error)>,
    lost_replies: usize,
    /// Counts releases, so that a stalled call knows one that came after it.
    releases: u64,
}

/// What one call will meet.
struct Plan {
    delay: Duration,
    stall: bool,
    failure: Option<Error>,
    stall_reply: bool,
    delay_reply: Duration,
    lose_reply: bool,
    releases: u64,
}

impl Rules {
    fn plan(&mut self) -> Plan {
        let failure =
            self.failures.front_mut().and_then(|(count, error)| spend(count).then(|| error.clone()));
        if self.failures.front().is_some_and(|(count, _)| *count == 0) {
            self.failures.pop_front();
        }
        Plan {
            delay: self.delay,
            stall: spend(&mut self.stall),
            // A call that fails at once has no reply to lose, so it leaves those faults to a later one.
            stall_reply: failure.is_none() && spend(&mut self.stall_reply),
            lose_reply: failure.is_none() && spend(&mut self.lost_replies),
            failure,
            delay_reply: self.delay_reply,
            releases: self.releases,
        }
    }
}

struct State<Op> {
    rules: HashMap<Op, Rules>,
    calls: Vec<Call<Op>>,
    /// How many calls were forgotten, so that one still open finds its place.
    forgotten: usize,
}

/// The scripted faults and the received calls of one fake.
pub(crate) struct Faults<Op> {
    state: Mutex<State<Op>>,
    released: Notify,
}

impl<Op> Default for Faults<Op> {
    fn default() -> Self {
        let state = State { rules: HashMap::new(), calls: Vec::new(), forgotten: 0 };
        Self { state: Mutex::new(state), released: Notify::new() }
    }
}

impl<Op> fmt::Debug for Faults<Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("calls", &lock(&self.state).calls.len()).finish_non_exhaustive()
    }
}

impl<Op: Copy + Eq + Hash + fmt::Debug> Faults<Op> {
    fn rule(&self, op: Op, set: impl FnOnce(&mut Rules)) {
        set(lock(&self.state).rules.entry(op).or_default());
    }

    pub(crate) fn fail(&self, op: Op, times: usize, error: Error) {
        self.rule(op, |r| r.failures.push_back((times, error)));
    }

    pub(crate) fn lose_reply(&self, op: Op) {
        self.rule(op, |r| r.lost_replies += 1);
    }

    pub(crate) fn delay(&self, op: Op, time: Duration) {
        self.rule(op, |r| r.delay = time);
    }

    pub(crate) fn delay_reply(&self, op: Op, time: Duration) {
        self.rule(op, |r| r.delay_reply = time);
    }

    pub(crate) fn stall(&self, op: Op, times: usize) {
        self.rule(op, |r| r.stall = times);
    }

    pub(crate) fn stall_reply(&self, op: Op, times: usize) {
        self.rule(op, |r| r.stall_reply = times);
    }

    pub(crate) fn unstall(&self, op: Op) {
        self.rule(op, |r| {
            r.stall = 0;
            r.stall_reply = 0;
            r.releases += 1;
        });
        self.released.notify_waiters();
    }

    pub(crate) fn heal(&self, op: Op) {
        self.rule(op, |r| *r = Rules { releases: r.releases + 1, ..Rules::default() });
        self.released.notify_waiters();
    }

    pub(crate) fn calls(&self) -> Vec<Call<Op>> {
        lock(&self.state).calls.clone()
    }

    pub(crate) fn forget_calls(&self) {
        let mut state = lock(&self.state);
        state.forgotten += state.calls.len();
        state.calls.clear();
    }

    /// Runs one call: logs it and leads it through its faults.
    pub(crate) async fn call<T>(
        &self,
        op: Op,
        about: impl Into<String>,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.call_unless(std::future::pending(), op, about, effect).await
    }

    /// Runs one call, unless its peer is lost before it ends.
    pub(crate) async fn call_unless<T>(
        &self,
        lost: impl Future<Output = Error>,
        op: Op,
        about: impl Into<String>,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let (mut entry, plan) = self.enter(op, about.into());
        let result = tokio::select! {
            biased;
            error = lost => Err(error),
            result = self.perform(op, plan, effect) => result,
        };
        entry.result = match &result {
            Ok(_) => CallResult::Done,
            Err(error) => CallResult::Failed(error.kind()),
        };
        result
    }

    fn enter(&self, op: Op, about: String) -> (Entry<'_, Op>, Plan) {
        let mut state = lock(&self.state);
        let call = Call { op, about, began: Instant::now(), ended: None, result: CallResult::Open };
        state.calls.push(call);
        let place = state.forgotten + state.calls.len() - 1;
        let plan = state.rules.entry(op).or_default().plan();
        (Entry { faults: self, place, result: CallResult::Dropped }, plan)
    }

    async fn perform<T>(&self, op: Op, plan: Plan, effect: impl Future<Output = Result<T>>) -> Result<T> {
        sleep(plan.delay).await;
        if plan.stall {
            self.until_released(op, plan.releases).await;
        }
        if let Some(error) = plan.failure {
            return Err(error);
        }
        let result = effect.await;
        if plan.stall_reply {
            self.until_released(op, plan.releases).await;
        }
        sleep(plan.delay_reply).await;
        if plan.lose_reply {
            let message = format!("the connection broke before the answer to {op:?} arrived");
            return Err(Error::new(ErrorKind::Connection, "read the answer", message).temporary());
        }
        result
    }

    async fn until_released(&self, op: Op, seen: u64) {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // Registered before the look, or a release between the two would be missed.
            released.as_mut().enable();
            if lock(&self.state).rules.get(&op).is_none_or(|r| r.releases != seen) {
                return;
            }
            released.await;
        }
    }
}

/// A zero sleep would still give way to other tasks; a fake without faults answers at once.
async fn sleep(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Notes the end of a call, also of one that is dropped.
struct Entry<'a, Op> {
    faults: &'a Faults<Op>,
    place: usize,
    result: CallResult,
}

impl<Op> Drop for Entry<'_, Op> {
    fn drop(&mut self) {
        let mut state = lock(&self.faults.state);
        let forgotten = state.forgotten;
        if let Some(call) = self.place.checked_sub(forgotten).and_then(|i| state.calls.get_mut(i)) {
            call.ended = Some(Instant::now());
            call.result = self.result;
        }
    }
}

/// The script methods that all fakes share, as methods of their own so that a test needs no import for them.
macro_rules! fault_methods {
    ($fake:ty, $op:ty) => {
        impl $fake {
            /// The next call of `op` fails with `error`, and nothing happens. Called again, the one after it too.
            pub fn fail_next(&self, op: $op, error: runner_core::Error) {
                self.faults().fail(op, 1, error);
            }

            /// The next `times` calls of `op` fail with `error`, and nothing happens.
            pub fn fail_times(&self, op: $op, times: usize, error: runner_core::Error) {
                self.faults().fail(op, times, error);
            }

            /// All calls of `op` fail with `error`, until [`heal`](Self::heal).
            pub fn fail_always(&self, op: $op, error: runner_core::Error) {
                self.faults().fail(op, crate::faults::ALWAYS, error);
            }

            /// The next call of `op` takes effect, but its caller gets a temporary
            /// [`ErrorKind::Connection`](runner_core::ErrorKind::Connection).
            pub fn lose_reply(&self, op: $op) {
                self.faults().lose_reply(op);
            }

            /// Calls of `op` do not answer, and have no effect, until [`unstall`](Self::unstall).
            pub fn stall(&self, op: $op) {
                self.faults().stall(op, crate::faults::ALWAYS);
            }

            /// The next call of `op` does not answer, and has no effect, until [`unstall`](Self::unstall).
            pub fn stall_next(&self, op: $op) {
                self.faults().stall(op, 1);
            }

            /// The next call of `op` takes effect at once and does not answer until [`unstall`](Self::unstall).
            pub fn stall_reply(&self, op: $op) {
                self.faults().stall_reply(op, 1);
            }

            /// Calls of `op` that stall go on, and later ones do not stall.
            pub fn unstall(&self, op: $op) {
                self.faults().unstall(op);
            }

            /// Calls of `op` wait this long before they take effect; one that is dropped meanwhile has none.
            pub fn delay(&self, op: $op, time: std::time::Duration) {
                self.faults().delay(op, time);
            }

            /// Calls of `op` take effect at once and answer after this long.
            pub fn delay_reply(&self, op: $op, time: std::time::Duration) {
                self.faults().delay_reply(op, time);
            }

            /// Takes back every fault and delay that was scripted for `op`, and releases what stalls.
            pub fn heal(&self, op: $op) {
                self.faults().heal(op);
            }

            /// The calls so far, in the order in which they began.
            pub fn calls(&self) -> Vec<crate::faults::Call<$op>> {
                self.faults().calls()
            }

            /// The operations so far, in the order in which they began.
            pub fn ops(&self) -> Vec<$op> {
                self.faults().calls().into_iter().map(|call| call.op).collect()
            }

            /// How often `op` was called.
            pub fn count(&self, op: $op) -> usize {
                self.faults().calls().iter().filter(|call| call.op == op).count()
            }

            /// Empties the log of calls.
            pub fn forget_calls(&self) {
                self.faults().forget_calls();
            }
        }
    };
}
pub(crate) use fault_methods;
