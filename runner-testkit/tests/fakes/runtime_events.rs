//! The fake engine's events, and what can go wrong with them.

use futures::{FutureExt, StreamExt};
use runner_core::container::{Labels, StopOptions};
use runner_core::container_runtime::Feature;
use runner_core::resources::ResourceUpdate;
use runner_core::runtime_event::ContainerEventKind::{self, *};
use runner_core::runtime_event::{RuntimeEvent, RuntimeEventStream};
use runner_core::{ContainerRuntime, Error, ErrorKind};
use runner_testkit::fake_runtime::{FakeRuntime, Missed, Op, exited, out_of_memory};
use tokio::time::{sleep, timeout};

use crate::boxes::{SECOND, spec, started};

/// What can be read without waiting; a reconnect is `None`.
fn told(stream: &mut RuntimeEventStream) -> Vec<Option<ContainerEventKind>> {
    let mut told = Vec::new();
    while let Some(Some(item)) = stream.next().now_or_never() {
        match item.unwrap() {
            RuntimeEvent::Container(event) => told.push(Some(event.kind)),
            RuntimeEvent::Reconnected => told.push(None),
            RuntimeEvent::Connected => assert!(told.is_empty(), "the first item"),
            other => assert_eq!(format!("{other:?}"), ""),
        }
    }
    told
}

fn some(kinds: &[ContainerEventKind]) -> Vec<Option<ContainerEventKind>> {
    kinds.iter().cloned().map(Some).collect()
}

async fn all(engine: &FakeRuntime) -> RuntimeEventStream {
    let mut stream = engine.events(&Labels::new()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), RuntimeEvent::Connected);
    stream
}

#[tokio::test(start_paused = true)]
async fn every_step_is_told_in_the_order_of_a_real_engine() {
    let engine = FakeRuntime::new();
    let mut stream = all(&engine).await;
    let id = started(&engine, "one").await;
    engine.start(&id).await.unwrap();
    let update = ResourceUpdate { pids: Some(99), ..ResourceUpdate::default() };
    engine.update(&id, &update).await.unwrap();
    for _ in 0..2 {
        engine.pause(&id).await.unwrap();
    }
    assert_eq!(told(&mut stream), some(&[Created, Started, Updated, Paused]));

    engine.stop(&id, StopOptions::new(SECOND)).await.unwrap();
    let term = Signaled { signal: Some(15) };
    assert_eq!(told(&mut stream), some(&[term.clone(), Unpaused, Died { code: Some(143) }, Stopped]));

    engine.ignore_stop_signals();
    engine.start(&id).await.unwrap();
    engine.stop(&id, StopOptions::new(SECOND)).await.unwrap();
    let kill = Signaled { signal: Some(9) };
    let killed = Died { code: Some(137) };
    assert_eq!(told(&mut stream), some(&[Started, term, kill.clone(), killed.clone(), Stopped]));

    engine.start(&id).await.unwrap();
    engine.kill_child_for_memory(&id);
    engine.crash(&id, exited(1));
    engine.start(&id).await.unwrap();
    engine.crash(&id, out_of_memory());
    let one = Died { code: Some(1) };
    assert_eq!(told(&mut stream), some(&[Started, OutOfMemory, one, Started, OutOfMemory, killed.clone()]));

    engine.start(&id).await.unwrap();
    engine.remove(&id).await.unwrap();
    engine.remove(&id).await.unwrap();
    assert_eq!(told(&mut stream), some(&[Started, kill, killed, Removed]));
    assert!(!engine.tell_event(&id, Started), "it is gone");
}

