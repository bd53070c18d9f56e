//! Why containers ended: what only we can know, kept beside what the engine tells.
//!
//! An engine knows the exit code and whether the kernel killed something for memory. It does not know who sent a
//! signal and why: 137 is a kill by us, by the kernel, by a person, or by an engine that was restarted. So our own
//! stops are noted before they are sent, and the engine's absences when they are noticed.
//!
//! The notes are this process's own. After a restart of the controller, an earlier stop of ours looks like
//! somebody else's.

mod decide;

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use runner_core::{ContainerId, ExitReason, StopReason};

use self::decide::Facts;
use crate::convert::clock;
use crate::json;

/// Absences of the engine that are remembered. More than a handful in the life of a container is another problem.
const KEPT_OUTAGES: usize = 16;

/// Stops that are remembered, the oldest forgotten first. They outlive the container: whoever waits for one that was
/// removed is told how it ended.
const KEPT_INTENTS: usize = 4096;

/// Around an absence. An engine that goes down closes its door first and ends the containers then; one that comes
/// back ends those it finds before it opens it. Both took below 3 s (measured), and ten seconds are what an engine
/// gives a container to end.
const AROUND: Duration = Duration::from_secs(10);

/// A stop of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Intent {
    why: StopReason,
    /// By the engine's clock.
    at: SystemTime,
    grace: Duration,
    /// How far the clocks may differ without our knowing.
    slack: Duration,
}

impl Intent {
    /// An end after this was not brought about by it: the engine has had its time.
    fn valid_until(&self) -> SystemTime {
        self.at + self.grace + LONGEST_END
    }
}

/// What an engine may take to end a container after the grace is over, its own patience with a stuck one included.
const LONGEST_END: Duration = Duration::from_mins(1);

/// A time in which the engine did not answer, by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outage {
    from: SystemTime,
    to: SystemTime,
}

#[derive(Debug, Default)]
struct Notes {
    intents: HashMap<ContainerId, Intent>,
    outages: VecDeque<Outage>,
    down_since: Option<SystemTime>,
    /// Whether containers survive the engine's restart.
    live_restore: bool,
    /// How far the engine's clock is ahead of ours, and how far behind.
    ahead: Duration,
    behind: Duration,
    slack: Duration,
}

/// What is known about ends beside what the engine tells.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    notes: Mutex<Notes>,
}

/// A difference of clocks below this is the time that the answer took: they are one and the same.
const SAME_CLOCK: Duration = Duration::from_millis(50);

/// How wrong a measured difference may be: the answer's time, and clocks that drift until it is measured again.
const SLACK: Duration = Duration::from_secs(1);

