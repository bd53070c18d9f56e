//! What becomes of a container, against an engine that misbehaves by script: lost answers to a creation, ends and
//! their reasons, containers that cannot be ended, limits.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use runner_core::container::{Network, StopOptions, StopOutcome, UserSpec};
use runner_core::resources::ResourceUpdate;
use runner_core::{
    ContainerId, ContainerRuntime, ContainerSpec, ContainerState, ErrorKind, ExitReason, Retry, StopReason,
};
use serde_json::{Value, json};
use support::{Call, Fake, Reply, Then, fail, ok, unexpected};

const INSPECT: &str = "GET /containers/abc/json";
const BY_NAME: &str = "GET /containers/name/json";
const CREATE: &str = "POST /containers/create";
const STOP: &str = "POST /containers/abc/stop";
const KILL: &str = "POST /containers/abc/kill";
const WAIT: &str = "POST /containers/abc/wait";
const REMOVE: &str = "DELETE /containers/abc";
const PAUSE: &str = "POST /containers/abc/pause";
const UNPAUSE: &str = "POST /containers/abc/unpause";
const UPDATE: &str = "POST /containers/abc/update";

fn id() -> ContainerId {
    ContainerId::new("abc").unwrap()
}

fn spec() -> ContainerSpec {
    let mut spec = ContainerSpec::new("name", "img:1".parse().unwrap(), UserSpec { uid: 1000, gid: 1000 });
    spec.network = Network::None;
    spec.labels.insert("k".into(), "v".into());
    spec
}

fn container(state: &Value) -> Reply {
    ok(json!({"Id": "abc", "Name": "/n", "State": state}).to_string())
}

fn running() -> Reply {
    container(&json!({"Status": "running", "StartedAt": "2020-01-01T00:00:00Z"}))
}

fn ended(code: i64, oom: bool, when: SystemTime) -> Reply {
    container(&json!({"Status": "exited", "ExitCode": code, "OOMKilled": oom,
        "StartedAt": "2020-01-01T00:00:00Z", "FinishedAt": humantime::format_rfc3339_nanos(when).to_string()}))
}

fn gone() -> Reply {
    fail(404, "No such container: abc")
}

fn nothing() -> Reply {
    Reply::Json(204, String::new())
}

fn grace(seconds: u64, why: StopReason) -> StopOptions {
    StopOptions::new(Duration::from_secs(seconds)).because(why)
}

/// Why the container has ended.
async fn reason(runtime: &dyn ContainerRuntime) -> ExitReason {
    match runtime.inspect(&id()).await.unwrap().state {
        ContainerState::Exited(exit) => exit.reason,
        other => panic!("{other:?}"),
    }
}

// ---- creating

/// The container of a request, with the labels that it asked for.
fn made(call: &Call) -> Reply {
    let body: Value = serde_json::from_str(&call.body).unwrap();
    let labels = &body["Labels"];
    ok(json!({"Id": "made", "State": {"Status": "created"}, "Config": {"Labels": labels}}).to_string())
}

#[tokio::test]
async fn a_container_whose_creation_gave_no_answer_is_found_again() {
    for lost in [Reply::Hangup, Reply::Silence, ok("{}")] {
        let shown = format!("{lost:?}");
        let there: Arc<Mutex<Option<Reply>>> = Arc::default();
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (CREATE, 0) => {
                *there.lock().unwrap() = Some(made(call));
                lost.clone()
            }
            // It takes the engine a moment.
            (BY_NAME, 0) => fail(404, "No such container: name"),
            (BY_NAME, _) => there.lock().unwrap().clone().unwrap(),
            _ => unexpected(call),
        });
        let found = fake.connect().await.create(&spec()).await.expect(&shown);
        assert_eq!(found.as_str(), "made", "{shown}");
        assert_eq!(fake.count(CREATE), 1, "{shown}: never asked for twice");
    }
}

#[tokio::test]
async fn without_an_answer_anothers_container_is_not_taken_for_ours() {
    // All our labels, from another request of the same task: as after a crash.
    let other = json!({"Id": "old", "State": {"Status": "running"},
        "Config": {"Labels": {"k": "v", "cnap.runner.create": "0"}}});
    let fake = Fake::engine(move |call| match call.what.as_str() {
        CREATE => Reply::Hangup,
        BY_NAME => ok(other.to_string()),
        _ => unexpected(call),
    });
    let error = fake.connect().await.create(&spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(error.container().map(ContainerId::as_str), Some("old"));

    let fake = Fake::engine(|call| match call.what.as_str() {
        CREATE => Reply::Hangup,
        BY_NAME => fail(404, "No such container: name"),
        _ => unexpected(call),
    });
    let error = fake.connect().await.create(&spec()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Connection, Retry::Temporary), "{error}");
    assert!(fake.count(BY_NAME) > 1, "it was looked for more than once");
}