#[tokio::test(start_paused = true)]
async fn an_event_says_of_whom_and_when_and_only_to_whom_it_concerns() {
    let engine = FakeRuntime::new();
    let labels = Labels::from([("a".to_owned(), "1".to_owned())]);
    let mut stream = engine.events(&labels).await.unwrap();
    assert_eq!(engine.calls()[0].about, "a=1");
    started(&engine, "other").await;
    let mut ours = spec("ours");
    ours.labels = labels.clone();
    ours.labels.insert("b".to_owned(), "2".to_owned());
    sleep(SECOND).await;
    let id = engine.create(&ours).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), RuntimeEvent::Connected);
    let RuntimeEvent::Container(event) = stream.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!((&event.id, event.name.as_str(), event.at), (&id, "ours", engine.now()));
    assert_eq!((event.labels, event.kind), (ours.labels, Created));
    assert!(engine.tell_event(&id, Other("exec_start".to_owned())));
    assert_eq!(told(&mut stream), some(&[Other("exec_start".to_owned())]));

    // A reader that waits is woken.
    let crash = async {
        sleep(SECOND).await;
        engine.start(&id).await.unwrap();
    };
    let (item, ()) = tokio::join!(stream.next(), crash);
    assert!(matches!(item, Some(Ok(RuntimeEvent::Container(event))) if event.kind == Started));
    assert_eq!(engine.event_streams(), 1);
    drop(stream);
    assert_eq!(engine.event_streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_told_with_or_without_what_was_missed() {
    let engine = FakeRuntime::new();
    for missed in [Missed::Told, Missed::Forgotten] {
        let mut stream = all(&engine).await;
        let id = started(&engine, "one").await;
        engine.cut_events();
        engine.crash(&id, exited(0));
        assert_eq!(told(&mut stream), some(&[Created, Started]), "what was sent before arrives");
        timeout(SECOND, stream.next()).await.unwrap_err();
        assert_eq!(engine.events(&Labels::new()).await.err().unwrap().kind(), ErrorKind::EngineUnavailable);
        engine.reconnect_events(missed);
        engine.remove(&id).await.unwrap();
        let mut want = vec![None];
        want.extend((missed == Missed::Told).then_some(Some(Died { code: Some(0) })));
        want.push(Some(Removed));
        assert_eq!(told(&mut stream), want, "{missed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_engine_reconnects_and_forgets() {
    let engine = FakeRuntime::new();
    let mut stream = all(&engine).await;
    let id = started(&engine, "one").await;
    engine.restart_engine();
    engine.remove(&id).await.unwrap();
    assert_eq!(told(&mut stream), [Some(Created), Some(Started), None, Some(Removed)]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_is_told_so_and_gets_the_latest() {
    let engine = FakeRuntime::new();
    engine.event_buffer(2);
    let (mut slow, mut fast) = (all(&engine).await, all(&engine).await);
    let id = started(&engine, "one").await;
    assert_eq!(told(&mut fast), some(&[Created, Started]));
    engine.crash(&id, exited(0));
    engine.remove(&id).await.unwrap();
    assert_eq!(told(&mut fast), some(&[Died { code: Some(0) }, Removed]), "nobody else is held up");
    assert_eq!(told(&mut slow), [None, Some(Died { code: Some(0) }), Some(Removed)]);
    assert_eq!(told(&mut slow), []);
}

#[tokio::test(start_paused = true)]
async fn streams_end_only_with_an_error() {
    let engine = FakeRuntime::new();
    let mut stream = all(&engine).await;
    engine.create(&spec("one")).await.unwrap();
    engine.fail_events(&Error::new(ErrorKind::EngineUnavailable, "read events", "away for too long"));
    assert!(matches!(stream.next().await, Some(Ok(RuntimeEvent::Container(_)))));
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::EngineUnavailable);
    assert!(stream.next().await.is_none());

    let mut stream = all(&engine).await;
    drop(engine);
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_can_fail() {
    let engine = FakeRuntime::new();
    engine.fail_next(Op::Events, Error::new(ErrorKind::Engine, "read events", "no"));
    assert_eq!(engine.events(&Labels::new()).await.err().unwrap().kind(), ErrorKind::Engine);
    engine.change_info(|info| info.unsupported = [Feature::Events].into());
    assert_eq!(engine.events(&Labels::new()).await.err().unwrap().kind(), ErrorKind::Unsupported);
    assert_eq!(engine.event_streams(), 0);
}
