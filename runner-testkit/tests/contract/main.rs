//! The contract suites, on the fakes. They must hold there too, or a test on a fake proves nothing.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping, also in its helpers")]

mod flawed_agent;
mod flawed_runtime;
mod flawed_workspace;

use std::sync::Arc;
use std::time::Duration;

use runner_core::container::UserSpec;
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

fn fixture(engine: &FakeRuntime) -> RuntimeFixture {
    let image: ImageRef = "image".parse().unwrap();
    let missing_image: ImageRef = "missing".parse().unwrap();
    engine.missing_image(&missing_image);
    engine.boot_log(["a line", "another"]);
    engine.behave(|spec| {
        if spec.command.is_some() {
            Process::Exits { after: Duration::from_millis(20), status: exited(7) }
        } else {
            Process::Runs
        }
    });
    let user = UserSpec { uid: 10001, gid: 10001 };
    let make = |command: Option<&str>| -> MakeSpec {
        let (image, command) = (image.clone(), command.map(|c| vec![c.to_owned()]));
        Arc::new(move |name| {
            let mut spec = ContainerSpec::new(name, image.clone(), user);
            spec.command.clone_from(&command);
            spec.ports = vec![4096, 4097];
            spec
        })
    };
    let (stays, exits) = (make(None), make(Some("exit 7")));
    RuntimeFixture {
        image,
        missing_image,
        stays,
        exits,
        writes: "a line".into(),
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