#[tokio::test]
async fn a_taken_name_tells_who_has_it_and_leaves_it_alone() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        CREATE => fail(409, r#"Conflict. The container name "/name" is already in use by container "f00"."#),
        BY_NAME => ok(r#"{"Id":"f00","State":{"Status":"running"}}"#),
        _ => unexpected(call),
    });
    let error = fake.connect().await.create(&spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.container().map(ContainerId::as_str), Some("f00"), "{error}");
}

#[tokio::test]
async fn every_creation_has_a_mark_of_its_own() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        CREATE => ok(r#"{"Id":"abc","Warnings":[]}"#),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    runtime.create(&spec()).await.unwrap();
    runtime.create(&spec()).await.unwrap();
    let mark = |call: &Call| {
        let body: Value = serde_json::from_str(&call.body).unwrap();
        body["Labels"]["cnap.runner.create"].as_str().unwrap().to_owned()
    };
    let marks: Vec<String> = fake.calls(CREATE).iter().map(mark).collect();
    assert_eq!(marks[0].len(), 32);
    assert_ne!(marks[0], marks[1]);
}

// ---- ends and their reasons

#[tokio::test]
async fn a_stop_tells_how_it_went_and_the_container_why_it_ended() {
    for (code, outcome, want) in [
        (143, StopOutcome::Stopped, ExitReason::Stopped(StopReason::Idle)),
        (0, StopOutcome::Stopped, ExitReason::Stopped(StopReason::Idle)),
        (137, StopOutcome::KilledAfterGrace, ExitReason::KilledAfterGrace(StopReason::Idle)),
    ] {
        let soon = SystemTime::now() + Duration::from_secs(1);
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (INSPECT, 0) => running(),
            (INSPECT, _) => ended(code, false, soon),
            (STOP, _) => nothing(),
            _ => unexpected(call),
        });
        let runtime = fake.connect().await;
        assert_eq!(runtime.stop(&id(), grace(0, StopReason::Idle)).await.unwrap(), outcome, "{code}");
        assert_eq!(reason(&runtime).await, want, "{code}");
    }
}

/// The end came a moment before the stop: never taken for ours.
#[tokio::test]
async fn one_that_ended_by_itself_just_before_the_stop_was_not_stopped() {
    let before = SystemTime::now() - Duration::from_millis(20);
    for first_look in [running(), ended(0, false, before)] {
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (INSPECT, 0) => first_look.clone(),
            (INSPECT, _) => ended(0, false, before),
            // Already stopped.
            (STOP, _) => Reply::Json(304, String::new()),
            _ => unexpected(call),
        });
        let runtime = fake.connect().await;
        let outcome = runtime.stop(&id(), grace(1, StopReason::Requested)).await.unwrap();
        assert_eq!(outcome, StopOutcome::NotRunning);
        assert_eq!(reason(&runtime).await, ExitReason::Exited);
    }
}

#[tokio::test]
async fn an_end_that_was_not_ours_has_its_reason_too() {
    let now = SystemTime::now();
    for (code, oom, reason) in [
        (0, false, ExitReason::Exited),
        (3, false, ExitReason::Exited),
        (137, false, ExitReason::KilledByOther { signal: 9 }),
        (143, false, ExitReason::KilledByOther { signal: 15 }),
        (139, false, ExitReason::Crashed { signal: 11 }),
        (137, true, ExitReason::OutOfMemory),
        (0, true, ExitReason::ChildOutOfMemory),
    ] {
        let fake = Fake::engine(move |call| match call.what.as_str() {
            WAIT => Reply::Stream(vec![b"{}".to_vec()], Then::End),
            INSPECT => ended(code, oom, now),
            _ => unexpected(call),
        });
        let exit = fake.connect().await.wait(&id()).await.unwrap();
        assert_eq!((exit.code, exit.reason), (code, reason));
        assert!(exit.ended_at.is_some());
    }
}

/// Under load the engine hears of the end first and of the kernel's reason a moment later.
#[tokio::test]
async fn a_late_report_of_a_lack_of_memory_is_waited_for() {
    let now = SystemTime::now();
    let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
        (WAIT, _) => Reply::Stream(vec![b"{}".to_vec()], Then::End),
        (INSPECT, 0 | 1) => ended(137, false, now),
        (INSPECT, _) => ended(137, true, now),
        _ => unexpected(call),
    });
    let exit = fake.connect().await.wait(&id()).await.unwrap();
    assert_eq!((exit.oom_killed, exit.reason), (true, ExitReason::OutOfMemory));
}

