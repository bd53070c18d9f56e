//! Ends and their reasons, limits and pauses, on a real engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod lab;

use std::time::Duration;

use lab::{Lab, raw};
use runner_core::container::{StopOptions, StopOutcome, Tmpfs};
use runner_core::resources::ResourceUpdate;
use runner_core::{
    ContainerId, ContainerRuntime, ContainerState, ErrorKind, ExitReason, ExitStatus, StopReason,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn exit(lab: &Lab, id: &ContainerId) -> ExitStatus {
    tokio::time::timeout(PATIENCE, lab.runtime.wait(id)).await.expect("an end").unwrap()
}

async fn state(lab: &Lab, id: &ContainerId) -> ContainerState {
    lab.runtime.inspect(id).await.unwrap().state
}

fn idle(seconds: u64) -> StopOptions {
    StopOptions::new(Duration::from_secs(seconds)).because(StopReason::Idle)
}

/// A process that fills memory until the kernel ends it.
const EAT: &str = "tail /dev/zero";

#[tokio::test]
async fn each_way_to_end_has_its_reason() {
    let lab = Lab::open().await;
    for (name, script, code, reason) in [
        ("fine", "exit 0", 0, ExitReason::Exited),
        ("bad", "exit 3", 3, ExitReason::Exited),
        ("abort", "kill -ABRT $$", 134, ExitReason::Crashed { signal: 6 }),
        ("says-137", "exit 137", 137, ExitReason::KilledByOther { signal: 9 }),
        ("oom", "exec tail /dev/zero", 137, ExitReason::OutOfMemory),
    ] {
        let id = lab.started(name, script).await;
        let ended = exit(&lab, &id).await;
        assert_eq!((ended.code, ended.reason), (code, reason), "{name}: {ended:?}");
        assert!(ended.ended_at.is_some(), "{name}");
    }

    let id = lab.started("child-oom", &format!("{EAT} & wait $!; exit 0")).await;
    let ended = exit(&lab, &id).await;
    assert_eq!((ended.code, ended.oom_killed, ended.reason), (0, true, ExitReason::ChildOutOfMemory));

    let id = lab.started("stopped", "sleep 100").await;
    assert_eq!(lab.runtime.stop(&id, idle(10)).await.unwrap(), StopOutcome::Stopped);
    let ended = exit(&lab, &id).await;
    assert_eq!((ended.code, ended.reason), (143, ExitReason::Stopped(StopReason::Idle)));

    let id = lab.started("killed", "sleep 100").await;
    let (status, _) = raw("POST", &format!("/containers/{id}/kill?signal=KILL"), "");
    assert_eq!(status, 204);
    assert_eq!(exit(&lab, &id).await.reason, ExitReason::KilledByOther { signal: 9 });
}

#[tokio::test]
async fn what_ignores_its_signal_is_killed_after_the_grace() {
    let lab = Lab::open().await;
    let id = lab.started("stubborn", "trap '' TERM; echo ready; while :; do sleep 1; done").await;
    lab.says(&id, "ready").await;
    let waiting = exit(&lab, &id);
    let stopping = lab.runtime.stop(&id, idle(2));
    let (ended, outcome) = tokio::join!(waiting, stopping);
    assert_eq!(outcome.unwrap(), StopOutcome::KilledAfterGrace);
    assert_eq!((ended.code, ended.reason), (137, ExitReason::KilledAfterGrace(StopReason::Idle)));
    assert!(ended.to_string().contains("killed after grace"), "{ended}");
    assert_eq!(lab.runtime.stop(&id, idle(2)).await.unwrap(), StopOutcome::NotRunning);
    lab.runtime.remove(&id).await.unwrap();
    assert_eq!(lab.runtime.stop(&id, idle(2)).await.unwrap(), StopOutcome::Gone);
    assert!(lab.runtime.stuck().is_empty());
}

/// Whoever waits while it is removed by force must not take that for a crash.
#[tokio::test]
async fn a_removal_is_our_own_doing_for_whoever_waits() {
    let lab = Lab::open().await;
    let id = lab.started("removed", "sleep 100").await;
    let (ended, removed) = tokio::join!(lab.runtime.wait(&id), lab.runtime.remove(&id));
    removed.unwrap();
    match ended {
        Ok(exit) => assert!(exit.reason.is_ours(), "{exit:?}"),
        Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "{e}"),
    }
}

