//! The engine's clock: tokio's, as a time of day.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Where it begins, since the Unix epoch: the first day of 2026.
const BEGIN: Duration = Duration::from_hours(490_896);

/// Begins when somebody first looks at it, which is inside the executor whose clock counts.
#[derive(Default)]
pub(super) struct Clock {
    began: OnceLock<Instant>,
}

impl Clock {
    pub(super) fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + BEGIN + self.began.get_or_init(Instant::now).elapsed()
    }
}
