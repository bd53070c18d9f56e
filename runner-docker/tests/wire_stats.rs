//! Samples from an engine that misbehaves by script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use futures::future::join_all;
use runner_core::{ContainerId, ContainerRuntime, ErrorKind, Retry};
use support::{Fake, Reply, Then, fail, ok};

const STATS: &str = "GET /containers/abc/stats";
const INSPECT: &str = "GET /containers/abc/json";

const RUNNING: &str = include_str!("fixtures/stats/cgroup1_running.json");
const STOPPED: &str = include_str!("fixtures/stats/stopped.json");

fn id() -> ContainerId {
    ContainerId::new("abc").unwrap()
}

fn container(status: &str) -> Reply {
    ok(format!(r#"{{"Id":"abc","State":{{"Status":"{status}"}}}}"#))
}

#[tokio::test]
async fn one_look_is_asked_for_and_what_runs_is_told() {
    let fake = Fake::engine(|_| ok(RUNNING));
    let stats = fake.connect().await.stats(&id()).await.unwrap().unwrap();
    assert_eq!((stats.pids, stats.memory.unwrap().limit), (Some(3), Some(256 << 20)));
    let query = &fake.calls(STATS)[0].query;
    assert!(query.contains("stream=false") && query.contains("one-shot=true"), "{query}");
    fake.quiet().await;
}

#[tokio::test]
async fn what_does_not_run_is_none_in_every_engines_words() {
    for reply in [
        ok(STOPPED),
        ok(include_str!("fixtures/stats/podman_stopped.json")),
        fail(409, "container state improper"),
        fail(409, "Container abc is not running"),
    ] {
        let shown = format!("{reply:?}");
        let fake = Fake::engine(move |_| reply.clone());
        assert_eq!(fake.connect().await.stats(&id()).await.expect(&shown), None, "{shown}");
    }
    // No document at all: the container was removed or ended meanwhile.
    for (inspected, want) in [
        (container("exited"), Ok(None)),
        (container("removing"), Ok(None)),
        (fail(404, "No such container: abc"), Err(ErrorKind::NotFound)),
        (container("running"), Err(ErrorKind::Protocol)),
    ] {
        let shown = format!("{inspected:?}");
        let fake = Fake::engine(move |call| match call.what.as_str() {
            INSPECT => inspected.clone(),
            _ => ok(""),
        });
        let got = fake.connect().await.stats(&id()).await;
        assert_eq!(got.map_err(|e| e.kind()), want, "{shown}");
    }
}

#[tokio::test]
async fn a_sample_that_fails_says_why_in_time() {
    for (reply, kind, retry) in [
        (fail(404, "No such container: abc"), ErrorKind::NotFound, Retry::Permanent),
        (ok("{}"), ErrorKind::Protocol, Retry::Permanent),
        (ok("<html>"), ErrorKind::Protocol, Retry::Permanent),
        (fail(500, "boom"), ErrorKind::Engine, Retry::Temporary),
        (Reply::Silence, ErrorKind::Timeout, Retry::Temporary),
        (
            Reply::Stream(vec![RUNNING.as_bytes()[..50].to_vec()], Then::Stall),
            ErrorKind::Timeout,
            Retry::Temporary,
        ),
        (
            Reply::Stream(vec![RUNNING.as_bytes()[..50].to_vec()], Then::Cut),
            ErrorKind::Connection,
            Retry::Temporary,
        ),
        (Reply::Hangup, ErrorKind::Connection, Retry::Temporary),
    ] {
        let shown = format!("{reply:?}");
        let fake = Fake::engine(move |_| reply.clone());
        let error = fake.connect().await.stats(&id()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{shown}: {error}");
        assert_eq!(error.container(), Some(&id()), "{shown}");
        fake.quiet().await;
    }
}

/// An engine that hangs in its samples is still one that can be asked for other things.
#[tokio::test]
async fn samples_leave_places_for_other_calls() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        INSPECT => container("running"),
        _ => Reply::Silence,
    });
    let mut config = fake.config();
    config.max_calls = 4;
    config.budgets.stats = std::time::Duration::from_secs(5);
    config.budgets.queue = std::time::Duration::from_secs(5);
    let runtime = runner_docker::DockerRuntime::connect(config).await.unwrap();
    let runtime = &runtime;
    let id = id();
    let samples = join_all((0..20).map(|_| runtime.stats(&id)));
    tokio::select! {
        _ = samples => panic!("nobody answers"),
        found = async {
            fake.saw(STATS).await;
            runtime.inspect(&id).await
        } => drop(found.unwrap()),
    }
    assert!(fake.count(STATS) <= 2);
    fake.quiet().await;
}
