//! The contract suites, on the fakes. They must hold there too, or a test on a fake proves nothing.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping, also in its helpers")]

mod flawed_agent;
mod flawed_runtime;
mod flawed_workspace;

use std::sync::Arc;
use std::time::Duration;

use runner_core::container::{Mount, MountSource, UserSpec};
use runner_core::container_runtime::Feature;
use runner_core::stats::ContainerStats;
use runner_core::{ContainerSpec, ImageRef};
use runner_testkit::contract::agent_api::AgentFixture;
use runner_testkit::contract::container_runtime::{MakeSpec, RuntimeFixture};
use runner_testkit::contract::workspace_provider::WorkspaceFixture;
use runner_testkit::contract::{agent_api, container_runtime, workspace_provider};
use runner_testkit::fake_agent::FakeAgent;
use runner_testkit::fake_runtime::{FakeRuntime, Process, exited};
use runner_testkit::fake_workspace::FakeWorkspace;

/// Whether a suite stops at a broken promise.
async fn is_noticed(suite: impl Future<Output = ()> + Send + 'static) -> bool {
    tokio::spawn(suite).await.is_err_and(|error| error.is_panic())
}

/// The command of a container that ignores its stop signal.
const STUBBORN: &str = "trap '' TERM";

fn fixture(engine: &FakeRuntime) -> RuntimeFixture {
    let image: ImageRef = "image".parse().unwrap();
    let missing_image: ImageRef = "missing".parse().unwrap();
    engine.missing_image(&missing_image);
    engine.boot_log(["a line", "another"]);
    engine.image_file("/etc/hostname", "a name\n");
    engine.image_file("/workspace/sub/file", "");
    let is_stubborn = |spec: &ContainerSpec| spec.command.as_ref().is_some_and(|c| c == &[STUBBORN]);
    engine.ignore_stop_signals_if(is_stubborn);
    engine.behave(move |spec| {
        if spec.command.is_none() || is_stubborn(spec) {
            Process::Runs
        } else {
            Process::Exits { after: Duration::from_millis(20), status: exited(7) }
        }
    });
    let user = UserSpec { uid: 10001, gid: 10001 };
    let make = |command: Option<&str>| -> MakeSpec {
        let (image, command) = (image.clone(), command.map(|c| vec![c.to_owned()]));
        Arc::new(move |name| {
            let mut spec = ContainerSpec::new(name, image.clone(), user);
            spec.command.clone_from(&command);
            spec.ports = vec![4096, 4097];
            let source = MountSource::HostPath("/srv/agent".into());
            spec.mounts.push(Mount { source, target: "/workspace".into(), read_only: false });
            spec
        })
    };
    RuntimeFixture {
        image: image.clone(),
        missing_image,
        stays: make(None),
        exits: make(Some("exit 7")),
        writes: "a line".into(),
        ignores_term: Some(make(Some(STUBBORN))),
        readable_file: Some("/etc/hostname".into()),
        writable_directory: Some("/workspace/sub".into()),
        patience: Duration::from_secs(30),
    }
}

#[tokio::test(start_paused = true)]
async fn the_fake_runtime_keeps_the_contract() {
    let engine = FakeRuntime::new();
    let fixture = fixture(&engine);
    container_runtime::all(Arc::new(engine.clone()), fixture).await;
    assert!(engine.is_empty(), "the suite cleans up");
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_keeps_the_contract() {
    let engine = FakeRuntime::new();
    let fixture = fixture(&engine);
    engine.ignore_stop_signals();
    engine.publish_ports_after(Duration::from_secs(3));
    container_runtime::all(Arc::new(engine.clone()), fixture).await;
    assert!(engine.is_empty(), "the suite cleans up");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_can_do_little_keeps_the_contract() {
    let engine = FakeRuntime::new();
    let fixture = fixture(&engine);
    engine.change_info(|info| {
        info.unsupported =
            [Feature::Update, Feature::Pause, Feature::Stats, Feature::Events, Feature::Copy].into();
    });
    container_runtime::all(Arc::new(engine.clone()), fixture).await;
    assert!(engine.is_empty(), "the suite cleans up");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_knows_little_keeps_the_contract() {
    let engine = FakeRuntime::new();
    let fixture = fixture(&engine);
    engine.adjust_stats(|_, stats| ContainerStats {
        read_at: stats.read_at,
        cpu: None,
        memory: None,
        pids: None,
        network: None,
        disk: None,
    });
    let fixture =
        RuntimeFixture { ignores_term: None, readable_file: None, writable_directory: None, ..fixture };
    container_runtime::all(Arc::new(engine.clone()), fixture).await;
    assert!(engine.is_empty(), "the suite cleans up");
}

#[tokio::test(start_paused = true)]
async fn the_fake_agent_keeps_the_contract() {
    agent_api::all(Arc::new(FakeAgent::new()), AgentFixture::new().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fake_agent_keeps_the_contract_on_several_threads() {
    agent_api::all(Arc::new(FakeAgent::new()), AgentFixture::new().unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn the_fake_workspace_keeps_the_contract() {
    let disk = FakeWorkspace::new();
    workspace_provider::all(Arc::new(disk.clone()), WorkspaceFixture::new().unwrap()).await;
    assert!(!disk.holds_secrets());
}
