//! What containers of the fake engine may use and do use, and freezing them.

use std::time::Duration;

use runner_core::container::{StopOptions, StopOutcome};
use runner_core::container_runtime::Feature;
use runner_core::resources::{ResourceUpdate, Resources};
use runner_core::stats::{ContainerStats, MemoryUse, Traffic};
use runner_core::{ContainerId, ContainerRuntime, ContainerState, Error, ErrorKind};
use runner_testkit::fake_runtime::{FakeRuntime, Load, Op, exited};
use tokio::time::{Instant, sleep};

use crate::boxes::{SECOND, spec, started};

const MIB: u64 = 1 << 20;

fn cpu(cpu_millis: u32) -> ResourceUpdate {
    ResourceUpdate { cpu_millis: Some(cpu_millis), ..ResourceUpdate::default() }
}

async fn sample(engine: &FakeRuntime, id: &ContainerId) -> ContainerStats {
    engine.stats(id).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn limits_change_and_are_kept() {
    let engine = FakeRuntime::new();
    let id = engine.create(&spec("one")).await.unwrap();
    let before = Resources::default();
    engine.update(&id, &cpu(2000)).await.unwrap();
    assert_eq!(engine.limits(&id), Some(Resources { cpu_millis: 2000, ..before }));
    engine.start(&id).await.unwrap();
    let all = ResourceUpdate { memory_bytes: Some(512 * MIB), cpu_millis: Some(500), pids: Some(99) };
    engine.update(&id, &all).await.unwrap();
    let now = Resources { memory_bytes: 512 * MIB, cpu_millis: 500, pids: 99, ..before };
    assert_eq!(engine.limits(&id), Some(now));
    assert_eq!(engine.updates(&id), [cpu(2000), all]);

    engine.set_load(&id, Load { memory_bytes: 300 * MIB, ..Load::default() });
    let less = ResourceUpdate { memory_bytes: Some(299 * MIB), ..ResourceUpdate::default() };
    assert_eq!(engine.update(&id, &less).await.unwrap_err().kind(), ErrorKind::Engine);
    for bad in [ResourceUpdate::default(), cpu(1)] {
        assert_eq!(engine.update(&id, &bad).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(engine.limits(&id), Some(now), "what is refused changes nothing");
    assert_eq!(engine.updates(&id).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn new_calls_have_their_faults_and_their_place_in_the_log() {
    let engine = FakeRuntime::new();
    let id = started(&engine, "one").await;
    engine.forget_calls();
    let broken = Error::new(ErrorKind::Engine, "pause", "no freezer");
    engine.fail_next(Op::Pause, broken);
    engine.lose_reply(Op::Update);
    engine.delay(Op::Stats, SECOND);
    let began = Instant::now();
    assert_eq!(engine.pause(&id).await.unwrap_err().kind(), ErrorKind::Engine);
    assert_eq!(engine.update(&id, &cpu(500)).await.unwrap_err().kind(), ErrorKind::Connection);
    assert_eq!(engine.limits(&id).unwrap().cpu_millis, 500);
    engine.stats(&id).await.unwrap();
    engine.unpause(&id).await.unwrap();
    assert_eq!(began.elapsed(), SECOND);
    assert_eq!(engine.ops(), [Op::Pause, Op::Update, Op::Stats, Op::Unpause]);
    assert!(engine.calls().iter().all(|call| call.about == id.as_str()));
}

#[tokio::test(start_paused = true)]
async fn what_is_frozen_waits_for_its_end_and_can_be_stopped() {
    let engine = FakeRuntime::new();
    engine.exit_after(2 * SECOND, exited(7));
    let id = started(&engine, "one").await;
    engine.pause(&id).await.unwrap();
    sleep(5 * SECOND).await;
    let info = engine.inspect(&id).await.unwrap();
    assert_eq!((info.state, info.ports.len()), (ContainerState::Paused, 1));
    engine.unpause(&id).await.unwrap();
    assert_eq!(engine.wait(&id).await.unwrap().code, 7);
    for call in [engine.pause(&id).await, engine.unpause(&id).await] {
        assert_eq!(call.unwrap_err().kind(), ErrorKind::NotReady);
    }

    let id = started(&engine, "two").await;
    engine.pause(&id).await.unwrap();
    let outcome = engine.stop(&id, StopOptions::new(SECOND)).await.unwrap();
    assert_eq!(outcome, StopOutcome::Stopped);
}

#[tokio::test(start_paused = true)]
async fn counters_grow_while_it_runs_and_stand_while_it_is_frozen() {
    let engine = FakeRuntime::new();
    let traffic = |received, sent| Traffic { received, sent };
    let id = engine.create(&spec("one")).await.unwrap();
    engine.set_load(
        &id,
        Load {
            cpu_millis: 250,
            memory_bytes: 100 * MIB,
            cache_bytes: MIB,
            pids: 3,
            network: traffic(10, 20),
            disk: traffic(0, 1),
        },
    );
    assert_eq!(engine.stats(&id).await.unwrap(), None, "it does not run yet");
    engine.start(&id).await.unwrap();
    sleep(4 * SECOND).await;
    let first = sample(&engine, &id).await;
    let memory = MemoryUse { used: 100 * MIB, total: 101 * MIB, limit: Some(1024 * MIB) };
    let want = ContainerStats {
        read_at: engine.now(),
        cpu: Some(SECOND),
        memory: Some(memory),
        pids: Some(3),
        network: Some(traffic(40, 80)),
        disk: Some(traffic(0, 4)),
    };
    assert_eq!(first, want);
    engine.pause(&id).await.unwrap();
    sleep(100 * SECOND).await;
    assert_eq!(sample(&engine, &id).await, ContainerStats { read_at: engine.now(), ..want });
    engine.unpause(&id).await.unwrap();
    // More than it may use.
    engine.set_load(&id, Load { cpu_millis: 3000, ..Load::default() });
    sleep(SECOND).await;
    engine.update(&id, &cpu(500)).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(sample(&engine, &id).await.cpu, Some(Duration::from_millis(2500)));
    engine.crash(&id, exited(0));
    assert_eq!(engine.stats(&id).await.unwrap(), None);
    engine.start(&id).await.unwrap();
    assert_eq!(sample(&engine, &id).await.cpu, Some(Duration::ZERO), "each run counts from nothing");
}

#[tokio::test(start_paused = true)]
async fn samples_can_be_changed_and_calls_be_unsupported() {
    let engine = FakeRuntime::new();
    engine.default_load(Load { pids: 7, ..Load::default() });
    engine.adjust_stats(|info, stats| ContainerStats {
        memory: stats.memory.filter(|_| info.name != "two"),
        ..stats
    });
    let (one, two) = (started(&engine, "one").await, started(&engine, "two").await);
    assert!(sample(&engine, &one).await.memory.is_some());
    let stats = sample(&engine, &two).await;
    assert_eq!((stats.memory, stats.pids), (None, Some(7)));

    engine.change_info(|info| info.unsupported = [Feature::Stats, Feature::Update, Feature::Pause].into());
    let failed = [
        engine.stats(&one).await.map(drop),
        engine.update(&one, &cpu(500)).await,
        engine.pause(&one).await,
        engine.unpause(&one).await,
    ];
    assert!(failed.into_iter().all(|call| call.unwrap_err().kind() == ErrorKind::Unsupported));
}
