//! Starts and ends on fakes: readiness is proved, failures are undone, nothing is left. Time is paused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use runner_core::phase::{Phase, StartEvent};
use runner_core::{Error, ErrorKind, Outcome, Retry, Runner, RunnerStatus, Sink};
use runner_lifecycle::labels;
use runner_testkit::fake_agent::{Op as AgentOp, TurnScript};
use runner_testkit::fake_runtime::{Op, exited};
use runner_testkit::fake_workspace::Op as WorkspaceOp;
use support::{World, ended, request, run, say, task};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_start_goes_through_its_phases_and_tells_their_times() {
    let world = World::new();
    world.agent.not_ready_for(2 * SECOND);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let sink = Sink::new(move |event| {
        if let StartEvent::Done(phase, _) = event {
            told.lock().unwrap().push(phase);
        }
    });
    let runner = world.manager.start(request("t"), sink).await.unwrap();
    let phases = [Phase::Workspace, Phase::Image, Phase::Create, Phase::Start, Phase::Health, Phase::Session];
    assert_eq!(*seen.lock().unwrap(), phases);
    let health = runner.start_times().get(Phase::Health).unwrap();
    assert!(health >= 2 * SECOND && health < 2 * SECOND + Duration::from_millis(50), "{health:?}");
    assert_eq!(runner.status(), RunnerStatus::Ready);
}

