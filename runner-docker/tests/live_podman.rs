//! The port's promises on Podman, which speaks Docker's interface in its own way. `cargo xtask test --podman` starts one
//! and tells where (`CNAP_PODMAN_SOCKET`); the usual run names this file as not run.
//!
//! What is different (measured on 4.3.1, as root, with netavark and runc):
//!
//! | call | Docker 20.10 | Podman |
//! |---|---|---|
//! | network | `enable_icc=false` keeps containers apart | a warning, and the option is forgotten: see `src/network/apart.rs` |
//! | | the gateway is there with the network | only while a container is on it, so `host_address` is none |
//! | `DELETE /networks/{id}` | refused while in use | refused by name only, by id it works |
//! | create | a taken name is 409 | 500, "that name is already in use" |
//! | | a missing bind source is refused | accepted; the start fails |
//! | | `Mounts` take any path | a comma or a quote in a path breaks them (it becomes one text) |
//! | | a tmpfs is empty, with the mode asked for | with content, owner and mode of what it covers (`tmpcopyup`) |
//! | | a read-only root is read-only | but `/run` and `/var/tmp` are writable tmpfs without a limit |
//! | | the port is chosen at the start | at the creation; a start may find it taken |
//! | inspect | `HostConfig.Mounts`, `NetworkMode` is the network | only `Binds` as text; `NetworkMode` is "bridge" |
//! | | `PortBindings` has what was asked for | also, as null, what the image exposes |
//! | | a failed start leaves its error and code | "created", as if nothing had been |
//! | | `StartedAt` is before `FinishedAt` | a few milliseconds after, for what ends at once |
//! | | `OOMKilled` | stays false on control groups 1: 137, as if somebody had killed it |
//! | list | `HostConfig.NetworkMode` | no `HostConfig` |
//! | wait | headers at once | only with the end; none at all, ever, for what ended before (`next-exit`) |
//! | stop | a paused container is stopped | 500, and it stays paused |
//! | kill, pause, unpause | 409, in words of their own | 500, "container state improper" |
//! | update | as documented | no such call (404, "Not Found") |
//! | logs | moments in nanoseconds | in whole seconds |
//! | stats | as documented | no `memory_stats.stats`, so nothing to subtract; empty where it does not run |
//! | events | `destroy`, `oom` | `remove`, `cleanup`, `init`; no `oom` |
//! | archive | a read-only root is 403 | 500, "read-only file system"; a missing directory is made |
//! | | 404 names the path | 404, "no such file or directory" |
//! | `POST /images/create?fromSrc` | `tag` | overlooked; only `repo=name:tag` |
//! | limits | `Ulimits` are what is asked for | and a million processes where nothing is said of those |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod lab;

use std::sync::Arc;
use std::time::Duration;

use lab::{Lab, bind, raw_at, tiny_image, workspace};
use runner_core::container_runtime::Feature;
use runner_core::resources::ResourceUpdate;
use runner_core::{ContainerRuntime, ContainerSpec, ErrorKind};
use runner_docker::{DockerConfig, DockerHost, DockerRuntime};
use runner_testkit::contract::container_runtime::{MakeSpec, RuntimeFixture};

fn podman() -> DockerHost {
    #[expect(clippy::disallowed_methods, reason = "where Podman is, is for the environment to say")]
    let socket = std::env::var("CNAP_PODMAN_SOCKET");
    socket.expect("these tests need a Podman: cargo xtask test --podman").parse().unwrap()
}

async fn lab() -> Lab {
    let image = tiny_image::load(&podman());
    Lab::at(DockerConfig { host: podman(), ..DockerConfig::default() }, image).await
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let lab = lab().await;
    let info = lab.runtime.info().await.unwrap();
    assert!(info.engine.starts_with("Podman ") && info.api_version.starts_with("1."), "{info:?}");
    let update = lab.runtime.create(&lab.spec("update", "true")).await.unwrap();
    let more = ResourceUpdate { memory_bytes: Some(300 << 20), ..ResourceUpdate::default() };
    let updated = lab.runtime.update(&update, &more).await;
    if info.unsupported.contains(&Feature::Update) {
        assert_eq!(updated.unwrap_err().kind(), ErrorKind::Unsupported);
    } else {
        updated.unwrap();
    }
}

