//! Facts about an end → its reason. Pure.

use std::time::SystemTime;

use runner_core::ExitReason;

use super::Intent;

/// The exit code of a process that SIGKILL ended.
const KILLED: i64 = 137;

/// The exit code that an engine gives to a container that it finds dead, and whose end nobody saw.
const UNSEEN: i64 = 255;

/// Signals that a program brings upon itself: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS.
const OWN_FAULT: [u8; 7] = [4, 5, 6, 7, 8, 11, 31];

/// The last signal that is not a real-time one; higher exit codes are codes.
const LAST_SIGNAL: i64 = 31;

/// What is known about an end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) code: i64,
    pub(super) oom_killed: bool,
    /// Whether it ever ran.
    pub(super) ran: bool,
    pub(super) started_at: Option<SystemTime>,
    pub(super) ended_at: Option<SystemTime>,
    pub(super) intent: Option<Intent>,
    /// The engine was away when it ended, and its containers do not survive that: it ends them with a signal, or
    /// finds them dead. A code of the container's own is the container's own end all the same.
    pub(super) engine_was_away: bool,
}

pub(super) fn reason(facts: &Facts) -> ExitReason {
    if !facts.ran {
        return ExitReason::NeverStarted;
    }
    if let Some(intent) = facts.intent.filter(|intent| is_of_this_end(intent, facts)) {
        let patience_over =
            facts.ended_at.is_none_or(|end| end.duration_since(intent.at).is_ok_and(|d| d >= intent.grace));
        return match facts.code {
            // The kernel was faster than we.
            KILLED if facts.oom_killed && !patience_over => ExitReason::OutOfMemory,
            KILLED => ExitReason::KilledAfterGrace(intent.why),
            _ => ExitReason::Stopped(intent.why),
        };
    }
    if facts.oom_killed {
        // The flag is the whole control group's. The main process died of it only if it died of a kill.
        return if facts.code == KILLED { ExitReason::OutOfMemory } else { ExitReason::ChildOutOfMemory };
    }
    match u8::try_from(facts.code - 128) {
        Ok(signal) if signal > 0 && i64::from(signal) <= LAST_SIGNAL => {
            if OWN_FAULT.contains(&signal) {
                ExitReason::Crashed { signal }
            } else if facts.engine_was_away {
                ExitReason::EngineRestart
            } else {
                ExitReason::KilledByOther { signal }
            }
        }
        _ if facts.code == UNSEEN && facts.engine_was_away => ExitReason::EngineRestart,
        _ => ExitReason::Exited,
    }
}

/// A stop that came after the end, or in an earlier run of the container, has not ended it.
fn is_of_this_end(intent: &Intent, facts: &Facts) -> bool {
    let caused = |end: SystemTime| intent.at <= end + intent.slack && end <= intent.valid_until();
    facts.ended_at.is_none_or(caused)
        && facts.started_at.is_none_or(|start| start <= intent.at + intent.slack)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner_core::StopReason::{Idle, Requested};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn facts(code: i64, oom_killed: bool) -> Facts {
        Facts {
            code,
            oom_killed,
            ran: true,
            started_at: Some(at(100)),
            ended_at: Some(at(200)),
            intent: None,
            engine_was_away: false,
        }
    }

    fn stopped(second: u64, grace: u64, facts: Facts) -> Facts {
        let intent =
            Intent { why: Idle, at: at(second), grace: Duration::from_secs(grace), slack: Duration::ZERO };
        Facts { intent: Some(intent), ..facts }
    }

    #[test]
    fn every_end_has_its_reason() {
        use ExitReason::*;
        for (name, facts, want) in [
            ("success", facts(0, false), Exited),
            ("failure", facts(1, false), Exited),
            ("code above the signals", facts(255, false), Exited),
            ("code 128", facts(128, false), Exited),
            ("negative", facts(-1, false), Exited),
            ("segmentation fault", facts(139, false), Crashed { signal: 11 }),
            ("abort", facts(134, false), Crashed { signal: 6 }),
            ("somebody's kill", facts(137, false), KilledByOther { signal: 9 }),
            ("somebody's TERM", facts(143, false), KilledByOther { signal: 15 }),
            ("memory", facts(137, true), OutOfMemory),
            ("a child's memory, server fine", facts(0, true), ChildOutOfMemory),
            ("a child's memory, server upset", facts(1, true), ChildOutOfMemory),
            ("our stop", stopped(199, 10, facts(143, false)), Stopped(Idle)),
            ("our stop, handled", stopped(199, 10, facts(0, false)), Stopped(Idle)),
            ("our kill", stopped(190, 10, facts(137, false)), KilledAfterGrace(Idle)),
            ("our kill at once", stopped(200, 0, facts(137, false)), KilledAfterGrace(Idle)),
            ("out of memory within our grace", stopped(199, 10, facts(137, true)), OutOfMemory),
            (
                "our kill long after a child's memory",
                stopped(190, 10, facts(137, true)),
                KilledAfterGrace(Idle),
            ),
            ("ended before our stop", stopped(201, 10, facts(0, false)), Exited),
            ("our stop of an earlier run", stopped(99, 10, facts(143, false)), KilledByOther { signal: 15 }),
            (
                "long after our stop, which did nothing",
                stopped(101, 10, facts(137, false)),
                KilledByOther { signal: 9 },
            ),
            ("engine restart", Facts { engine_was_away: true, ..facts(137, false) }, EngineRestart),
            (
                "our stop during the engine's restart",
                Facts { engine_was_away: true, ..stopped(199, 10, facts(143, false)) },
                Stopped(Idle),
            ),
            (
                "a signal to all during it",
                Facts { engine_was_away: true, ..facts(143, false) },
                EngineRestart,
            ),
            ("found dead after it", Facts { engine_was_away: true, ..facts(255, false) }, EngineRestart),
            ("an end of its own during it", Facts { engine_was_away: true, ..facts(7, false) }, Exited),
            ("success during it", Facts { engine_was_away: true, ..facts(0, false) }, Exited),
            (
                "a crash during it",
                Facts { engine_was_away: true, ..facts(139, false) },
                Crashed { signal: 11 },
            ),
            ("never ran", Facts { ran: false, started_at: None, ..facts(127, false) }, NeverStarted),
        ] {
            assert_eq!(reason(&facts), want, "{name}");
        }
    }

    #[test]
    fn an_engine_without_times_is_believed() {
        let intent =
            Intent { why: Requested, at: at(150), grace: Duration::from_secs(1), slack: Duration::ZERO };
        let bare = Facts { started_at: None, ended_at: None, intent: Some(intent), ..facts(137, false) };
        assert_eq!(reason(&bare), ExitReason::KilledAfterGrace(Requested));
        assert_eq!(reason(&Facts { code: 143, ..bare }), ExitReason::Stopped(Requested));
    }
}