/// As a `kill -9` of the daemon does it: the wait breaks, nobody answers, and then the container has ended.
#[tokio::test]
async fn an_end_during_the_engines_absence_is_the_engines() {
    let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
        (INSPECT, 0) => running(),
        (WAIT, 0) => Reply::Stream(vec![], Then::Cut),
        (INSPECT | WAIT, 1) => Reply::Hangup,
        _ => ended(137, false, SystemTime::now()),
    });
    let exit = fake.connect().await.wait(&id()).await.unwrap();
    assert_eq!((exit.code, exit.reason), (137, ExitReason::EngineRestart));
}

#[tokio::test]
async fn an_old_kill_is_not_blamed_on_a_later_absence() {
    let hour_ago = SystemTime::now() - Duration::from_hours(1);
    let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
        (INSPECT, 0) => Reply::Hangup,
        (INSPECT, _) => ended(137, false, hour_ago),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    assert!(runtime.inspect(&id()).await.is_err());
    assert_eq!(reason(&runtime).await, ExitReason::KilledByOther { signal: 9 });
}

/// Nothing of this is about the container: whoever took it for an end would stop a healthy one.
#[tokio::test]
async fn what_says_nothing_about_the_container_ends_no_wait() {
    for trouble in [fail(500, "context deadline exceeded"), fail(429, "slow down"), ok("[]"), Reply::Silence]
    {
        let shown = format!("{trouble:?}");
        let now = SystemTime::now();
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (WAIT, _) => Reply::Stream(vec![b"{}".to_vec()], Then::End),
            (INSPECT, 0) => trouble.clone(),
            (INSPECT, 1) => running(),
            (INSPECT, _) => ended(3, false, now),
            _ => unexpected(call),
        });
        let exit = fake.connect().await.wait(&id()).await.expect(&shown);
        assert_eq!((exit.code, exit.reason), (3, ExitReason::Exited), "{shown}");
    }
}

/// A forced removal leaves nothing to look at; who was waiting learns that it was us.
#[tokio::test]
async fn a_removal_of_ours_ends_a_wait_with_its_reason() {
    let removed = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&removed);
    let fake = Fake::engine(move |call| match call.what.as_str() {
        WAIT => Reply::Stream(vec![], Then::Stall),
        INSPECT if script.load(Ordering::SeqCst) => gone(),
        INSPECT => running(),
        REMOVE => {
            script.store(true, Ordering::SeqCst);
            nothing()
        }
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let id = id();
    let (ended, removed) = tokio::join!(runtime.wait(&id), async {
        fake.saw(INSPECT).await;
        runtime.remove(&id).await
    });
    removed.unwrap();
    assert_eq!(ended.unwrap().reason, ExitReason::KilledAfterGrace(StopReason::Requested));
}

#[tokio::test]
async fn a_stop_that_was_refused_explains_no_later_end() {
    let later = SystemTime::now() + Duration::from_secs(5);
    let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
        (INSPECT, 0) => running(),
        (INSPECT, _) => ended(139, false, later),
        (STOP, _) => fail(400, "invalid signal"),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    assert_eq!(
        runtime.stop(&id(), grace(10, StopReason::Idle)).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(reason(&runtime).await, ExitReason::Crashed { signal: 11 });
}

// ---- what cannot be ended

/// Newer engines answer for a container that they cannot end; that is not the end of the ladder.
#[tokio::test]
async fn an_engine_that_gives_a_stop_up_is_asked_to_kill() {
    let soon = SystemTime::now() + Duration::from_secs(1);
    let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
        (INSPECT, 0 | 1) => running(),
        (INSPECT, _) => ended(137, false, soon),
        (STOP, _) => fail(500, "tried to kill container, but did not receive an exit event"),
        (KILL, _) => nothing(),
        _ => unexpected(call),
    });
    let outcome = fake.connect().await.stop(&id(), grace(0, StopReason::Idle)).await.unwrap();
    assert_eq!((outcome, fake.count(KILL)), (StopOutcome::KilledAfterGrace, 1));
}

#[tokio::test]
async fn a_removal_survives_an_engine_that_is_restarted() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (REMOVE, 0) => Reply::Hangup,
        (REMOVE, 1) => fail(503, ""),
        (REMOVE, _) => nothing(),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    runtime.remove(&id()).await.unwrap();
    assert_eq!(fake.count(REMOVE), 3);
    assert!(runtime.stuck().is_empty());
}

