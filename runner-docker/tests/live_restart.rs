//! The engine dies and comes back under containers, waits and logs (reports 19 and 44). On an engine of its own, which
//! may be killed; needs root.
//!
//! What an engine says about containers that it finds at its start (measured on 20.10.24, the same whether containerd
//! died with it or not; `State.Error` is empty and `RestartCount` 0 in all of these):
//!
//! | container | without live-restore | with live-restore |
//! |---|---|---|
//! | ended by itself while the engine was away | its true code and its true `FinishedAt` | the same |
//! | killed from outside while the engine was away | 137, its true `FinishedAt` | the same |
//! | out of memory while the engine was away | 137, its true `FinishedAt`, `OOMKilled` **false** | the same |
//! | still running, gives way to its stop signal | 143, `FinishedAt` before the engine answers again | runs on |
//! | still running, ignores it | 137, ten seconds later, and the engine answers only after that | runs on |
//! | paused | 143, as if it ran | paused |
//! | it died together with its shim (a power cut) | 255, `FinishedAt` is the engine's start | the same |
//! | created, or ended before | as it was | as it was |
//!
//! An engine that is asked to stop (SIGTERM) ends its containers itself: 143 or 137, `FinishedAt` **before** its last
//! moments, and while it does so it takes no new connection but still serves those it has. So a wait rings before
//! anybody has noticed an absence. With live-restore it leaves them running.
//!
//! What a container writes meanwhile is kept in its pipe (64 KiB; beyond that the container stands still) and enters the
//! log when the engine is back, with the time of that moment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod lab;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use lab::private_engine::{Crash, PrivateEngine};
use lab::{Lab, bind, grace, processes, raw_at, tiny_image, traces, workspace};
use runner_core::logs::LogOptions;
use runner_core::{ContainerId, ContainerRuntime, ContainerState, ExitReason, ExitStatus, StopReason};
use runner_docker::{DockerConfig, DockerRuntime};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Longer than anything here takes; a wait that is longer is a hang.
const PATIENCE: Duration = Duration::from_mins(2);

/// Numbers its lines.
const TALKS: &str = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done";
const DEAF: &str = "trap '' TERM; echo deaf; while :; do sleep 0.1; done";
/// Ends when a file appears, which needs no engine.
const ON_SIGN: &str = "while [ ! -e /workspace/go ]; do sleep 0.05; done; ";

/// An engine of our own with a place on it. The place goes first.
struct Scene {
    lab: Lab,
    runtime: Arc<DockerRuntime>,
    sign: PathBuf,
    shared: PathBuf,
    _directory: TempDir,
    engine: PrivateEngine,
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

impl Scene {
    async fn open(live_restore: bool) -> Self {
        let engine = PrivateEngine::start(live_restore).await;
        let image = tiny_image::load(&engine.host());
        let lab = Lab::at(DockerConfig { host: engine.host(), ..DockerConfig::default() }, image).await;
        let runtime = Arc::new(DockerRuntime::connect(lab.config.clone()).await.unwrap());
        assert_eq!(runtime.info().await.unwrap().live_restore, live_restore);
        let (directory, shared) = workspace("shared");
        Self { lab, runtime, sign: shared.join("go"), shared, _directory: directory, engine }
    }

    /// A container that ends with this when the sign is given.
    async fn on_sign(&self, name: &str, then: &str) -> ContainerId {
        let mut spec = self.lab.spec(name, &format!("{ON_SIGN}{then}"));
        spec.mounts = vec![bind(&self.shared, "/workspace", true)];
        self.lab.run(&spec).await
    }

    /// Gives the sign, and returns when these have ended.
    fn give_sign(&self, first_processes: &[u32]) {
        std::fs::write(&self.sign, "").unwrap();
        let ended = || first_processes.iter().all(|pid| !processes::is_alive(*pid));
        assert!(traces::until(PATIENCE, ended), "a container does not see the sign");
    }