#[tokio::test]
async fn a_container_that_is_started_again_has_a_new_start_and_a_new_reason() {
    let lab = Lab::open().await;
    let id = lab.started("again", "sleep 100").await;
    let first = lab.runtime.inspect(&id).await.unwrap();
    lab.runtime.stop(&id, idle(10)).await.unwrap();
    lab.runtime.start(&id).await.unwrap();
    let second = lab.runtime.inspect(&id).await.unwrap();
    assert_eq!(first.created_at, second.created_at);
    assert!(first.started_at.is_some() && first.started_at < second.started_at);
    // The first stop was of the first run.
    let (status, _) = raw("POST", &format!("/containers/{id}/kill?signal=KILL"), "");
    assert_eq!(status, 204);
    assert_eq!(exit(&lab, &id).await.reason, ExitReason::KilledByOther { signal: 9 });
    lab.runtime.start(&id).await.unwrap();
    let shutdown = StopOptions::new(Duration::from_secs(10)).because(StopReason::Shutdown);
    lab.runtime.stop(&id, shutdown).await.unwrap();
    assert_eq!(exit(&lab, &id).await.reason, ExitReason::Stopped(StopReason::Shutdown));
}

#[tokio::test]
async fn one_that_never_started_says_so() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("never", "true");
    // An init of the engine's would take its place as the first process and hide the failure.
    spec.command = Some(vec!["/nonexistent".to_owned()]);
    let id = lab.runtime.create(&spec).await.unwrap();
    if lab.runtime.start(&id).await.is_err() {
        match state(&lab, &id).await {
            ContainerState::Exited(exit) => assert_eq!(exit.reason, ExitReason::NeverStarted, "{exit:?}"),
            other => panic!("{other:?}"),
        }
    } else {
        // The entry point runs and reports what it cannot run.
        assert_eq!(exit(&lab, &id).await.reason, ExitReason::Exited);
    }
}

#[tokio::test]
async fn limits_change_while_it_runs() {
    let lab = Lab::open().await;
    let id = lab.started("limits", "sleep 100").await;
    let update = ResourceUpdate { memory_bytes: Some(512 << 20), cpu_millis: Some(2000), pids: Some(100) };
    lab.runtime.update(&id, &update).await.unwrap();
    let (_, doc) = raw("GET", &format!("/containers/{id}/json"), "");
    let host = &doc["HostConfig"];
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&(512 << 20).into(), &(512 << 20).into()));
    assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&2_000_000_000_u64.into(), &100.into()));
    let back = ResourceUpdate { memory_bytes: Some(256 << 20), cpu_millis: Some(500), pids: None };
    lab.runtime.update(&id, &back).await.unwrap();

    // In use and not to be had back: the kernel refuses, and says so.
    let mut spec = lab.spec("full", "head -c 300000000 /dev/zero > /big/x; echo ready; sleep 100");
    spec.resources.memory_bytes = 512 << 20;
    spec.tmpfs.push(Tmpfs { target: "/big".into(), size_bytes: 400 << 20 });
    let id = lab.run(&spec).await;
    lab.says(&id, "ready").await;
    let small = ResourceUpdate { memory_bytes: Some(256 << 20), ..ResourceUpdate::default() };
    let refused = lab.runtime.update(&id, &small).await;
    // Control groups 1 refuse; control groups 2 end the container instead.
    if let Err(e) = refused {
        assert!(e.to_string().contains("uses more than that"), "{e}");
    }

    let gone = ContainerId::new("0".repeat(64)).unwrap();
    assert_eq!(lab.runtime.update(&gone, &small).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_pause_freezes_and_a_stop_thaws() {
    let lab = Lab::open().await;
    let id = lab.runtime.create(&lab.spec("pause", "sleep 100")).await.unwrap();
    assert_eq!(lab.runtime.pause(&id).await.unwrap_err().kind(), ErrorKind::NotReady);
    lab.runtime.start(&id).await.unwrap();
    lab.runtime.unpause(&id).await.expect("it runs already");
    lab.runtime.pause(&id).await.unwrap();
    lab.runtime.pause(&id).await.expect("it is paused already");
    assert_eq!(state(&lab, &id).await, ContainerState::Paused);
    assert_eq!(lab.runtime.start(&id).await.unwrap_err().kind(), ErrorKind::NotReady);
    lab.runtime.unpause(&id).await.unwrap();
    assert_eq!(state(&lab, &id).await, ContainerState::Running);
    lab.runtime.pause(&id).await.unwrap();
    assert_eq!(lab.runtime.stop(&id, idle(10)).await.unwrap(), StopOutcome::Stopped);
    assert_eq!(lab.runtime.pause(&id).await.unwrap_err().kind(), ErrorKind::NotReady);
    assert_eq!(lab.runtime.unpause(&id).await.unwrap_err().kind(), ErrorKind::NotReady);
    lab.runtime.remove(&id).await.unwrap();
    assert_eq!(lab.runtime.pause(&id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lab.runtime.unpause(&id).await.unwrap_err().kind(), ErrorKind::NotFound);
}
