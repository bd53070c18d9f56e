//! No call hangs and none lies while the engine is away, hangs, or starts (reports 13 and 44). On an engine of its own,
//! which may be killed; needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod lab;

use std::path::Path;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use lab::private_engine::{Crash, PrivateEngine};
use lab::{Lab, grace, tiny_image};
use runner_core::container::UserSpec;
use runner_core::files::{ContainerFile, FileKind};
use runner_core::image::{ImageRequest, PullPolicy};
use runner_core::logs::LogOptions;
use runner_core::resources::ResourceUpdate;
use runner_core::{
    ContainerId, ContainerRuntime, ContainerSpec, ContainerState, ErrorKind, Result, Retry, Sink,
};
use runner_docker::{Budgets, DockerConfig, DockerRuntime};

/// Ample for any call that is made of a handful of the short budgets here. What takes longer has none.
const PATIENCE: Duration = Duration::from_mins(1);

/// The same for everything, and short, so that what keeps to it is told from what hangs.
fn budgets(each: Duration) -> Budgets {
    Budgets {
        connect: each,
        read: each,
        create: each,
        lost_reply: each,
        start: each,
        ports: each,
        stop_margin: each,
        remove: each,
        pull: each,
        pull_idle: each,
        stream_idle: each,
        reconnect: each,
        queue: each,
        ..Budgets::default()
    }
}

/// An engine, a place on it, and a runtime with little patience.
async fn open(budget: Duration) -> (PrivateEngine, Lab, DockerRuntime) {
    let engine = PrivateEngine::start(false).await;
    let image = tiny_image::load(&engine.host());
    let lab = Lab::at(DockerConfig { host: engine.host(), ..DockerConfig::default() }, image).await;
    let hasty = DockerConfig { budgets: budgets(budget), ..lab.config.clone() };
    let runtime = DockerRuntime::connect(hasty).await.unwrap();
    (engine, lab, runtime)
}

/// Every call of the port, by name.
fn every_call<'a>(
    runtime: &'a DockerRuntime,
    id: &'a ContainerId,
    spec: &'a ContainerSpec,
) -> Vec<(&'static str, BoxFuture<'a, Result<()>>)> {
    fn unit<'a, T>(call: impl Future<Output = Result<T>> + Send + 'a) -> BoxFuture<'a, Result<()>> {
        call.map(|result| result.map(drop)).boxed()
    }
    let update = ResourceUpdate { memory_bytes: Some(300 << 20), ..ResourceUpdate::default() };
    let image = |policy| ImageRequest::new(spec.image.clone(), policy);
    let file = ContainerFile {
        path: "note".into(),
        mode: 0o644,
        owner: UserSpec { uid: 1, gid: 1 },
        kind: FileKind::File(b"x".to_vec()),
    };
    vec![
        ("info", unit(runtime.info())),
        (
            "ensure_image",
            unit(async move { runtime.ensure_image(&image(PullPolicy::Missing), Sink::none()).await }),
        ),
        ("create", unit(runtime.create(spec))),
        ("start", unit(runtime.start(id))),
        ("inspect", unit(runtime.inspect(id))),
        ("update", unit(async move { runtime.update(id, &update).await })),
        ("pause", unit(runtime.pause(id))),
        ("unpause", unit(runtime.unpause(id))),
        ("wait", unit(runtime.wait(id))),
        ("logs", unit(runtime.logs(id, LogOptions { follow: true, ..LogOptions::default() }))),
        ("stats", unit(runtime.stats(id))),
        ("events", unit(async move { runtime.events(&spec.labels).await })),
        ("copy_in", unit(async move { runtime.copy_in(id, Path::new("/workspace"), &[file]).await })),
        ("copy_out", unit(runtime.copy_out(id, Path::new("/usr/bin/true"), 1 << 20))),
        ("stop", unit(runtime.stop(id, grace(1)))),
        ("remove", unit(runtime.remove(id))),
        ("list", unit(async move { runtime.list(&spec.labels).await })),
        ("release", unit(runtime.release())),
    ]
}

/// Each call fails on its own, as one of these, worth a retry, and in time.
async fn all_fail(
    when: &str,
    runtime: &DockerRuntime,
    id: &ContainerId,
    spec: &ContainerSpec,
    kinds: &[ErrorKind],
) {
    for (name, call) in every_call(runtime, id, spec) {
        let result = tokio::time::timeout(PATIENCE, call).await;
        let error = result.unwrap_or_else(|_| panic!("{when}: {name} hangs")).expect_err(name);
        assert!(kinds.contains(&error.kind()), "{when}: {name}: {:?}: {}", error.kind(), error.chain());
        assert_eq!(error.retry(), Retry::Temporary, "{when}: {name}: {}", error.chain());
        assert!(error.hint().is_some(), "{when}: {name} knows no way out: {}", error.chain());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_engine_is_away_every_call_says_so() {
    let (mut engine, lab, runtime) = open(Duration::from_secs(2)).await;
    let id = lab.started("there", "exec sleep 1000").await;
    let mut spec = lab.spec("late", "true");
    spec.labels = lab.labels();
    let away = [ErrorKind::EngineUnavailable];

    // Killed: its socket is there, and nobody listens.
    engine.crash(Crash::Daemon);
    all_fail("killed", &runtime, &id, &spec, &away).await;
    engine.start_again().await;
    // Stopped: there is no socket.
    engine.stop().await;
    all_fail("stopped", &runtime, &id, &spec, &away).await;
    let error = DockerRuntime::connect(lab.config.clone()).await.expect_err("nobody is there");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary));

    // Back: nothing was done in the meantime, and everything works again, on the same runtime.
    engine.start_again().await;
    let found = runtime.list(&lab.labels()).await.unwrap();
    assert_eq!(found.iter().map(|info| &info.id).collect::<Vec<_>>(), [&id]);
    assert!(matches!(found[0].state, ContainerState::Exited(_)));
    let late = runtime.create(&spec).await.unwrap();
    runtime.start(&late).await.unwrap();
    assert_eq!(runtime.wait(&late).await.unwrap().code, 0);
    assert_eq!(runtime.stuck().len(), 0, "an absent engine holds no container");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_hangs_costs_each_call_its_budget_and_no_more() {
    let (engine, lab, runtime) = open(Duration::from_millis(500)).await;
    let id = lab.started("there", "exec sleep 1000").await;
    let mut spec = lab.spec("late", "true");
    spec.labels = lab.labels();
    engine.hang();
    // What it does not answer may still be carried out, so a call must not say that nothing was there.
    let kinds = [ErrorKind::Timeout, ErrorKind::EngineUnavailable];
    all_fail("hung", &runtime, &id, &spec, &kinds).await;
    let hasty = DockerConfig { budgets: budgets(Duration::from_millis(500)), ..lab.config.clone() };
    let error = DockerRuntime::connect(hasty).await.expect_err("it hangs");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary));
    engine.go_on();
    // Whatever it had been asked for and does only now: it answers, and what it has can be removed.
    for container in lab.runtime.list(&lab.labels()).await.unwrap() {
        lab.runtime.remove(&container.id).await.unwrap();
    }
}
