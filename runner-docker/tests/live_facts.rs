//! Public reports about engines, each as an experiment on a real one; `README.md` says which report is where.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod lab;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures::future::join_all;
use lab::{Lab, bind, grace, raw, workspace};
use runner_core::container::Network;
use runner_core::logs::LogOptions;
use runner_core::{ContainerId, ContainerRuntime, ContainerState, ErrorKind};
use runner_docker::DockerRuntime;

/// Report 12: an init reaps what others leave.
#[tokio::test]
async fn orphans_become_no_zombies() {
    let lab = Lab::open().await;
    let script = r#"
        for i in $(seq 50); do ( sleep 0.1 & ) ; done
        while [ "$(ls -d /proc/[0-9]* | wc -l)" -gt 8 ]; do sleep 0.05; done
        echo "zombies $(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ')"
    "#;
    let id = lab.started("orphans", script).await;
    assert_eq!(lab.output(&id).await.stdout, ["zombies 0"]);
}

/// Report 46: a fork bomb ends at its own limit.
#[tokio::test]
async fn processes_are_limited() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("forks", "i=0; while [ $i -lt 200 ]; do sleep 20 & i=$((i+1)); done; echo all");
    spec.resources.pids = 64;
    let id = lab.run(&spec).await;
    let output = lab.output(&id).await;
    assert!(output.stdout.is_empty(), "200 processes within a limit of 64: {output:?}");
    assert!(output.stderr.iter().any(|line| line.contains("fork")), "{output:?}");
}

/// Report 22: what a container writes does not fill the disk, and what is read is its end.
#[tokio::test]
async fn a_runaway_log_is_capped_on_the_engine() {
    let lab = Lab::open().await;
    let mut config = lab.config.clone();
    config.logs.file_bytes = 100_000;
    config.logs.files = 2;
    let runtime = DockerRuntime::connect(config).await.unwrap();
    let id = runtime.create(&lab.spec("runaway", "seq 1 200000; echo end")).await.unwrap();
    runtime.start(&id).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap().code, 0);
    let lines = lab.lines(&id, LogOptions { follow: false, ..LogOptions::default() }).await;
    let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
    assert!((1000..200_000).contains(&bytes), "two files of 100 kB hold {bytes} bytes of lines");
    assert_eq!(lines.last().unwrap().text, "end");
    let numbers: Vec<u32> = lines.iter().filter_map(|line| line.text.parse().ok()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no hole in what is left");
}

/// Report 4: a port belongs to one start.
#[tokio::test]
async fn a_port_is_told_anew_after_every_start() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("ports", "sleep 100");
    spec.ports = vec![4096];
    let id = lab.run(&spec).await;
    let first = lab.runtime.inspect(&id).await.unwrap();
    assert_eq!(first.ports.len(), 1);
    lab.runtime.stop(&id, grace(10)).await.unwrap();
    assert!(lab.runtime.inspect(&id).await.unwrap().ports.is_empty(), "nothing is published when it is down");
    // Somebody takes the port that it had.
    let taken = std::net::TcpListener::bind(first.ports[0].address);
    lab.runtime.start(&id).await.unwrap();
    let second = lab.runtime.inspect(&id).await.unwrap();
    assert_eq!(second.ports.len(), 1);
    if taken.is_ok() {
        assert_ne!(first.ports, second.ports);
    }
    assert!(first.started_at < second.started_at, "by which a new start is known");
}

/// Report 6: a connection proves nothing; the engine's proxy takes it before anybody listens inside.
#[tokio::test]
async fn an_open_port_is_not_a_server() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("deaf", "sleep 100");
    spec.ports = vec![4096];
    let id = lab.run(&spec).await;
    let address = lab.runtime.inspect(&id).await.unwrap().ports[0].address;
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Ok::<_, std::io::Error>(reply)
    });
    // Whatever happens here, the readiness of a runner asks for more: an answer of the server, and a session.
    let answer = answer.await.unwrap();
    assert!(answer.is_err() || answer.is_ok_and(|bytes| bytes.is_empty()));
}

