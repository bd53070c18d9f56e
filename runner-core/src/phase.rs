//! The phases of a start, and how long each took.

use std::fmt;
use std::time::Duration;

/// One step on the way from a request to a runner that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The agent's directories, the task's state and the settings are made.
    Workspace,
    /// The image is found or fetched.
    Image,
    /// The engine creates the container.
    Create,
    /// The engine starts the container and has published its port.
    Start,
    /// The server in the container answers its health check.
    Health,
    /// The server has made a session: the proof of readiness.
    Session,
}

impl Phase {
    /// The name in logs, errors and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Image => "image",
            Self::Create => "create",
            Self::Start => "start",
            Self::Health => "health",
            Self::Session => "session",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The phases of one start in order, each with its time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PhaseTimes(Vec<(Phase, Duration)>);

impl PhaseTimes {
    /// Adds a phase that has ended, in success or failure.
    pub fn push(&mut self, phase: Phase, time: Duration) {
        self.0.push((phase, time));
    }

    /// The phases with their times, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        self.0.iter().copied()
    }

    /// The time of one phase, if it was reached.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        self.iter().find(|(p, _)| *p == phase).map(|(_, time)| time)
    }

    /// The sum of all phases.
    pub fn total(&self) -> Duration {
        self.iter().map(|(_, time)| time).sum()
    }
}

impl fmt::Display for PhaseTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (phase, time)) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{phase} {} ms", time.as_millis())?;
        }
        Ok(())
    }
}

/// What a start reports while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartEvent {
    /// A phase begins.
    Began(Phase),
    /// A phase is done.
    Done(Phase, Duration),
    /// The image is being fetched.
    Image(crate::image::ImageProgress),
}