impl Exits {
    fn with<T>(&self, work: impl FnOnce(&mut Notes) -> T) -> T {
        work(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the engine says about itself.
    pub(crate) fn learn(&self, info: &json::Info) {
        let now = SystemTime::now();
        let theirs = clock(&info.system_time);
        let far = |later: SystemTime, earlier: SystemTime| {
            later.duration_since(earlier).ok().filter(|by| *by > SAME_CLOCK).unwrap_or_default()
        };
        self.with(|notes| {
            notes.live_restore = info.live_restore_enabled;
            notes.ahead = theirs.map(|theirs| far(theirs, now)).unwrap_or_default();
            notes.behind = theirs.map(|theirs| far(now, theirs)).unwrap_or_default();
            let same = notes.ahead.is_zero() && notes.behind.is_zero();
            notes.slack = if same { Duration::ZERO } else { SLACK };
        });
    }

    /// A stop is about to be sent. A later one does not change the reason of the first.
    pub(crate) fn stopping(&self, id: &ContainerId, why: StopReason, grace: Duration, is_first: bool) {
        self.with(|notes| {
            let at = notes.engine_time(SystemTime::now());
            let intent = Intent { why, at, grace, slack: notes.slack };
            if notes.intents.len() >= KEPT_INTENTS && !notes.intents.contains_key(id) {
                let oldest =
                    notes.intents.iter().min_by_key(|(_, intent)| intent.at).map(|(id, _)| id.clone());
                oldest.map(|id| notes.intents.remove(&id));
            }
            let kept = notes.intents.get(id).filter(|old| !is_first && at <= old.valid_until());
            if kept.is_none() {
                notes.intents.insert(id.clone(), intent);
            }
        });
    }

    /// A stop that was noted has not been carried out.
    pub(crate) fn withdraw(&self, id: &ContainerId) {
        self.with(|notes| notes.intents.remove(id));
    }

    /// How a container ended that is gone, if that was our doing.
    pub(crate) fn ended_by_us(&self, id: &ContainerId) -> Option<ExitReason> {
        self.with(|notes| notes.intents.get(id).map(|intent| ExitReason::KilledAfterGrace(intent.why)))
    }

    /// Whether a stop of this run of the container has been noted.
    pub(crate) fn is_stopping(&self, id: &ContainerId, started_at: Option<SystemTime>) -> bool {
        self.with(|notes| {
            notes.intents.get(id).is_some_and(|intent| started_at.is_none_or(|start| start <= intent.at))
        })
    }

    /// The engine has answered.
    pub(crate) fn engine_answers(&self) {
        self.with(|notes| {
            let Some(from) = notes.down_since.take() else { return };
            let to = notes.engine_time(SystemTime::now());
            if notes.outages.len() == KEPT_OUTAGES {
                notes.outages.pop_front();
            }
            notes.outages.push_back(Outage { from, to });
        });
    }

    /// The engine could not be reached, or broke off.
    pub(crate) fn engine_is_away(&self) {
        self.with(|notes| {
            let now = notes.engine_time(SystemTime::now());
            notes.down_since.get_or_insert(now);
        });
    }

    /// Why a container ended that the engine describes so.
    pub(crate) fn reason(&self, id: &ContainerId, state: &json::State) -> ExitReason {
        let ended_at = clock(&state.finished_at);
        let started_at = clock(&state.started_at);
        self.with(|notes| {
            let during = |outage: &Outage| {
                ended_at.is_some_and(|end| end + AROUND >= outage.from && end <= outage.to + AROUND)
            };
            let away = notes.outages.iter().any(during);
            decide::reason(&Facts {
                code: state.exit_code,
                oom_killed: state.oom_killed,
                // A start that failed leaves its container "created", with the reason beside it.
                ran: state.status != "created" && (started_at.is_some() || state.error.is_empty()),
                started_at,
                ended_at,
                intent: notes.intents.get(id).copied(),
                engine_was_away: away && !notes.live_restore,
            })
        })
    }
}

impl Notes {
    fn engine_time(&self, ours: SystemTime) -> SystemTime {
        ours + self.ahead - self.behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        ContainerId::new(text).unwrap()
    }

    fn ended(code: i64, at: SystemTime) -> json::State {
        let stamp = humantime::format_rfc3339_nanos(at).to_string();
        serde_json::from_value(serde_json::json!({
            "Status": "exited", "ExitCode": code, "OOMKilled": false, "FinishedAt": stamp,
            "StartedAt": "2020-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_stop_of_ours_is_remembered_until_the_container_is_gone() {
        let exits = Exits::default();
        let (ours, other) = (id("a"), id("b"));
        exits.stopping(&ours, StopReason::Idle, Duration::ZERO, true);
        exits.stopping(&ours, StopReason::Shutdown, Duration::ZERO, false);
        let later = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(exits.reason(&ours, &ended(143, later)), ExitReason::Stopped(StopReason::Idle));
        assert_eq!(exits.reason(&other, &ended(143, later)), ExitReason::KilledByOther { signal: 15 });
        exits.withdraw(&ours);
        assert_eq!(exits.reason(&ours, &ended(143, later)), ExitReason::KilledByOther { signal: 15 });
    }

    #[test]
    fn a_stop_that_was_not_carried_out_explains_no_later_end() {
        let exits = Exits::default();
        exits.stopping(&id("a"), StopReason::Idle, Duration::from_secs(10), true);
        let hours_later = SystemTime::now() + Duration::from_hours(3);
        assert_eq!(exits.reason(&id("a"), &ended(139, hours_later)), ExitReason::Crashed { signal: 11 });
        assert_eq!(exits.reason(&id("a"), &ended(137, hours_later)), ExitReason::KilledByOther { signal: 9 });
    }

    #[test]
    fn an_engine_whose_clock_is_a_little_behind_is_understood() {
        let exits = Exits::default();
        let behind = Duration::from_millis(800);
        let info = json::Info {
            system_time: humantime::format_rfc3339_nanos(SystemTime::now() - behind).to_string(),
            ..json::Info::default()
        };
        exits.learn(&info);
        exits.stopping(&id("a"), StopReason::Idle, Duration::from_secs(10), true);
        let end = SystemTime::now() + Duration::from_millis(50) - behind;
        assert_eq!(exits.reason(&id("a"), &ended(143, end)), ExitReason::Stopped(StopReason::Idle));
    }

    #[test]
    fn an_end_while_the_engine_was_away_is_the_engines_unless_containers_survive_that() {
        let exits = Exits::default();
        let now = SystemTime::now();
        exits.engine_is_away();
        exits.engine_is_away();
        exits.engine_answers();
        exits.engine_answers();
        assert_eq!(exits.with(|notes| notes.outages.len()), 1);
        assert_eq!(exits.reason(&id("a"), &ended(137, now)), ExitReason::EngineRestart);
        let long_ago = now - Duration::from_mins(1);
        assert_eq!(exits.reason(&id("a"), &ended(137, long_ago)), ExitReason::KilledByOther { signal: 9 });
        exits.with(|notes| notes.live_restore = true);
        assert_eq!(exits.reason(&id("a"), &ended(137, now)), ExitReason::KilledByOther { signal: 9 });
    }

    #[test]
    fn outages_are_bounded() {
        let exits = Exits::default();
        for _ in 0..100 {
            exits.engine_is_away();
            exits.engine_answers();
        }
        assert_eq!(exits.with(|notes| notes.outages.len()), KEPT_OUTAGES);
    }

    #[test]
    fn an_engine_with_another_clock_is_understood() {
        let exits = Exits::default();
        let theirs = SystemTime::now() - Duration::from_hours(1);
        let info = json::Info {
            system_time: humantime::format_rfc3339_nanos(theirs).to_string(),
            ..json::Info::default()
        };
        exits.learn(&info);
        exits.stopping(&id("a"), StopReason::Requested, Duration::ZERO, true);
        let end = theirs + Duration::from_secs(5);
        assert_eq!(exits.reason(&id("a"), &ended(143, end)), ExitReason::Stopped(StopReason::Requested));
        let before = theirs - Duration::from_secs(5);
        assert_eq!(exits.reason(&id("a"), &ended(0, before)), ExitReason::Exited);
    }
}