/// Report 48: nothing comes back by itself.
#[tokio::test]
async fn a_crash_is_left_to_the_controller() {
    let lab = Lab::open().await;
    let id = lab.started("crash", "exit 1").await;
    lab.runtime.wait(&id).await.unwrap();
    let (_, doc) = raw("GET", &format!("/containers/{id}/json"), "");
    assert_eq!(doc["RestartCount"], 0);
    assert_eq!(doc["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert!(matches!(lab.runtime.inspect(&id).await.unwrap().state, ContainerState::Exited(_)));
}

/// Report 7: a name that is taken, whoever has it, and the way back after a lost answer.
#[tokio::test]
async fn a_taken_name_is_told_with_its_holder_and_nothing_is_touched() {
    let lab = Lab::open().await;
    let name = format!("{}-taken", lab.name);
    let labels = format!(r#"{{"{}":"{}"}}"#, lab::LABEL, lab.name);
    let body = format!(r#"{{"Image":"{}","Labels":{labels}}}"#, lab::image());
    let (status, doc) = raw("POST", &format!("/containers/create?name={name}"), &body);
    assert_eq!(status, 201, "{doc}");
    let error = lab.runtime.create(&lab.spec("taken", "true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(error.container().map(ContainerId::as_str), doc["Id"].as_str());
    let holder = lab.runtime.inspect(error.container().unwrap()).await.unwrap();
    assert_eq!((holder.name, holder.state), (name, ContainerState::Created));
}

/// Report 51: an answer that never came. The caller goes away in the middle, as often as it takes to hit every
/// moment; the engine makes the container all the same, and by its label it is found.
#[tokio::test]
async fn what_a_dropped_creation_made_is_found_by_its_label() {
    let lab = Lab::open().await;
    let specs: Vec<_> = (0..20).map(|n| lab.spec(&format!("dropped-{n}"), "true")).collect();
    let calls = specs
        .iter()
        .zip(0_u64..)
        .map(|(spec, n)| tokio::time::timeout(Duration::from_millis(n * 3), lab.runtime.create(spec)));
    let ended = join_all(calls).await.into_iter().flatten().count();
    // What the engine has begun it finishes; then everything there is is ours and can be removed.
    let mut quiet = 0;
    while quiet < 5 {
        let found = lab.runtime.list(&lab.labels()).await.unwrap();
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        for info in found {
            assert!(specs.iter().any(|spec| spec.name == info.name), "{info:?}");
            lab.runtime.remove(&info.id).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ended < 20, "some calls were cut off");
}

/// Reports 36 and 37: a source that is missing is an error and nothing is made; one with odd characters is a path.
#[tokio::test]
async fn a_missing_source_stays_missing() {
    let lab = Lab::open().await;
    let (_dir, path) = workspace("a:b,c d\"é");
    let mut spec = lab.spec("source", "touch /workspace/made");
    spec.mounts = vec![bind(&path, "/workspace", false)];
    let id = lab.run(&spec).await;
    assert_eq!(lab.runtime.wait(&id).await.unwrap().code, 0);
    assert!(path.join("made").exists());
    let missing = path.join("missing");
    let mut spec = lab.spec("missing", "true");
    spec.mounts = vec![bind(&missing, "/workspace", false)];
    assert_eq!(lab.runtime.create(&spec).await.unwrap_err().kind(), ErrorKind::Workspace);
    assert!(!missing.exists());
}

/// Report 42: one network for all, however many come and go.
#[tokio::test]
async fn containers_share_one_network() {
    let lab = Lab::open().await;
    for n in 0..5 {
        let mut spec = lab.spec(&format!("net-{n}"), "true");
        spec.network = Network::Isolated;
        lab.run(&spec).await;
    }
    let filter = format!("/networks?filters=%7B%22name%22%3A%5B%22{}%22%5D%7D", lab.name);
    let (_, networks) = raw("GET", &filter, "");
    assert_eq!(networks.as_array().map(Vec::len), Some(1), "{networks}");
}
