//! The fake engine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use runner_core::logs::LogOptions;
use runner_core::{ContainerRuntime, ContainerState, ErrorKind, ExitReason, ExitStatus};
use runner_testkit::fake_runtime::{FakeRuntime, Op, exited, out_of_memory};
use tokio::time::sleep;

use crate::boxes::{SECOND, spec, started};

#[tokio::test(start_paused = true)]
async fn a_create_whose_reply_is_lost_leaves_the_container() {
    let engine = FakeRuntime::new();
    engine.lose_reply(Op::Create);
    assert_eq!(engine.create(&spec("one")).await.unwrap_err().kind(), ErrorKind::Connection);
    let taken = engine.create(&spec("one")).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(taken.container(), engine.latest().as_ref());
    assert_eq!(engine.containers()[0].name, "one");
    assert_eq!(engine.created_specs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ids_and_ports_are_unique() {
    let engine = FakeRuntime::new();
    let (mut ids, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..40 {
        let id = started(&engine, &format!("c{n}")).await;
        let hex = id.as_str().bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(id.as_str().len() == 64 && hex, "{id}");
        ports.insert(engine.inspect(&id).await.unwrap().ports[0].address);
        ids.insert(id.short().to_owned());
    }
    assert_eq!((ids.len(), ports.len()), (40, 40));
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_waited_for_told_and_can_be_restarted() {
    let engine = FakeRuntime::new();
    let ends: Arc<Mutex<Vec<ContainerState>>> = Arc::default();
    let told = Arc::clone(&ends);
    engine.on_exit(move |info| told.lock().unwrap().push(info.state.clone()));
    let began = engine.now();
    let id = started(&engine, "one").await;
    let first = engine.inspect(&id).await.unwrap();
    let crash = async {
        sleep(SECOND).await;
        assert!(engine.crash_latest(out_of_memory()));
        assert!(!engine.crash(&id, exited(1)), "it has ended already");
    };
    let (status, ()) = tokio::join!(engine.wait(&id), crash);
    let want = ExitStatus { ended_at: Some(began + SECOND), ..out_of_memory() };
    assert_eq!(status.unwrap(), want);
    assert_eq!(*ends.lock().unwrap(), [ContainerState::Exited(want)]);

    engine.start(&id).await.unwrap();
    let again = engine.inspect(&id).await.unwrap();
    assert_eq!(again.state, ContainerState::Running);
    assert_ne!(again.ports, first.ports, "each start has ports of its own");
}

#[tokio::test(start_paused = true)]
async fn a_planned_end_hits_its_own_run_only() {
    let engine = FakeRuntime::new();
    engine.kill_after(2 * SECOND);
    let id = started(&engine, "one").await;
    sleep(SECOND).await;
    engine.crash(&id, exited(1));
    engine.exit_after(100 * SECOND, exited(0));
    engine.start(&id).await.unwrap();
    sleep(5 * SECOND).await;
    assert_eq!(engine.inspect(&id).await.unwrap().state, ContainerState::Running);

    engine.kill_after(Duration::ZERO);
    let dead = started(&engine, "two").await;
    assert_eq!(engine.wait(&dead).await.unwrap().reason, ExitReason::KilledByOther { signal: 9 });
}

#[tokio::test(start_paused = true)]
async fn removing_ends_waits_and_tells_hooks() {
    let engine = FakeRuntime::new();
    let ends: Arc<Mutex<u32>> = Arc::default();
    let told = Arc::clone(&ends);
    engine.on_exit(move |_| *told.lock().unwrap() += 1);
    let running = started(&engine, "one").await;
    let created = engine.create(&spec("two")).await.unwrap();
    let remove = async {
        sleep(SECOND).await;
        engine.remove(&running).await.unwrap();
        engine.remove(&created).await.unwrap();
    };
    let (one, two, ()) = tokio::join!(engine.wait(&running), engine.wait(&created), remove);
    assert_eq!(one.unwrap().code, 137);
    assert_eq!(two.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(*ends.lock().unwrap(), 1);
    assert!(engine.has_network());
    ContainerRuntime::release(&engine).await.unwrap();
    assert!(engine.is_empty() && !engine.has_network());
}

#[tokio::test(start_paused = true)]
async fn logs_are_followed_to_the_end() {
    let engine = FakeRuntime::new();
    engine.boot_log(["booting", "listening"]);
    let id = started(&engine, "one").await;
    let options = LogOptions { follow: true, tail: Some(1), since: None };
    let read = engine.logs(&id, options).await.unwrap().map(|line| line.unwrap().text);
    let write = async {
        sleep(SECOND).await;
        engine.log_line(&id, "working");
        engine.log_line(&id, "more");
        sleep(SECOND).await;
        engine.crash(&id, exited(0));
    };
    let (lines, ()) = tokio::join!(read.collect::<Vec<_>>(), write);
    assert_eq!(lines, ["listening", "working", "more"]);
}

#[tokio::test(start_paused = true)]
async fn logs_are_read_from_a_moment_on() {
    let engine = FakeRuntime::new();
    engine.boot_log(["booting"]);
    let id = started(&engine, "one").await;
    let began = engine.now();
    for (text, at) in [("one", began + SECOND), ("two", began + 2 * SECOND)] {
        sleep(SECOND).await;
        engine.log_line(&id, text);
        assert_eq!(engine.now(), at);
    }
    let read = async |since, tail| {
        let options = LogOptions { follow: false, tail, since: Some(since) };
        let lines = engine.logs(&id, options).await.unwrap();
        lines.map(|line| line.unwrap().at.unwrap()).collect::<Vec<_>>().await
    };
    assert_eq!(read(began, None).await, [began, began + SECOND, began + 2 * SECOND]);
    assert_eq!(read(began + SECOND, None).await, [began + SECOND, began + 2 * SECOND]);
    assert_eq!(read(began + SECOND, Some(1)).await, [began + 2 * SECOND]);
    assert_eq!(read(began, Some(1)).await, [began + 2 * SECOND]);
    assert_eq!(read(began + 3 * SECOND, None).await, []);
}

#[tokio::test(start_paused = true)]
async fn times_are_told_and_starts_differ_even_where_the_clock_stands() {
    let engine = FakeRuntime::new();
    let created = engine.now();
    let id = engine.create(&spec("one")).await.unwrap();
    assert_eq!(engine.inspect(&id).await.unwrap().started_at, None);
    sleep(SECOND).await;
    let mut starts = BTreeSet::new();
    for _ in 0..3 {
        engine.start(&id).await.unwrap();
        engine.crash(&id, exited(0));
        let info = engine.inspect(&id).await.unwrap();
        assert_eq!(info.created_at, Some(created));
        starts.insert(info.started_at.unwrap());
    }
    assert_eq!(starts.len(), 3);
    assert_eq!(starts.first(), Some(&(created + SECOND)));
}

#[tokio::test(start_paused = true)]
async fn ports_can_be_late_and_foreign_containers_are_there() {
    let engine = FakeRuntime::new();
    engine.publish_ports_after(SECOND);
    let foreign = engine.insert(&spec("foreign")).unwrap();
    assert_eq!((engine.created_specs().len(), engine.calls().len()), (0, 0));
    assert_eq!(engine.create(&spec("foreign")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    engine.start(&foreign).await.unwrap();
    assert!(engine.inspect(&foreign).await.unwrap().ports.is_empty());
    sleep(SECOND).await;
    assert_eq!(engine.inspect(&foreign).await.unwrap().ports.len(), 1);
    engine.force_state(&foreign, ContainerState::Unknown("dead".into()));
    let state = engine.inspect(&foreign).await.unwrap().state;
    assert_eq!(state, ContainerState::Unknown("dead".into()));
}