#[tokio::test]
async fn what_neither_a_kill_nor_a_removal_ends_is_kept_in_view() {
    let released = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&released);
    let fake = Fake::engine(move |call| match call.what.as_str() {
        REMOVE if script.load(Ordering::SeqCst) => nothing(),
        STOP | KILL | REMOVE => Reply::Silence,
        INSPECT => running(),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    assert!(runtime.stuck().is_empty());
    let stop = runtime.stop(&id(), grace(1, StopReason::Idle)).await.unwrap_err();
    let remove = runtime.remove(&id()).await.unwrap_err();
    assert_eq!((stop.kind(), remove.kind()), (ErrorKind::Timeout, ErrorKind::Timeout));
    let stuck = runtime.stuck();
    assert_eq!((stuck.len(), stuck[0].id.as_str(), stuck[0].attempts), (1, "abc", 2));
    assert_eq!(stuck[0].error.kind(), ErrorKind::Timeout);

    // It has had its patience: no more grace.
    drop(runtime.stop(&id(), grace(60, StopReason::Idle)).await);
    assert_eq!(fake.calls(STOP)[1].query, "t=0");

    released.store(true, Ordering::SeqCst);
    runtime.remove(&id()).await.unwrap();
    assert!(runtime.stuck().is_empty(), "gone after all");
}

/// One container that the engine does not let go must not cost the others their time.
#[tokio::test]
async fn a_stuck_container_does_not_delay_the_others() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        "DELETE /containers/stuck" | "GET /containers/stuck/json" => Reply::Silence,
        what if what.starts_with("DELETE ") => nothing(),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let stuck = ContainerId::new("stuck").unwrap();
    let stuck = runtime.remove(&stuck);
    let others = async {
        for n in 0..20 {
            runtime.remove(&ContainerId::new(format!("c{n}")).unwrap()).await.unwrap();
        }
    };
    tokio::pin!(stuck);
    tokio::select! {
        biased;
        result = &mut stuck => panic!("the stuck one was faster: {result:?}"),
        () = others => {}
    }
    assert_eq!(stuck.await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn an_engine_that_is_away_makes_no_container_stuck() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        REMOVE | INSPECT => Reply::Hangup,
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    assert_eq!(runtime.remove(&id()).await.unwrap_err().kind(), ErrorKind::Connection);
    assert!(runtime.stuck().is_empty());
}

// ---- limits

#[tokio::test]
async fn memory_and_swap_are_changed_together_and_nothing_else() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        UPDATE => ok(r#"{"Warnings":null}"#),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let memory = ResourceUpdate { memory_bytes: Some(512 << 20), ..ResourceUpdate::default() };
    runtime.update(&id(), &memory).await.unwrap();
    let cpu = ResourceUpdate { cpu_millis: Some(1500), ..ResourceUpdate::default() };
    runtime.update(&id(), &cpu).await.unwrap();
    let body = |call: &Call| serde_json::from_str::<Value>(&call.body).unwrap();
    let bodies: Vec<Value> = fake.calls(UPDATE).iter().map(body).collect();
    assert_eq!(
        bodies,
        [json!({"Memory": 512 << 20, "MemorySwap": 512 << 20}), json!({"NanoCpus": 1_500_000_000})]
    );

    let nothing = runtime.update(&id(), &ResourceUpdate::default()).await.unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::InvalidInput);
    assert_eq!(fake.count(UPDATE), 2, "refused before the engine is asked");
}

#[tokio::test]
async fn pausing_agrees_with_what_is_so_already() {
    type Case = (&'static str, Reply, Reply, Result<(), ErrorKind>);
    let state = |status: &str| container(&json!({"Status": status}));
    let cases: Vec<Case> = vec![
        (PAUSE, nothing(), state("paused"), Ok(())),
        (PAUSE, fail(409, "Container abc is already paused"), state("paused"), Ok(())),
        (PAUSE, fail(409, "Container abc is not running"), state("exited"), Err(ErrorKind::NotReady)),
        (PAUSE, fail(409, "Container abc is not running"), state("created"), Err(ErrorKind::NotReady)),
        (PAUSE, gone(), gone(), Err(ErrorKind::NotFound)),
        (PAUSE, Reply::Hangup, state("paused"), Ok(())),
        (PAUSE, Reply::Hangup, running(), Err(ErrorKind::Connection)),
        (UNPAUSE, Reply::Silence, running(), Ok(())),
        (PAUSE, fail(500, "cgroup freezer: broken"), running(), Err(ErrorKind::Engine)),
        (UNPAUSE, nothing(), running(), Ok(())),
        (UNPAUSE, fail(500, "Container abc is not paused"), running(), Ok(())),
        (UNPAUSE, fail(500, "Container abc is not paused"), state("exited"), Err(ErrorKind::NotReady)),
        (UNPAUSE, gone(), gone(), Err(ErrorKind::NotFound)),
    ];
    for (what, reply, look, want) in cases {
        let shown = format!("{what} {reply:?} {look:?}");
        let fake = Fake::engine(move |call| if call.what == INSPECT { look.clone() } else { reply.clone() });
        let runtime = fake.connect().await;
        let result = if what == PAUSE { runtime.pause(&id()).await } else { runtime.unpause(&id()).await };
        assert_eq!(result.map_err(|e| e.kind()), want, "{shown}");
    }
}
