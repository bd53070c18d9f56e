//! The fake engine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use runner_core::container::{StopOptions, UserSpec};
use runner_core::image::PullPolicy;
use runner_core::logs::LogOptions;
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, ContainerState, ErrorKind, ImageRef, Sink};
use runner_testkit::fake_runtime::{FakeRuntime, Op, exited, out_of_memory};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const GRACE: StopOptions = StopOptions { grace: Duration::from_secs(10) };

fn spec(name: &str) -> ContainerSpec {
    let mut spec = ContainerSpec::new(name, "img".parse().unwrap(), UserSpec { uid: 10001, gid: 10001 });
    spec.ports.push(4096);
    spec
}

async fn started(engine: &FakeRuntime, name: &str) -> ContainerId {
    let id = engine.create(&spec(name)).await.unwrap();
    engine.start(&id).await.unwrap();
    id
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_reply_is_lost_leaves_the_container() {
    let engine = FakeRuntime::new();
    engine.lose_reply(Op::Create);
    assert_eq!(engine.create(&spec("one")).await.unwrap_err().kind(), ErrorKind::Connection);
    assert_eq!(engine.create(&spec("one")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
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
    let id = started(&engine, "one").await;
    let first = engine.inspect(&id).await.unwrap();
    let crash = async {
        sleep(SECOND).await;
        assert!(engine.crash_latest(out_of_memory()));
        assert!(!engine.crash(&id, exited(1)), "it has ended already");
    };
    let (status, ()) = tokio::join!(engine.wait(&id), crash);
    assert!(status.unwrap().oom_killed);
    assert_eq!(*ends.lock().unwrap(), [ContainerState::Exited(out_of_memory())]);

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
    assert_eq!(engine.inspect(&dead).await.unwrap().state, ContainerState::Exited(exited(137)));
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
async fn an_image_is_fetched_once_for_all_who_ask() {
    let engine = FakeRuntime::new();
    let image: ImageRef = "remote".parse().unwrap();
    engine.remote_image(&image, 3 * SECOND);
    let never = engine.ensure_image(&image, PullPolicy::Never, Sink::none()).await;
    assert_eq!(never.unwrap_err().kind(), ErrorKind::ImageUnavailable);
    let steps: Arc<Mutex<u32>> = Arc::default();
    let count = Arc::clone(&steps);
    let sink = Sink::new(move |_| *count.lock().unwrap() += 1);
    let began = Instant::now();
    let fetch = || engine.ensure_image(&image, PullPolicy::Missing, sink.clone());
    let (one, two) = tokio::join!(fetch(), fetch());
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!((began.elapsed(), engine.pulls(&image)), (3 * SECOND, 1));
    assert_eq!(*steps.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn logs_are_followed_to_the_end() {
    let engine = FakeRuntime::new();
    engine.boot_log(["booting", "listening"]);
    let id = started(&engine, "one").await;
    let options = LogOptions { follow: true, tail: Some(1) };
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
