//! When runners start, how they work, and how they end: on ports only, so everything here runs on fakes.
//!
//! - [`RunnerManager`] keeps the runners of one controller: [`start`](RunnerManager::start),
//!   [`delete`](RunnerManager::delete), [`shutdown`](RunnerManager::shutdown).
//! - `launch`: the steps of a start in order, with proved readiness, undone in reverse when one fails.
//! - `actor`: one task per runner that owns its state and puts what happens in order.
//! - `turn`: one prompt from the request to its outcome: `fold` says what the events add up to (pure), `drive` asks,
//!   waits and gives up in time, `outcome` puts the end into words.
//!
//! Time is tokio's, so tests run on a paused clock.

mod actor;
mod config;
mod ending;
mod handle;
pub mod labels;
mod launch;
mod log_tail;
mod manager;
mod ownership;
mod turn;

pub use config::{InputConfig, LifecycleConfig, StartConfig, StopConfig, TurnConfig, Unanswered};
pub use handle::ContainerRunner;
pub use manager::{Ports, RunnerManager, StartRequest};