    /// A container's first process, as this machine numbers it.
    fn first_process(&self, id: &ContainerId) -> u32 {
        let (_, doc) = raw_at(&self.engine.host(), "GET", &format!("/containers/{id}/json"), "");
        doc["State"]["Pid"].as_u64().and_then(|pid| pid.try_into().ok()).unwrap()
    }

    fn wait(&self, id: &ContainerId) -> JoinHandle<ExitStatus> {
        let (runtime, id) = (Arc::clone(&self.runtime), id.clone());
        tokio::spawn(async move { runtime.wait(&id).await.unwrap() })
    }

    /// Every line that a followed log gives, to its end.
    async fn follow(&self, id: &ContainerId) -> JoinHandle<Vec<String>> {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let stream = self.runtime.logs(id, options).await.unwrap();
        tokio::spawn(stream.map(|line| line.unwrap().text).collect())
    }

    async fn states(&self) -> BTreeMap<ContainerId, ContainerState> {
        let listed = self.runtime.list(&self.lab.labels()).await.unwrap();
        listed.into_iter().map(|info| (info.id, info.state)).collect()
    }

    /// Everything can be taken away as if nothing had been.
    async fn clear(&self) {
        for id in self.states().await.into_keys() {
            soon("remove", self.runtime.remove(&id)).await.unwrap();
        }
        assert!(self.states().await.is_empty());
        self.runtime.release().await.unwrap();
        let (_, networks) = raw_at(&self.engine.host(), "GET", "/networks", "");
        assert!(networks.as_array().unwrap().iter().all(|n| n["Name"] != self.lab.name.as_str()));
        let (_, left) = raw_at(&self.engine.host(), "GET", "/containers/json?all=true", "");
        assert_eq!(left.as_array().unwrap().len(), 0);
    }
}

/// The numbers from 1 on, none left out, none twice.
fn assert_unbroken(lines: &[String]) {
    let numbers: Vec<usize> = lines.iter().map(|line| line.parse().unwrap()).collect();
    let wanted: Vec<usize> = (1..=lines.len()).collect();
    assert_eq!(numbers, wanted);
}

fn exited(state: &ContainerState) -> &ExitStatus {
    match state {
        ContainerState::Exited(exit) => exit,
        other => panic!("it is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_takes_its_containers_along_and_everybody_is_told() {
    let mut scene = Scene::open(false).await;
    let lab = &scene.lab;
    let talks = lab.started("talks", TALKS).await;
    let deaf = lab.started("deaf", DEAF).await;
    let seven = scene.on_sign("seven", "exit 7").await;
    let memory = scene.on_sign("memory", "exec tail /dev/zero").await;
    let created = lab.runtime.create(&lab.spec("created", "exit 4")).await.unwrap();
    let ended = lab.started("ended", "exit 5").await;
    lab.runtime.wait(&ended).await.unwrap();
    let paused = lab.started("paused", "exec sleep 1000").await;
    lab.runtime.pause(&paused).await.unwrap();
    let lines = scene.follow(&talks).await;
    let waits = [&talks, &deaf, &seven, &memory, &created, &paused].map(|id| scene.wait(id));
    lab.says(&talks, "5").await;
    lab.says(&deaf, "deaf").await;

    let on_sign = [&seven, &memory].map(|id| scene.first_process(id));
    scene.engine.crash(Crash::DaemonAndContainerd);
    let away_from = SystemTime::now();
    scene.give_sign(&on_sign);
    let back_from = SystemTime::now();
    scene.engine.start_again().await;
    let back = SystemTime::now();

    // The log ends with its container, without a gap.
    let lines = soon("the followed log", lines).await.unwrap();
    assert!(lines.len() >= 5, "{lines:?}");
    assert_unbroken(&lines);

    // A wait for a container that was never started goes on; all others are over.
    assert!(!waits[4].is_finished());
    scene.runtime.start(&created).await.unwrap();
    let exits = soon("the waits", futures::future::try_join_all(waits)).await.unwrap();
    let codes: Vec<i64> = exits.iter().map(|exit| exit.code).collect();
    assert_eq!(codes, [143, 137, 7, 137, 4, 143], "{exits:?}");
    assert!(exits.iter().all(|exit| exit.error.is_none() && !exit.oom_killed), "{exits:?}");
    let moments: Vec<SystemTime> = exits.iter().map(|exit| exit.ended_at.unwrap()).collect();
    for (at, name) in [(0, "talks"), (1, "deaf"), (5, "paused")] {
        assert!(moments[at] >= back_from && moments[at] <= back, "{name} was ended by the new engine");
        assert_eq!(exits[at].reason, ExitReason::EngineRestart, "{name}");
    }
    // And these by themselves while it was away, each in its own way.
    for at in [2, 3] {
        assert!(moments[at] >= away_from && moments[at] <= back, "{:?}", exits[at]);
    }
    assert_eq!(exits[2].reason, ExitReason::Exited);

    // What is listed is what is true.
    let states = scene.states().await;
    assert_eq!(states.len(), 7);
    for (id, code) in
        [(&talks, 143), (&deaf, 137), (&seven, 7), (&memory, 137), (&created, 4), (&ended, 5), (&paused, 143)]
    {
        assert_eq!(exited(&states[id]).code, code);
    }
    scene.clear().await;
}

/// A container that ended on its own around an absence did so in its own way: no engine gives it such a code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_of_its_own_around_an_absence_is_not_the_engines() {
    let mut scene = Scene::open(false).await;
    let ended = scene.lab.started("ended", "exit 5").await;
    scene.runtime.wait(&ended).await.unwrap();
    let seven = scene.on_sign("seven", "exit 7").await;
    let fine = scene.on_sign("fine", "exit 0").await;
    let waits = [&seven, &fine].map(|id| scene.wait(id));
    let on_sign = [&seven, &fine].map(|id| scene.first_process(id));
    scene.engine.crash(Crash::Daemon);
    scene.give_sign(&on_sign);
    scene.engine.start_again().await;
    for (wait, code) in waits.into_iter().zip([7, 0]) {
        let exit = soon("the wait", wait).await.unwrap();
        assert_eq!((exit.code, exit.reason), (code, ExitReason::Exited));
    }
    let exit = scene.runtime.wait(&ended).await.unwrap();
    assert_eq!((exit.code, exit.reason), (5, ExitReason::Exited));
    scene.clear().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_live_restore_containers_do_not_notice() {
    let mut scene = Scene::open(true).await;
    let lab = &scene.lab;
    let mut spec = lab.spec("talks", TALKS);
    spec.ports = vec![4096];
    let talks = lab.run(&spec).await;
    let victim = lab.started("victim", DEAF).await;
    let seven = scene.on_sign("seven", "exit 7").await;
    let paused = lab.started("paused", "exec sleep 1000").await;
    lab.runtime.pause(&paused).await.unwrap();
    lab.says(&talks, "5").await;
    lab.says(&victim, "deaf").await;
    let before = lab.runtime.inspect(&talks).await.unwrap();
    let lines = scene.follow(&talks).await;
    let waits = [&talks, &victim, &seven].map(|id| scene.wait(id));

    let on_sign = [scene.first_process(&seven)];
    for crash in [Crash::Daemon, Crash::DaemonAndContainerd] {
        scene.engine.crash(crash);
        scene.give_sign(&on_sign);
        scene.engine.start_again().await;
    }
    // Asked to stop, it leaves them alone, too.
    scene.engine.stop().await;
    scene.engine.start_again().await;

    // As it was: the same run, the same ports, and something listens there.
    let info = scene.runtime.inspect(&talks).await.unwrap();
    assert_eq!(info, before);
    let port = info.ports[0].address.port();
    let open = scene.engine.inside(&format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo open"));
    assert_eq!(open, "open\n");
    let states = scene.states().await;
    assert_eq!((&states[&talks], &states[&victim]), (&ContainerState::Running, &ContainerState::Running));
    assert_eq!(states[&paused], ContainerState::Paused);
    assert_eq!((exited(&states[&seven]).code, exited(&states[&seven]).reason), (7, ExitReason::Exited));
    scene.runtime.unpause(&paused).await.unwrap();

    // And they end when they are ended, for everybody who has waited all the time.
    let [talks_wait, victim_wait, seven_wait] = waits;
    assert!(!talks_wait.is_finished() && !victim_wait.is_finished());
    assert_eq!(soon("the wait", seven_wait).await.unwrap().code, 7);
    let shown = scene.lab.lines(&talks, LogOptions::default()).await.len();
    scene.lab.says(&talks, &(shown + 20).to_string()).await;
    scene.runtime.stop(&talks, grace(10)).await.unwrap();
    let exit = soon("the wait", talks_wait).await.unwrap();
    assert_eq!((exit.code, exit.reason), (143, ExitReason::Stopped(StopReason::Requested)));
    let lines = soon("the followed log", lines).await.unwrap();
    assert!(lines.len() >= shown + 20);
    assert_unbroken(&lines);
    let (killed, _) = raw_at(&scene.engine.host(), "POST", &format!("/containers/{victim}/kill"), "");
    assert_eq!(killed, 204);
    let exit = soon("the wait", victim_wait).await.unwrap();
    assert_eq!((exit.code, exit.reason), (137, ExitReason::KilledByOther { signal: 9 }));
    scene.clear().await;
}

/// A service manager's restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_stopped_in_good_order_ends_its_containers_before_it_goes() {
    let mut scene = Scene::open(false).await;
    let talks = scene.lab.started("talks", TALKS).await;
    scene.lab.says(&talks, "5").await;
    let (lines, wait) = (scene.follow(&talks).await, scene.wait(&talks));
    scene.engine.stop().await;
    let stopped = SystemTime::now();
    scene.engine.start_again().await;
    let exit = soon("the wait", wait).await.unwrap();
    assert!(exit.ended_at.unwrap() < stopped, "before it went");
    assert_eq!((exit.code, exit.reason), (143, ExitReason::EngineRestart));
    let lines = soon("the followed log", lines).await.unwrap();
    assert!(lines.len() >= 5);
    assert_unbroken(&lines);
    scene.clear().await;
}

/// As after a power cut. There is no true exit code: nobody was left to see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dies_with_everything_else_is_found_dead() {
    let mut scene = Scene::open(false).await;
    let talks = scene.lab.started("talks", TALKS).await;
    scene.lab.says(&talks, "5").await;
    let (lines, wait) = (scene.follow(&talks).await, scene.wait(&talks));
    scene.engine.crash(Crash::Everything);
    let dead = SystemTime::now();
    scene.engine.start_again().await;
    let exit = soon("the wait", wait).await.unwrap();
    assert!(exit.ended_at.unwrap() > dead, "the engine tells when it noticed");
    assert_eq!((exit.code, exit.oom_killed, exit.error.as_deref()), (255, false, None));
    assert_eq!(exit.reason, ExitReason::EngineRestart);
    assert_unbroken(&soon("the followed log", lines).await.unwrap());
    scene.clear().await;
}

/// The promise on which all of this stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_engine_leaves_nothing_even_when_it_was_killed() {
    let mut scene = Scene::open(false).await;
    let directory = scene.engine.directory().to_owned();
    scene.lab.started("left", "exec sleep 1000").await;
    assert!(traces::found(&directory).len() > 5, "what is looked for can be seen");
    let sockets = traces::shim_sockets(&directory);
    assert!(sockets.len() == 1 && sockets[0].exists(), "{sockets:?}");
    scene.engine.crash(Crash::DaemonAndContainerd);
    let Scene { lab, engine, runtime, .. } = scene;
    drop(runtime);
    drop(engine);
    assert_eq!(traces::found(&directory), Vec::<String>::new());
    assert!(!sockets[0].exists());
    // Its containers are gone with it, so there is nothing to clean up, and nobody to ask.
    std::mem::forget(lab);
}
