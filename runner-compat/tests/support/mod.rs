//! A stack on the real engine, with the stub in place of a language model, in a directory of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests state their expectations by panicking"
)]
#![allow(unreachable_pub, dead_code, reason = "a module of several targets, each using its own part")]

pub mod engine;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use runner_compat::{Environment, Stack, StackConfig};
use runner_core::event::RunEventKind;
use runner_core::{AgentId, RunRequest, RunResult, Runner, Secret, Sink, TaskId};
use runner_lifecycle::ContainerRunner;
use runner_testkit::stub_model::StubModel;
use serde_json::json;
use tempfile::TempDir;

use self::engine::Engine;

/// A provider key that must be found nowhere but in its file.
pub const PLANTED_KEY: &str = "sk-planted-key-0123456789";

pub struct Live {
    pub stack: Stack,
    pub engine: Engine,
    pub stub: StubModel,
    pub config: StackConfig,
    /// The label that only this test's containers carry.
    pub label: String,
    pub dir: TempDir,
}

impl Live {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Fails, loudly, where there is no engine: `cargo xtask test` brings one up.
    pub async fn with(adjust: impl FnOnce(&mut StackConfig)) -> Self {
        let env = Environment::of_process();
        let engine = Engine::from_host(env.text("DOCKER_HOST").unwrap());
        let mut config = StackConfig::from_env(&env).unwrap();
        let dir = TempDir::new().unwrap();
        config.workspaces.root = dir.path().join("data");
        config.lifecycle.namespace = format!("test-{}", config.lifecycle.instance);
        // A network of its own: tests that end must not take another's away.
        config.docker.network = format!("cnap-test-{}", config.lifecycle.instance);

        let probe = Stack::connect(config.clone()).await.expect("a live test needs an engine");
        let gateway = probe.engine().await.unwrap().host_address.expect("the runners' network has a gateway");
        let stub = StubModel::builder().api_key(PLANTED_KEY).bind(SocketAddr::new(gateway, 0)).await.unwrap();
        config.agent.keys = [("stub".to_owned(), Secret::new(PLANTED_KEY))].into();
        config.agent.model = Some("stub/test".parse().unwrap());
        config.agent.config.insert(
            "provider".to_owned(),
            json!({ "stub": {
                "npm": "@ai-sdk/openai-compatible",
                "options": { "baseURL": stub.base_url_at(&gateway.to_string()) },
                "models": { "test": { "limit": { "context": 100_000, "output": 8_000 } } }
            } }),
        );
        adjust(&mut config);
        let stack = Stack::connect(config.clone()).await.unwrap();
        let label = format!("cnap.runner.namespace={}", config.lifecycle.namespace);
        Self { stack, engine, stub, config, label, dir }
    }

    pub async fn start(&self, task: &str) -> runner_core::Result<Arc<ContainerRunner>> {
        self.stack.start(TaskId::new(task)?, AgentId::new("writer")?, Sink::none()).await
    }

    /// Stops everything and proves that nothing is left.
    pub async fn end(self) {
        self.stack.shutdown().await.unwrap();
        assert_eq!(self.engine.count(&self.label).await, 0, "containers are left");
        let (status, network) =
            self.engine.call("GET", &format!("/networks/{}", self.config.docker.network), None).await;
        assert_eq!(status, 404, "the network is left: {network}");
        let secrets = std::fs::read_dir(self.dir.path().join("data/.run")).unwrap().count();
        assert_eq!(secrets, 0, "secrets are left");
        self.stub.shutdown().await;
    }
}

/// Runs a turn to its end.
pub async fn run(runner: &ContainerRunner, prompt: &str) -> (Vec<RunEventKind>, RunResult) {
    let turn = runner.run(RunRequest::new(prompt).unwrap()).await.expect("the prompt is accepted");
    let kinds: Vec<_> = turn.map(|e| e.kind).collect().await;
    let Some(RunEventKind::Finished(result)) = kinds.last() else { panic!("no outcome: {kinds:?}") };
    let result = (**result).clone();
    (kinds, result)
}

/// The text that was streamed.
pub fn streamed(kinds: &[RunEventKind]) -> String {
    let texts = kinds.iter().filter_map(|k| match k {
        RunEventKind::Text { delta, .. } => Some(delta.as_str()),
        _ => None,
    });
    texts.collect()
}
