//! A place on a real engine for one test: its own label and network, removed at the end even when the test fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test's own scaffolding says what it expects by panicking, and not every test uses all of it"
)]

mod http;
pub(crate) mod private_engine;
pub(crate) mod processes;
pub(crate) mod tiny_image;
pub(crate) mod traces;

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use runner_core::container::{Labels, Mount, MountSource, StopOptions, Tmpfs, UserSpec};
use runner_core::image::{ImageRequest, PullPolicy};
use runner_core::logs::{LogLine, LogOptions, LogSource};
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, ImageRef, Resources, Sink};
use runner_docker::{DockerConfig, DockerHost, DockerRuntime};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const LABEL: &str = "cnap.runner.test";

pub(crate) struct Lab {
    pub(crate) runtime: DockerRuntime,
    pub(crate) config: DockerConfig,
    /// Unique to this lab: names, label and network begin with it.
    pub(crate) name: String,
    /// What its containers are made of.
    pub(crate) image: ImageRef,
}

/// What a container wrote, by stream.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the engine is and which image to use is for the environment to say"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) fn image() -> ImageRef {
    variable("CNAP_RUNNER_IMAGE").unwrap_or_else(|| "cnap-runner:latest".to_owned()).parse().unwrap()
}

pub(crate) fn host() -> DockerHost {
    variable("DOCKER_HOST").map_or_else(DockerHost::default, |text| text.parse().unwrap())
}

impl Lab {
    /// Fails loudly without an engine or the image: a live test that is skipped proves nothing.
    pub(crate) async fn open() -> Self {
        Self::at(DockerConfig { host: host(), ..DockerConfig::default() }, image()).await
    }

    /// On another engine than the usual one.
    pub(crate) async fn at(config: DockerConfig, image: ImageRef) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cnap-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let config = DockerConfig { network: name.clone(), ..config };
        let runtime = DockerRuntime::connect(config.clone())
            .await
            .unwrap_or_else(|e| panic!("live tests need an engine: {}", e.chain()));
        runtime
            .ensure_image(&ImageRequest::new(image.clone(), PullPolicy::Never), Sink::none())
            .await
            .unwrap_or_else(|e| panic!("live tests need the runner image (cargo xtask image build): {e}"));
        Self { runtime, config, name, image }
    }

    pub(crate) fn labels(&self) -> Labels {
        Labels::from([(LABEL.to_owned(), self.name.clone())])
    }

    /// A container that runs a shell script.
    pub(crate) fn spec(&self, suffix: &str, script: &str) -> ContainerSpec {
        let mut spec = ContainerSpec::new(format!("{}-{suffix}", self.name), self.image.clone(), user());
        spec.labels = self.labels();
        // The image's entry point runs a command that is given to it, instead of the server.
        spec.command = Some(["sh", "-c", script].map(str::to_owned).into());
        spec.tmpfs.push(Tmpfs { target: "/tmp".into(), size_bytes: 16 << 20 });
        spec.resources = Resources { memory_bytes: 256 << 20, ..Resources::default() };
        spec
    }

    pub(crate) async fn started(&self, suffix: &str, script: &str) -> ContainerId {
        self.run(&self.spec(suffix, script)).await
    }

    pub(crate) async fn run(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.runtime.create(spec).await.unwrap();
        self.runtime.start(&id).await.unwrap();
        id
    }

    /// Everything that the container writes, to its end.
    pub(crate) async fn output(&self, id: &ContainerId) -> Output {
        let lines = self.lines(id, LogOptions { follow: true, ..LogOptions::default() }).await;
        let mut output = Output::default();
        for line in lines {
            match line.source {
                LogSource::Stdout => output.stdout.push(line.text),
                LogSource::Stderr => output.stderr.push(line.text),
            }
        }
        output
    }

    pub(crate) async fn lines(&self, id: &ContainerId, options: LogOptions) -> Vec<LogLine> {
        let stream = self.runtime.logs(id, options).await.unwrap();
        stream.map(|line| line.unwrap()).collect().await
    }

    /// Returns when the container has written a line, which proves how far it is.
    pub(crate) async fn says(&self, id: &ContainerId, text: &str) {
        let mut stream =
            self.runtime.logs(id, LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
        while let Some(line) = stream.next().await {
            if line.unwrap().text == text {
                return;
            }
        }
        panic!("the container ended without a word of {text:?}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let (config, labels) = (self.config.clone(), self.labels());
        // A runtime of its own: the test's may be shutting down.
        let cleaned = thread::spawn(move || {
            let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            executor.block_on(async {
                let runtime = DockerRuntime::connect(config).await?;
                for left in runtime.list(&labels).await? {
                    runtime.remove(&left.id).await?;
                }
                runtime.release().await
            })
        });
        let failure = match cleaned.join() {
            Ok(Ok(())) => return,
            Ok(Err(e)) => e.chain(),
            Err(_) => "the clean-up panicked".to_owned(),
        };
        assert!(thread::panicking(), "left behind under the label {LABEL}={}: {failure}", self.name);
    }
}

/// The user of test containers: an arbitrary one where we may give directories away, else ourselves.
pub(crate) fn user() -> UserSpec {
    let own = tempfile::tempdir().unwrap().path().metadata().unwrap();
    if own.uid() == 0 {
        UserSpec { uid: 12_345, gid: 23_456 }
    } else {
        UserSpec { uid: own.uid(), gid: own.gid() }
    }
}

/// A directory that the containers' user owns, below a directory that everybody can pass.
pub(crate) fn workspace(name: &str) -> (TempDir, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join(name);
    std::fs::create_dir(&path).unwrap();
    let user = user();
    if path.metadata().unwrap().uid() != user.uid {
        chown(&path, Some(user.uid), Some(user.gid)).unwrap();
    }
    (dir, path)
}

pub(crate) fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount { source: MountSource::HostPath(source.to_owned()), target: target.into(), read_only }
}

pub(crate) fn grace(seconds: u64) -> StopOptions {
    StopOptions::new(Duration::from_secs(seconds))
}

/// A request that the port has no call for: to look behind it, or to plant what others would leave.
pub(crate) fn raw(method: &str, path: &str, body: &str) -> (u16, Value) {
    raw_at(&host(), method, path, body)
}

/// The same, to another engine than the usual one.
pub(crate) fn raw_at(host: &DockerHost, method: &str, path: &str, body: &str) -> (u16, Value) {
    let reply = http::send(host, method, path, http::JSON, body.as_bytes()).unwrap();
    (reply.status, reply.json())
}
