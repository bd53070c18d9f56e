//! Things that happen at the same moment, calls that are given up, and peers that are of no help. Time is paused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use runner_core::phase::StartEvent;
use runner_core::{Error, ErrorKind, Outcome, Runner, RunnerStatus, Sink};
use runner_lifecycle::{LifecycleConfig, Ports, RunnerManager};
use runner_testkit::fake_agent::{Op, TurnScript, failure};
use runner_testkit::fake_runtime::{Op as EngineOp, exited};
use runner_testkit::fake_workspace::Op as WorkspaceOp;
use support::{World, ended, request, run, say, task};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Polls a future once and keeps it unpolled for a while: whoever waits on it may not look just now.
async fn poll_once_and_wait<F: Future + Unpin>(future: &mut F, time: Duration) {
    assert!(matches!(futures::poll!(&mut *future), Poll::Pending), "it should have to wait");
    sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_an_idle_reconnect() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.stall(Op::Events);
    world.agent.cut_stream_after(0);
    sleep(5 * SECOND).await;
    timeout(SECOND, runner.stop()).await.expect("nothing that hangs hides a stop").unwrap();
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_run_during_an_idle_reconnect_begins_a_turn_of_its_own() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.stall_next(Op::Events);
    world.agent.cut_stream_after(0);
    sleep(5 * SECOND).await;
    assert!(timeout(5 * SECOND, run(&runner, "go")).await.expect("it ends").1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_was_given_but_never_taken_is_aborted() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().never_ends());
    let mut call = runner.run(say("go"));
    poll_once_and_wait(&mut call, SECOND).await;
    assert_eq!(world.agent.running_turns(), 1);
    drop(call);
    sleep(SECOND).await;
    assert_eq!(world.agent.running_turns(), 0);
    assert!(run(&runner, "again").await.1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_was_given_but_never_taken_is_stopped() {
    let world = World::new();
    let mut call = world.start("t").boxed();
    poll_once_and_wait(&mut call, SECOND).await;
    drop(call);
    sleep(10 * SECOND).await;
    world.assert_nothing_left();
    world.start("t").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_caller_who_does_not_look() {
    let world = World::new();
    let mut call = world.start("t").boxed();
    poll_once_and_wait(&mut call, SECOND).await;
    let began = Instant::now();
    world.manager.shutdown().await.unwrap();
    assert!(began.elapsed() < 10 * SECOND);
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_delete_gives_a_start_up_and_throws_nothing_away_under_it() {
    for ms in (0..1500).step_by(100) {
        let world = World::new();
        world.engine.delay(EngineOp::Create, 300 * MS);
        world.engine.delay(EngineOp::Start, 300 * MS);
        world.agent.not_ready_for(400 * MS);
        let manager = world.manager.clone();
        let starting = tokio::spawn(async move { manager.start(request("t"), Sink::none()).await });
        sleep(ms * MS).await;
        world.manager.delete(&task("t")).await.unwrap();
        world.assert_nothing_left();
        assert!(!world.workspaces.has_state(&task("t")), "at {ms} ms");
        assert!(world.manager.get(&task("t")).is_none(), "at {ms} ms");
        if let Err(error) = starting.await.unwrap() {
            assert_eq!(error.kind(), ErrorKind::Canceled, "at {ms} ms: {error}");
        }
        world.start("t").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_while_a_task_is_deleted_and_two_deletes_are_one() {
    let world = World::new();
    let runner = world.ready().await;
    world.workspaces.delay(WorkspaceOp::DiscardState, SECOND);
    let id = task("t");
    let late = async {
        sleep(SECOND / 2).await;
        world.start("t").await
    };
    let (a, b, start) = tokio::join!(world.manager.delete(&id), world.manager.delete(&id), late);
    a.unwrap();
    b.unwrap();
    assert_eq!(start.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(runner.status(), RunnerStatus::Stopped);
    world.start("t").await.unwrap();
    assert!(world.workspaces.has_state(&task("t")));
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_dropped_or_fails_can_be_repeated() {
    let world = World::new();
    world.ready().await;
    world.workspaces.stall_next(WorkspaceOp::DiscardState);
    assert!(timeout(10 * SECOND, world.manager.delete(&task("t"))).await.is_err());
    let broken = Error::new(ErrorKind::Workspace, "throw away", "read-only file system");
    world.workspaces.unstall(WorkspaceOp::DiscardState);
    world.workspaces.fail_next(WorkspaceOp::DiscardState, broken);
    assert_eq!(world.manager.delete(&task("t")).await.unwrap_err().kind(), ErrorKind::Workspace);
    world.manager.delete(&task("t")).await.unwrap();
    assert!(!world.workspaces.has_state(&task("t")) && world.manager.get(&task("t")).is_none());
    world.start("t").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_failed_is_tried_again_by_a_delete_and_by_a_shutdown() {
    for by_delete in [true, false] {
        let world = World::new();
        let runner = world.ready().await;
        world.engine.fail_next(EngineOp::Remove, Error::new(ErrorKind::Engine, "remove", "busy"));
        runner.stop().await.unwrap_err();
        assert!(!world.engine.is_empty());
        if by_delete {
            world.manager.delete(&task("t")).await.unwrap();
            assert!(world.manager.get(&task("t")).is_none());
        }
        world.manager.shutdown().await.unwrap();
        world.assert_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_somebody_else_removed_is_told_as_gone() {
    let world = World::new();
    let gone = Error::new(ErrorKind::NotFound, "wait for a container", "no such container");
    world.engine.fail_next(EngineOp::Wait, gone.clone());
    let error = world.start("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContainerExited, "{error}");
    assert!(error.chain().contains("no such container"), "{}", error.chain());
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_work_are_refused_before_anything_starts() {
    for buffer in [0, usize::MAX] {
        let mut config = LifecycleConfig::new("agent:1".parse().unwrap(), "me");
        config.turn.event_buffer = buffer;
        let world = World::new();
        let ports = Ports {
            runtime: Arc::new(world.engine.clone()),
            connector: Arc::new(world.connector.clone()),
            workspaces: Arc::new(world.workspaces.clone()),
        };
        assert_eq!(RunnerManager::new(ports, config).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test(start_paused = true)]
async fn a_phase_that_failed_is_not_reported_as_done() {
    let world = World::new();
    world.agent.unauthorized();
    let (told, seen) = std::sync::mpsc::channel();
    let sink = Sink::new(move |event| drop(told.send(event)));
    let error = world.manager.start(request("t"), sink).await.unwrap_err();
    let failed = error.start_failure().unwrap().phases.iter().last().unwrap().0;
    let done: Vec<_> =
        seen.try_iter().filter(|e| matches!(e, StartEvent::Done(p, _) if *p == failed)).collect();
    assert!(done.is_empty(), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_of_progress_that_panics_costs_one_start_and_leaves_nothing() {
    for at in 0..12 {
        let world = World::new();
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let sink = Sink::new(move |_: StartEvent| {
            let n = seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            assert!(n < at, "the receiver's own mistake");
        });
        let error = world.manager.start(request("t"), sink).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
        world.assert_nothing_left();
        world.start("t").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_during_the_end_is_answered() {
    let world = World::new();
    let runner = world.ready().await;
    world.engine.delay(EngineOp::Stop, 5 * SECOND);
    let began = Instant::now();
    let late = async {
        sleep(SECOND).await;
        assert_eq!(runner.status(), RunnerStatus::Stopping);
        let refused = runner.run(say("x")).await.unwrap_err();
        runner.cancel().await.unwrap();
        assert_eq!(refused.kind(), ErrorKind::NotReady, "{refused}");
        assert!(began.elapsed() < 2 * SECOND, "who cannot be served is told at once: {:?}", began.elapsed());
        runner.stop().await
    };
    let crowd = futures::future::join_all((0..40).map(|_| runner.stop()));
    let (first, second, all) = tokio::join!(runner.stop(), late, crowd);
    first.unwrap();
    second.unwrap();
    assert!(all.iter().all(Result::is_ok));
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_failure_report_of_a_session_that_goes_on_is_asked_about_once() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.delay(Op::SessionStatus, MS);
    world
        .agent
        .script(TurnScript::new().reports(failure("Odd", "of no matter")).wait(20 * SECOND).text("done"));
    let (_, result) = run(&runner, "go").await;
    assert!(result.is_completed(), "{result:?}");
    let asked = world.agent.count(Op::SessionStatus);
    assert!(asked < 20, "asked {asked} times in 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_abort_is_not_the_next_turns_failure() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().never_ends());
    let turn = runner.run(say("one")).await.unwrap();
    runner.cancel().await.unwrap();
    assert!(matches!(ended(turn).await.1.outcome, Outcome::Canceled));
    // The report comes late, and the next turn begins slowly.
    world.agent.script(TurnScript::new().wait(2 * SECOND).text("two"));
    assert!(run(&runner, "two").await.1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_turns_time_may_be_any() {
    let world = World::new();
    let runner = world.ready().await;
    let turn = runner.run(say("go").with_timeout(Duration::MAX)).await.unwrap();
    assert!(ended(turn).await.1.is_completed());
    let none = runner.run(say("go").with_timeout(Duration::ZERO)).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Timeout, "{none}");
    assert!(run(&runner, "again").await.1.is_completed());
    runner.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_prompt_nobody_can_ask_about_is_not_called_undelivered() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.accept_but_lose_reply();
    world.agent.mute(true);
    world.agent.script(TurnScript::new().wait(20 * SECOND).text("got it"));
    let reset = Error::new(ErrorKind::Connection, "ask", "reset").temporary();
    world.agent.fail_always(Op::SessionStatus, reset);
    let heal = async {
        sleep(15 * SECOND).await;
        world.agent.heal(Op::SessionStatus);
    };
    let (turn, ()) = tokio::join!(run(&runner, "go"), heal);
    assert!(turn.1.is_completed(), "{:?}", turn.1);
    assert_eq!(world.agent.prompts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_death_that_shows_as_a_broken_connection_first_is_told_as_a_death() {
    let world = World::new();
    let reset = Error::new(ErrorKind::Connection, "make a session", "reset").temporary();
    world.agent.fail_next(Op::CreateSession, reset);
    world.engine.exit_after(100 * MS, exited(9));
    let error = world.start("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContainerExited, "{error}");
    assert!(error.chain().contains("code 9") && error.chain().contains("reset"), "{}", error.chain());
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_death_at_once_end_in_one_way() {
    for (working, first_stop) in [(true, true), (true, false), (false, true), (false, false)] {
        let world = World::new();
        let runner = world.ready().await;
        let turn = if working {
            world.agent.script(TurnScript::new().never_ends());
            Some(runner.run(say("go")).await.unwrap())
        } else {
            None
        };
        let mut stop = runner.stop();
        if first_stop {
            assert!(futures::poll!(&mut stop).is_pending());
        }
        world.engine.crash(runner.container(), exited(1));
        stop.await.unwrap();
        if let Some(turn) = turn {
            ended(turn).await;
        }
        // The death was there before anybody could see the stop.
        assert_eq!(runner.status(), RunnerStatus::Failed, "working {working}, stop first {first_stop}");
        assert_eq!(runner.failure().unwrap().kind(), ErrorKind::ContainerExited);
        world.assert_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_gets_the_end_and_every_number() {
    let world = World::with(|config| config.turn.event_buffer = 4);
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().text_deltas(["a"; 100]));
    let turn = runner.run(say("go")).await.unwrap();
    sleep(10 * SECOND).await;
    let events = support::events_of(turn).await;
    assert!(
        matches!(events[0].kind, runner_core::RunEventKind::Lagged { missed } if missed == events[0].seq + 1)
    );
    assert!(events.windows(2).all(|w| w[1].seq == w[0].seq + 1), "{events:?}");
    let Some(runner_core::RunEventKind::Finished(result)) = events.last().map(|e| &e.kind) else {
        panic!("the end is always delivered: {events:?}")
    };
    assert_eq!(result.text.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn every_call_may_be_dropped_at_any_time() {
    for polls in 0..12 {
        for ms in [0, 1, 30] {
            let (world, id) = (World::new(), task("t"));
            let runner = world.ready().await;
            world.agent.delay(Op::Prompt, 2 * MS);
            world.agent.script(TurnScript::new().pace(20 * MS).text_deltas(["a", "b", "c"]));
            let calls: [futures::future::BoxFuture<'_, ()>; 4] = [
                runner.run(say("go")).map(drop).boxed(),
                runner.cancel().map(drop).boxed(),
                runner.stop().map(drop).boxed(),
                world.manager.delete(&id).map(drop).boxed(),
            ];
            for (place, mut call) in calls.into_iter().enumerate() {
                if polls & (1 << place) != 0 && futures::poll!(&mut call).is_pending() {
                    sleep(ms * MS).await;
                }
            }
            world.manager.delete(&task("t")).await.unwrap();
            world.start("t").await.unwrap();
            world.manager.shutdown().await.unwrap();
            world.assert_nothing_left();
        }
    }
}

/// The engine's trouble is not the container's end: the turn goes on.
#[tokio::test(start_paused = true)]
async fn a_wait_that_fails_stops_no_healthy_runner() {
    let world = World::new();
    let trouble = Error::new(ErrorKind::EngineUnavailable, "wait", "nobody answers").temporary();
    for _ in 0..3 {
        world.engine.fail_next(EngineOp::Wait, trouble.clone());
    }
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().text("slow").wait(Duration::from_mins(1)).text(" and fine"));
    let (_, result) = run(&runner, "x").await;
    assert!(result.is_completed(), "{result:?}");
    assert_eq!(runner.status(), RunnerStatus::Ready);
    // And the next wait still notices the end.
    let container = runner.container().clone();
    world.engine.crash(&container, exited(1));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(runner.status(), RunnerStatus::Failed);
}
