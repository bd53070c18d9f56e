//! How a container ended, and why.

use std::fmt;
use std::time::SystemTime;

/// Why this library stopped a container. Kept with the container's end, so that a stop is never taken for a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StopReason {
    /// The caller asked for it. The default, because whoever has a better reason gives it.
    #[default]
    Requested,
    /// The turn in it was canceled and did not give way.
    Canceled,
    /// Nothing happened in it for too long.
    Idle,
    /// It ran for as long as it may.
    MaxRunTime,
    /// The turn in it did not end in time.
    TurnTimeout,
    /// Its start failed.
    StartFailed,
    /// Its server was lost, and another container takes its place.
    Replaced,
    /// The controller that it belonged to is gone.
    Orphaned,
    /// The host runs short of something.
    HostPressure,
    /// The controller shuts down.
    Shutdown,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "requested",
            Self::Canceled => "canceled",
            Self::Idle => "idle",
            Self::MaxRunTime => "run time over",
            Self::TurnTimeout => "turn timed out",
            Self::StartFailed => "start failed",
            Self::Replaced => "replaced",
            Self::Orphaned => "orphaned",
            Self::HostPressure => "host under pressure",
            Self::Shutdown => "shutdown",
        })
    }
}

/// Why a container ended, decided from the exit code, the kernel's out-of-memory flag, what we did ourselves, and
/// whether the engine was away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ExitReason {
    /// It ended by itself; the code says how well.
    #[default]
    Exited,
    /// It ended by itself on a signal that a program brings upon itself, such as SIGSEGV (11) or SIGABRT (6).
    Crashed {
        /// The signal's number.
        signal: u8,
    },
    /// We stopped it and it gave way to the stop signal.
    Stopped(StopReason),
    /// We stopped it, it did not give way, and it was killed.
    KilledAfterGrace(StopReason),
    /// The kernel killed its main process for memory.
    OutOfMemory,
    /// The kernel killed another process in it for memory; the main process ended later, in its own way.
    ChildOutOfMemory,
    /// A signal from outside that was not ours. A program that exits with 128 + n by itself looks the same.
    KilledByOther {
        /// The signal's number.
        signal: u8,
    },
    /// The engine was restarted, and took the container with it.
    EngineRestart,
    /// It never ran: its start failed.
    NeverStarted,
}

impl ExitReason {
    /// Whether we ended it.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Stopped(_) | Self::KilledAfterGrace(_))
    }

    /// Whether memory had a part in it.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::OutOfMemory | Self::ChildOutOfMemory)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited => f.write_str("ended by itself"),
            Self::Crashed { signal } => write!(f, "crashed by signal {signal}"),
            Self::Stopped(why) => write!(f, "stopped by us: {why}"),
            Self::KilledAfterGrace(why) => write!(f, "killed after grace: {why}"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::ChildOutOfMemory => f.write_str("a child process ran out of memory"),
            Self::KilledByOther { signal } => write!(f, "killed by something else with signal {signal}"),
            Self::EngineRestart => f.write_str("the engine was restarted"),
            Self::NeverStarted => f.write_str("never started"),
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitStatus {
    /// The exit code of its first process; 128 + signal where a signal ended it.
    pub code: i64,
    /// Whether the kernel killed something in it for memory.
    pub oom_killed: bool,
    /// What the engine says about a failed start.
    pub error: Option<String>,
    /// Why it ended.
    pub reason: ExitReason,
    /// When, by the engine's clock, where it tells.
    pub ended_at: Option<SystemTime>,
}

impl ExitStatus {
    /// An exit with a code and nothing else to say.
    pub fn of_code(code: i64) -> Self {
        Self { code, ..Self::default() }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container exited with code {}", self.code)?;
        match self.reason {
            ExitReason::Exited if self.oom_killed => f.write_str(", out of memory")?,
            ExitReason::Exited => {}
            reason => write!(f, ", {reason}")?,
        }
        if let Some(error) = &self.error {
            write!(f, " ({error})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_with_its_reason() {
        let mut exit = ExitStatus::of_code(137);
        assert_eq!(exit.to_string(), "container exited with code 137");
        exit.reason = ExitReason::KilledAfterGrace(StopReason::Idle);
        assert_eq!(exit.to_string(), "container exited with code 137, killed after grace: idle");
        exit.error = Some("x".to_owned());
        exit.reason = ExitReason::OutOfMemory;
        assert_eq!(exit.to_string(), "container exited with code 137, out of memory (x)");
    }
}