#[tokio::test]
async fn the_contract_of_the_port_holds() {
    let lab = lab().await;
    let (_directory, path) = workspace("work");
    let mut base = lab.spec("base", "true");
    base.mounts = vec![bind(&path, "/workspace", false)];
    let make = move |script: &'static str, ports: Vec<u16>| -> MakeSpec {
        let mut spec = base.clone();
        spec.command = Some(["sh", "-c", script].map(str::to_owned).into());
        spec.ports = ports;
        Arc::new(move |name| ContainerSpec { name: name.to_owned(), ..spec.clone() })
    };
    let fixture = RuntimeFixture {
        image: lab.image.clone(),
        missing_image: "localhost:1/cnap-test/none:1".parse().unwrap(),
        stays: make("exec sleep 1000", vec![4096]),
        exits: make("echo written; exit 7", Vec::new()),
        writes: "written".to_owned(),
        ignores_term: Some(make("trap '' TERM; echo written; while :; do sleep 0.2; done", Vec::new())),
        readable_file: Some("/etc/hostname".into()),
        writable_directory: Some("/workspace".into()),
        patience: Duration::from_mins(1),
    };
    let runtime = Arc::new(DockerRuntime::connect(lab.config.clone()).await.unwrap());
    runner_testkit::contract::container_runtime::all(runtime, fixture).await;
}

/// Without an alarm that could ring, the wait looks.
#[tokio::test]
async fn a_wait_for_what_has_ended_long_ago_answers() {
    let lab = lab().await;
    let id = lab.started("ended", "exit 7").await;
    // The engine's wait answers for a moment, until it has put the container in order.
    let in_order = async {
        while raw_at(&lab.config.host, "GET", &format!("/containers/{id}/json"), "").1["State"]["Status"]
            != "exited"
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), in_order).await.unwrap();
    // Less than the time that the engine is given for any answer, so it is not that which ends it.
    let waited = tokio::time::timeout(lab.config.budgets.read / 2, lab.runtime.wait(&id)).await;
    assert_eq!(waited.expect("an answer").unwrap().code, 7);
}

#[tokio::test]
async fn containers_do_not_reach_each_other() {
    let lab = lab().await;
    let sleeper = lab.started("sleeper", "exec sleep 1000").await;
    let (_, doc) = raw_at(&lab.config.host, "GET", &format!("/containers/{sleeper}/json"), "");
    let networks = doc["NetworkSettings"]["Networks"].as_object().unwrap();
    let address = networks.values().next().unwrap()["IPAddress"].as_str().unwrap();
    // Nobody listens there: what is reached refuses, what is not says nothing. Its own address shows that it can tell.
    let script = format!(
        r#"own=$(grep "$HOSTNAME" /etc/hosts | head -n 1 | tr '\t' ' ' | cut -d ' ' -f 1)
        for at in $own {address}; do
            timeout 2 bash -c "exec 3<>/dev/tcp/$at/4096" 2>/tmp/said || true
            grep -q refused /tmp/said && echo reached || echo silence
        done"#
    );
    let neighbour = lab.started("neighbour", &script).await;
    let output = lab.output(&neighbour).await;
    assert_eq!(output.stdout, ["reached", "silence"], "{output:?}");
}

/// One network for each container, and none is left over.
#[tokio::test]
async fn networks_go_with_their_containers() {
    let lab = lab().await;
    let ours = || {
        let (_, all) = raw_at(&lab.config.host, "GET", "/networks", "");
        let names = all.as_array().unwrap().iter().map(|n| n["Name"].as_str().unwrap().to_owned());
        names.filter(|name| name.starts_with(&lab.name)).collect::<Vec<_>>()
    };
    let id = lab.started("one", "exec sleep 1000").await;
    let other = lab.runtime.create(&lab.spec("two", "true")).await.unwrap();
    assert_eq!(ours().len(), 2, "{:?}", ours());
    lab.runtime.release().await.unwrap();
    assert_eq!(ours().len(), 2, "both are in use");
    let error = lab.runtime.create(&lab.spec("one", "true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(ours().len(), 2, "the first one keeps its network");
    lab.runtime.remove(&id).await.unwrap();
    // Another controller does not know yet how this engine does it.
    let newcomer = DockerRuntime::connect(lab.config.clone()).await.unwrap();
    newcomer.remove(&other).await.unwrap();
    assert_eq!(ours(), Vec::<String>::new());
}
