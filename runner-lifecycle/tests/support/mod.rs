//! A manager on fakes, and short words for what tests ask of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests state their expectations by panicking"
)]
#![allow(unreachable_pub, reason = "a module of several test targets, not of a library")]
#![allow(dead_code, reason = "each test target uses its own part")]

use std::sync::Arc;

use futures::StreamExt;
use runner_core::event::RunEventKind;
use runner_core::{AgentId, AgentSettings, RunEvent, RunRequest, RunResult, Runner, Sink, TaskId, Turn};
use runner_lifecycle::{ContainerRunner, LifecycleConfig, Ports, RunnerManager, StartRequest};
use runner_testkit::fake_agent::{FakeAgent, FakeConnector};
use runner_testkit::fake_runtime::FakeRuntime;
use runner_testkit::fake_workspace::FakeWorkspace;

pub struct World {
    pub engine: FakeRuntime,
    pub agent: FakeAgent,
    pub connector: FakeConnector,
    pub workspaces: FakeWorkspace,
    pub manager: RunnerManager,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// The server lives and dies with its container, as the real one does.
    pub fn with(adjust: impl FnOnce(&mut LifecycleConfig)) -> Self {
        let (engine, agent, workspaces) = (FakeRuntime::new(), FakeAgent::new(), FakeWorkspace::new());
        let (dies, lives) = (agent.clone(), agent.clone());
        engine.on_exit(move |_| dies.die());
        engine.on_start(move |_| lives.restart());
        let connector = FakeConnector::new(agent.clone());
        let mut config = LifecycleConfig::new("agent:1".parse().unwrap(), "me");
        adjust(&mut config);
        let ports = Ports {
            runtime: Arc::new(engine.clone()),
            connector: Arc::new(connector.clone()),
            workspaces: Arc::new(workspaces.clone()),
        };
        let manager = RunnerManager::new(ports, config).unwrap();
        Self { engine, agent, connector, workspaces, manager }
    }

    pub async fn start(&self, task: &str) -> runner_core::Result<Arc<ContainerRunner>> {
        self.manager.start(request(task), Sink::none()).await
    }

    pub async fn ready(&self) -> Arc<ContainerRunner> {
        self.start("t").await.expect("a start on fakes succeeds")
    }

    /// What must hold after every end: no container, no secrets.
    pub fn assert_nothing_left(&self) {
        assert!(self.engine.is_empty(), "containers are left: {:?}", self.engine.containers());
        assert!(!self.workspaces.holds_secrets(), "secrets are left");
    }
}

pub fn task(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

pub fn request(id: &str) -> StartRequest {
    StartRequest {
        task: task(id),
        agent: AgentId::new("writer").unwrap(),
        settings: AgentSettings::default(),
    }
}

pub fn say(text: &str) -> RunRequest {
    RunRequest::new(text).unwrap()
}

pub async fn events_of(turn: Turn) -> Vec<RunEvent> {
    turn.collect().await
}

/// Runs a turn and gives its events and its result.
pub async fn run(runner: &ContainerRunner, text: &str) -> (Vec<RunEventKind>, RunResult) {
    ended(runner.run(say(text)).await.expect("the prompt is accepted")).await
}

pub async fn ended(turn: Turn) -> (Vec<RunEventKind>, RunResult) {
    let events = events_of(turn).await;
    let mut numbers = events.iter().map(|e| e.seq);
    let first = numbers.next().expect("a turn has events");
    assert!(numbers.zip(first + 1..).all(|(got, want)| got == want), "numbers go up by one");
    let kinds: Vec<_> = events.into_iter().map(|e| e.kind).collect();
    assert!(matches!(kinds.first(), Some(RunEventKind::Started { .. })), "{kinds:?}");
    let ends = kinds.iter().filter(|k| matches!(k, RunEventKind::Finished(_))).count();
    assert_eq!(ends, 1, "exactly one outcome: {kinds:?}");
    let Some(RunEventKind::Finished(result)) = kinds.last() else {
        panic!("it is the last event: {kinds:?}")
    };
    let result = (**result).clone();
    (kinds, result)
}

/// The text that was streamed.
pub fn streamed(kinds: &[RunEventKind]) -> String {
    kinds
        .iter()
        .filter_map(|k| match k {
            RunEventKind::Text { delta, .. } => Some(delta.as_str()),
            _ => None,
        })
        .collect()
}