#[tokio::test(start_paused = true)]
async fn the_container_is_what_the_design_says() {
    let world = World::new();
    let runner = world.start("team:7").await.unwrap();
    let spec = &world.engine.created_specs()[0];
    assert_eq!(spec.name, format!("cnap-runner-{}", task("team:7").slug()));
    for (key, value) in [
        (labels::TASK, "team:7"),
        (labels::AGENT, "writer"),
        (labels::MANAGED, "true"),
        (labels::NAMESPACE, "default"),
        (labels::INSTANCE, "me"),
    ] {
        assert_eq!(spec.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_ne!(spec.user.uid, 0);
    let targets: Vec<_> = spec.mounts.iter().map(|m| m.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["/workspace", "/state", "/run/runner"]);
    let password = world.workspaces.password(&task("team:7")).unwrap();
    assert!(!format!("{spec:?}").contains(password.expose()), "the password is handed over as a file only");
    assert_eq!(world.connector.endpoints()[0].credentials.password.expose(), password.expose());
    runner.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_anywhere_leaves_nothing() {
    type Break = fn(&World);
    let cases: [(&str, ErrorKind, Break); 9] = [
        ("workspace", ErrorKind::Workspace, |w| {
            w.workspaces.fail_next(WorkspaceOp::Prepare, Error::new(ErrorKind::Workspace, "x", "is a file"));
        }),
        ("image", ErrorKind::ImageUnavailable, |w| w.engine.missing_image(&"agent:1".parse().unwrap())),
        ("create", ErrorKind::Engine, |w| {
            w.engine.fail_next(Op::Create, Error::new(ErrorKind::Engine, "x", "no"));
        }),
        ("create, answer lost", ErrorKind::Connection, |w| w.engine.lose_reply(Op::Create)),
        ("start", ErrorKind::Engine, |w| {
            w.engine.fail_next(Op::Start, Error::new(ErrorKind::Engine, "x", "no"));
        }),
        ("server never there", ErrorKind::Timeout, |w| w.agent.not_ready_for(3600 * SECOND)),
        ("wrong password", ErrorKind::Unauthorized, |w| w.agent.unauthorized()),
        ("wrong version", ErrorKind::UnsupportedVersion, |w| w.agent.wrong_version("2.0.5")),
        ("session", ErrorKind::Engine, |w| {
            w.agent.fail_next(AgentOp::CreateSession, Error::new(ErrorKind::Engine, "x", "broken"));
        }),
    ];
    for (name, kind, break_it) in cases {
        let world = World::new();
        break_it(&world);
        let error = world.start("t").await.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_eq!(error.task(), Some(&task("t")), "{name}");
        assert!(error.start_failure().is_some(), "{name} tells its phases");
        world.assert_nothing_left();
        assert!(world.manager.get(&task("t")).is_none(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_dies_ends_the_wait_at_once_with_its_last_words() {
    let world = World::new();
    world.engine.boot_log(["opencode: EACCES: permission denied, mkdir '/state/data'"]);
    world.engine.exit_after(SECOND, exited(73));
    world.agent.not_ready_for(3600 * SECOND);
    let began = Instant::now();
    let error = world.start("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContainerExited, "{error}");
    assert!(error.to_string().contains("code 73"), "{error}");
    let known = error.start_failure().unwrap();
    assert_eq!(known.log_tail, ["opencode: EACCES: permission denied, mkdir '/state/data'"]);
    assert_eq!(known.phases.iter().last().map(|(phase, _)| phase), Some(Phase::Health));
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_time_out_tells_the_phase_the_cause_and_every_phases_time() {
    let world = World::new();
    world.agent.stall(AgentOp::CreateSession);
    let error = world.start("t").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary));
    assert!(error.message().contains("phase session"), "{error}");
    let times = &error.start_failure().unwrap().phases;
    assert!(times.get(Phase::Session).unwrap() >= 59 * SECOND, "{times}");
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_dropped_at_any_time_leaves_nothing() {
    for ms in (0..1200).step_by(60) {
        let world = World::new();
        for op in [Op::Create, Op::Start] {
            world.engine.delay(op, Duration::from_millis(250));
        }
        world.agent.not_ready_for(Duration::from_millis(400));
        let given_up = timeout(Duration::from_millis(ms), world.start("t")).await.is_err();
        assert!(given_up || ms >= 900, "at {ms} ms it is still starting");
        world.manager.shutdown().await.unwrap();
        world.assert_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn one_runner_for_a_task() {
    let world = World::new();
    world.agent.not_ready_for(SECOND);
    let (first, second) = tokio::join!(world.start("t"), world.start("t"));
    assert!(first.is_ok());
    assert_eq!(second.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(world.start("t").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    first.unwrap().stop().await.unwrap();
    let again = world.start("t").await.unwrap();
    assert_eq!(world.manager.list().len(), 1);
    again.stop().await.unwrap();
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn another_containers_name_is_an_error_and_that_container_is_left_alone() {
    let world = World::new();
    let image = "agent:1".parse().unwrap();
    let user = runner_core::container::UserSpec { uid: 1, gid: 1 };
    let foreign = runner_core::ContainerSpec::new("cnap-runner-t", image, user);
    let id = world.engine.insert(&foreign).unwrap();
    assert_eq!(world.start("t").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let left: Vec<_> = world.engine.containers().into_iter().map(|c| c.id).collect();
    assert_eq!(left, [id]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_turn_as_canceled_and_everybody_gets_the_same_end() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().never_ends());
    let turn = runner.run(say("go")).await.unwrap();
    let (a, b, c) = tokio::join!(runner.stop(), runner.stop(), runner.stop());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert!(matches!(ended(turn).await.1.outcome, Outcome::Canceled));
    assert_eq!(runner.status(), RunnerStatus::Stopped);
    runner.stop().await.unwrap();
    runner.cancel().await.unwrap();
    let late = runner.run(say("x")).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotReady, "{late}");
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_is_told_and_the_secrets_go_all_the_same() {
    let world = World::new();
    let runner = world.ready().await;
    world.engine.fail_always(Op::Remove, Error::new(ErrorKind::Engine, "remove", "device or resource busy"));
    let error = runner.stop().await.unwrap_err();
    assert!(error.to_string().contains("busy"), "{error}");
    assert_eq!(error.container(), Some(runner.container()));
    assert_eq!(runner.status(), RunnerStatus::Failed);
    assert!(!world.workspaces.holds_secrets());
}

#[tokio::test(start_paused = true)]
async fn an_idle_runner_whose_container_dies_fails_with_the_reason() {
    let world = World::new();
    let runner = world.ready().await;
    world.engine.crash(runner.container(), exited(137));
    let error = loop {
        match runner.run(say("x")).await {
            Err(error) => break error,
            Ok(turn) => drop(ended(turn).await),
        }
    };
    runner.stop().await.unwrap();
    assert_eq!(runner.status(), RunnerStatus::Failed);
    let reason = runner.failure().unwrap();
    assert_eq!(reason.kind(), ErrorKind::ContainerExited, "{reason} / {error}");
    assert!(reason.to_string().contains("code 137"), "{reason}");
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn deleting_a_task_throws_its_conversation_away_and_keeps_the_workspace() {
    let world = World::new();
    let runner = world.ready().await;
    run(&runner, "hi").await;
    world.manager.delete(&task("t")).await.unwrap();
    assert!(world.manager.get(&task("t")).is_none());
    assert!(!world.workspaces.has_state(&task("t")));
    assert!(world.workspaces.has_workspace(runner.agent()));
    world.assert_nothing_left();
    world.manager.delete(&task("t")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_all_and_takes_no_more() {
    let world = World::new();
    for id in ["a", "b", "c"] {
        world.start(id).await.unwrap();
    }
    world.agent.not_ready_for(3600 * SECOND);
    let late = world.manager.clone();
    let starting = tokio::spawn(async move { late.start(request("late"), Sink::none()).await });
    tokio::time::sleep(SECOND).await;
    world.manager.shutdown().await.unwrap();
    assert_eq!(starting.await.unwrap().unwrap_err().kind(), ErrorKind::Canceled);
    world.assert_nothing_left();
    assert!(!world.engine.has_network(), "what the runtime keeps for all is given back");
    assert_eq!(world.start("d").await.unwrap_err().kind(), ErrorKind::NotReady);
    world.manager.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_hangs_names_what_is_left() {
    let world = World::new();
    world.start("stuck").await.unwrap();
    world.start("fine").await.unwrap();
    world.engine.stall_next(Op::Remove);
    let began = Instant::now();
    let error = world.manager.shutdown().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(began.elapsed() <= 31 * SECOND);
    let named = ["stuck", "fine"].iter().filter(|name| error.message().contains(**name)).count();
    assert_eq!(named, 1, "one removal hangs and the other does not wait for it: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_dropped_takes_its_containers_with_it() {
    let World { engine, agent: _agent, connector: _connector, workspaces, manager } = {
        let world = World::new();
        world.start("t").await.unwrap();
        world
    };
    drop(manager);
    timeout(60 * SECOND, async {
        while !engine.is_empty() || workspaces.holds_secrets() {
            tokio::time::sleep(SECOND).await;
        }
    })
    .await
    .expect("the runner's task ends by itself");
}
