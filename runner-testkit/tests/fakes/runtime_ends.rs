//! How and why containers of the fake engine end, and when they do not.

use std::time::Duration;

use futures::StreamExt;
use runner_core::container::{StopOptions, StopOutcome};
use runner_core::logs::LogOptions;
use runner_core::{
    ContainerId, ContainerRuntime, ContainerState, ErrorKind, ExitReason, ExitStatus, Retry, StopReason,
};
use runner_testkit::fake_runtime::{
    FakeRuntime, child_out_of_memory, crashed, engine_restart, exited, killed_by_other, out_of_memory,
};
use tokio::time::{Instant, sleep, timeout};

use crate::boxes::{SECOND, spec, started};

const GRACE: StopOptions = StopOptions { grace: Duration::from_secs(10), why: StopReason::Requested };

async fn reason(engine: &FakeRuntime, id: &ContainerId) -> ExitReason {
    engine.wait(id).await.unwrap().reason
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_ignored_takes_its_grace_even_when_dropped() {
    let engine = FakeRuntime::new();
    engine.ignore_stop_signals();
    let (one, two) = (started(&engine, "one").await, started(&engine, "two").await);
    let began = Instant::now();
    engine.stop(&one, GRACE).await.unwrap();
    assert_eq!(began.elapsed(), GRACE.grace);
    assert_eq!(engine.wait(&one).await.unwrap().code, 137);

    timeout(SECOND, engine.stop(&two, GRACE)).await.unwrap_err();
    assert_eq!(timeout(GRACE.grace, engine.wait(&two)).await.unwrap().unwrap().code, 137);
}

#[tokio::test(start_paused = true)]
async fn a_stop_says_what_it_did_and_leaves_its_reason() {
    let engine = FakeRuntime::new();
    let why = StopReason::Idle;
    let id = engine.create(&spec("one")).await.unwrap();
    let stop = async |why| engine.stop(&id, GRACE.because(why)).await.unwrap();
    assert_eq!(stop(why).await, StopOutcome::NotRunning);
    engine.start(&id).await.unwrap();
    assert_eq!(stop(why).await, StopOutcome::Stopped);
    assert_eq!(stop(StopReason::Shutdown).await, StopOutcome::NotRunning);
    assert_eq!(reason(&engine, &id).await, ExitReason::Stopped(why));

    engine.ignore_stop_signals();
    engine.start(&id).await.unwrap();
    // The first of two stops has the reason, and each returns when it is over.
    let later = async {
        sleep(SECOND).await;
        stop(StopReason::Shutdown).await
    };
    let both = tokio::join!(stop(why), later);
    assert_eq!(both, (StopOutcome::KilledAfterGrace, StopOutcome::KilledAfterGrace));
    assert_eq!(reason(&engine, &id).await, ExitReason::KilledAfterGrace(why));
    engine.remove(&id).await.unwrap();
    assert_eq!(stop(why).await, StopOutcome::Gone);
}

#[tokio::test(start_paused = true)]
async fn an_end_within_the_grace_is_the_stops_unless_it_has_a_reason_of_its_own() {
    let engine = FakeRuntime::new();
    engine.ignore_stop_signals();
    for (status, outcome, want) in [
        (exited(1), StopOutcome::Stopped, ExitReason::Stopped(StopReason::Requested)),
        (out_of_memory(), StopOutcome::NotRunning, ExitReason::OutOfMemory),
    ] {
        let id = started(&engine, "one").await;
        let crash = async {
            sleep(SECOND).await;
            engine.crash(&id, status);
        };
        let (stopped, ()) = tokio::join!(engine.stop(&id, GRACE), crash);
        assert_eq!(stopped.unwrap(), outcome);
        assert_eq!(reason(&engine, &id).await, want);
        engine.start(&id).await.unwrap();
        // The kill that was planned for the last run does not come into this one.
        sleep(2 * GRACE.grace).await;
        assert_eq!(engine.inspect(&id).await.unwrap().state, ContainerState::Running);
        engine.remove(&id).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn every_way_to_end_has_its_reason_and_its_time() {
    let engine = FakeRuntime::new();
    for (status, code, want) in [
        (exited(3), 3, ExitReason::Exited),
        (crashed(11), 139, ExitReason::Crashed { signal: 11 }),
        (killed_by_other(9), 137, ExitReason::KilledByOther { signal: 9 }),
        (out_of_memory(), 137, ExitReason::OutOfMemory),
        (child_out_of_memory(1), 1, ExitReason::ChildOutOfMemory),
        (engine_restart(), 143, ExitReason::EngineRestart),
    ] {
        let id = started(&engine, "one").await;
        sleep(SECOND).await;
        engine.crash(&id, status);
        let exit = engine.wait(&id).await.unwrap();
        assert_eq!((exit.code, exit.reason, exit.ended_at), (code, want, Some(engine.now())));
        assert_eq!(exit.oom_killed, want.is_out_of_memory());
        engine.remove(&id).await.unwrap();
    }
    let id = started(&engine, "one").await;
    let (exit, removed) = tokio::join!(engine.wait(&id), engine.remove(&id));
    removed.unwrap();
    assert!(exit.unwrap().reason.is_ours(), "a removal kills");
}

#[tokio::test(start_paused = true)]
async fn a_child_that_was_killed_for_memory_is_remembered_to_the_end() {
    let engine = FakeRuntime::new();
    let id = engine.create(&spec("one")).await.unwrap();
    assert!(!engine.kill_child_for_memory(&id), "it does not run");
    engine.start(&id).await.unwrap();
    assert!(engine.kill_child_for_memory(&id));
    assert_eq!(engine.inspect(&id).await.unwrap().state, ContainerState::Running);
    engine.crash(&id, exited(0));
    let exit = engine.wait(&id).await.unwrap();
    assert_eq!(exit, ExitStatus { ended_at: exit.ended_at, ..child_out_of_memory(0) });

    engine.start(&id).await.unwrap();
    engine.crash(&id, exited(0));
    assert_eq!(reason(&engine, &id).await, ExitReason::Exited, "each run has its own");
}

#[tokio::test(start_paused = true)]
async fn a_held_container_is_stuck_until_a_call_succeeds() {
    let engine = FakeRuntime::new();
    let id = started(&engine, "one").await;
    assert!(engine.hold(&id, 3 * SECOND));
    let began = (Instant::now(), engine.now());
    for failed in [engine.stop(&id, GRACE).await.map(drop), engine.remove(&id).await] {
        let error = failed.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary));
        assert_eq!(error.container(), Some(&id));
    }
    assert_eq!(began.0.elapsed(), 6 * SECOND);
    let stuck = engine.stuck().pop().unwrap();
    assert_eq!((stuck.id, stuck.since, stuck.attempts), (id.clone(), began.1 + 3 * SECOND, 2));
    assert_eq!(engine.inspect(&id).await.unwrap().state, ContainerState::Running);

    let release = async {
        sleep(SECOND).await;
        engine.let_go(&id);
        assert_eq!(engine.stuck().len(), 1, "nothing has succeeded yet");
    };
    let (removed, ()) = tokio::join!(engine.remove(&id), release);
    removed.unwrap();
    assert_eq!(began.0.elapsed(), 7 * SECOND);
    assert!(engine.stuck().is_empty() && engine.is_empty());
    assert!(!engine.hold(&id, SECOND) && !engine.let_go(&id));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_restarts_takes_its_containers_with_it() {
    let engine = FakeRuntime::new();
    let (one, two) = (started(&engine, "one").await, started(&engine, "two").await);
    engine.crash(&two, exited(2));
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut log = engine.logs(&one, follow).await.unwrap();
    let restart = async {
        sleep(SECOND).await;
        engine.restart_engine();
    };
    let (exit, line, ()) = tokio::join!(engine.wait(&one), log.next(), restart);
    assert_eq!(exit.unwrap().reason, ExitReason::EngineRestart);
    assert_eq!(line.unwrap().unwrap_err().kind(), ErrorKind::Connection);
    assert!(log.next().await.is_none());
    assert_eq!(reason(&engine, &two).await, ExitReason::Exited, "it had ended before");
}

#[tokio::test(start_paused = true)]
async fn with_live_restore_containers_survive_and_streams_do_not() {
    let engine = FakeRuntime::new();
    engine.change_info(|info| info.live_restore = true);
    let id = started(&engine, "one").await;
    let before = engine.inspect(&id).await.unwrap();
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut log = engine.logs(&id, follow).await.unwrap();
    engine.restart_engine();
    assert_eq!(engine.inspect(&id).await.unwrap(), before);
    assert_eq!(log.next().await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
    timeout(SECOND, engine.wait(&id)).await.unwrap_err();
}
