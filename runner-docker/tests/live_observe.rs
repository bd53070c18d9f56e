//! What can be seen of containers, and copied into and out of them, on a real engine. Needs one (`DOCKER_HOST`, else
//! `/var/run/docker.sock`) and the runner image; without them the tests fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod lab;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::future::join_all;
use lab::{Lab, bind, raw, user, workspace};
use runner_core::container::Network;
use runner_core::files::{ContainerFile, FileKind};
use runner_core::logs::LogOptions;
use runner_core::runtime_event::{ContainerEvent, ContainerEventKind, RuntimeEvent, RuntimeEventStream};
use runner_core::{ContainerId, ContainerRuntime, ContainerState, ErrorKind, Result};
use runner_docker::{DockerConfig, DockerRuntime, LogLimits};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn missing() -> ContainerId {
    ContainerId::new("f".repeat(64)).unwrap()
}

fn post(path: &str) {
    assert_eq!(raw("POST", path, "").0, 204, "{path}");
}

// ---- stats

#[tokio::test]
async fn a_sample_tells_what_a_container_uses_and_only_while_it_runs() {
    let lab = Lab::open().await;
    let mut spec =
        lab.spec("used", "dd if=/dev/zero of=/tmp/x bs=1M count=40 2>/dev/null; echo full; exec sleep 1000");
    spec.tmpfs[0].size_bytes = 64 << 20;
    let id = lab.runtime.create(&spec).await.unwrap();
    assert_eq!(lab.runtime.stats(&id).await.unwrap(), None, "created");
    lab.runtime.start(&id).await.unwrap();
    lab.says(&id, "full").await;
    let stats = lab.runtime.stats(&id).await.unwrap().unwrap();
    let memory = stats.memory.unwrap();
    // A memory-backed directory counts: it is part of the limit, and nothing frees it.
    assert!(memory.used >= 40 << 20 && memory.used <= memory.total, "{memory:?}");
    assert_eq!(memory.limit, Some(256 << 20));
    assert!(stats.pids.is_some_and(|n| (1..20).contains(&n)), "{stats:?}");
    assert!(stats.cpu.is_some_and(|cpu| !cpu.is_zero()) && stats.network.is_some(), "{stats:?}");

    post(&format!("/containers/{id}/pause"));
    let frozen = lab.runtime.stats(&id).await.unwrap().unwrap();
    let still = lab.runtime.stats(&id).await.unwrap().unwrap();
    assert_eq!(still.cpu, frozen.cpu, "it is frozen");
    assert!(still.memory.is_some_and(|memory| memory.used >= 40 << 20), "and keeps its memory: {still:?}");
    assert_eq!(still.cpu_millis_since(&frozen), Some(0));
    post(&format!("/containers/{id}/unpause"));

    lab.runtime.stop(&id, lab::grace(5)).await.unwrap();
    assert_eq!(lab.runtime.stats(&id).await.unwrap(), None, "ended");
    let mut alone = lab.spec("alone", "exec sleep 1000");
    alone.network = Network::None;
    let alone = lab.run(&alone).await;
    assert_eq!(lab.runtime.stats(&alone).await.unwrap().unwrap().network, None, "there is none");
    let error = lab.runtime.stats(&missing()).await.unwrap_err();
    assert_eq!((error.kind(), error.container()), (ErrorKind::NotFound, Some(&missing())));
}

#[tokio::test]
async fn a_busy_loop_uses_what_it_may() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("busy", "while :; do :; done");
    spec.resources.cpu_millis = 500;
    let (busy, idle) = (lab.run(&spec).await, lab.started("idle", "exec sleep 1000").await);
    let use_of = async |id: &ContainerId| {
        let first = lab.runtime.stats(id).await.unwrap().unwrap();
        let second = lab.runtime.stats(id).await.unwrap().unwrap();
        second.cpu_millis_since(&first).unwrap()
    };
    let (busy, idle) = (use_of(&busy).await, use_of(&idle).await);
    // Half a core is what it may; how much of it there was depends on the machine.
    assert!((50..700).contains(&busy), "{busy}");
    assert!(idle < 50 && idle < busy, "{idle} beside {busy}");
}

#[tokio::test]
async fn twenty_are_sampled_at_once_even_while_some_of_them_end() {
    let lab = Lab::open().await;
    let ids = join_all((0..20).map(|n| {
        let (lab, name) = (&lab, n.to_string());
        async move { lab.started(&name, "exec sleep 1000").await }
    }))
    .await;
    let samples = join_all(ids.iter().map(|id| lab.runtime.stats(id))).await;
    for (id, sample) in ids.iter().zip(&samples) {
        assert!(sample.as_ref().unwrap().is_some(), "{id}");
    }
    let (samples, _) = tokio::join!(
        join_all(ids.iter().map(|id| lab.runtime.stats(id))),
        join_all(ids.iter().take(10).map(|id| lab.runtime.remove(id)))
    );
    for (n, sample) in samples.into_iter().enumerate() {
        match sample {
            // Removed before it was asked for, or while it was sampled.
            Err(e) => assert!(n < 10 && e.kind() == ErrorKind::NotFound, "{n}: {e}"),
            Ok(sample) => assert!(n < 10 || sample.is_some(), "{n}"),
        }
    }
}

// ---- events

async fn next(stream: &mut RuntimeEventStream) -> RuntimeEvent {
    timeout(PATIENCE, stream.next()).await.expect("an event").expect("no end").unwrap()
}

/// Events up to and with the first of a kind.
async fn until(stream: &mut RuntimeEventStream, last: &ContainerEventKind) -> Vec<ContainerEvent> {
    let mut events = Vec::new();
    loop {
        if let RuntimeEvent::Container(event) = next(stream).await {
            let found = event.kind == *last;
            events.push(event);
            if found {
                return events;
            }
        }
    }
}

#[tokio::test]
async fn a_life_is_told_in_order_and_nothing_of_strangers() {
    use ContainerEventKind as Kind;
    let (lab, other) = (Lab::open().await, Lab::open().await);
    let before = lab.started("before", "exit 0").await;
    lab.runtime.wait(&before).await.unwrap();
    let mut stream = lab.runtime.events(&lab.labels()).await.unwrap();
    assert_eq!(next(&mut stream).await, RuntimeEvent::Connected);

    let stranger = other.started("stranger", "exit 3").await;
    other.runtime.wait(&stranger).await.unwrap();
    let mut spec = lab.spec("life", "exit 5");
    spec.labels.insert("extra".to_owned(), "a=b".to_owned());
    let id = lab.run(&spec).await;
    lab.runtime.wait(&id).await.unwrap();
    other.runtime.remove(&stranger).await.unwrap();
    lab.runtime.remove(&id).await.unwrap();

    let events = until(&mut stream, &Kind::Removed).await;
    let kinds: Vec<&Kind> = events.iter().map(|event| &event.kind).collect();
    assert_eq!(kinds, [&Kind::Created, &Kind::Started, &Kind::Died { code: Some(5) }, &Kind::Removed]);
    for event in &events {
        assert_eq!((&event.id, event.name.as_str()), (&id, spec.name.as_str()));
        assert_eq!(event.labels.get("extra").map(String::as_str), Some("a=b"));
        assert!(!event.labels.contains_key("image") && !event.labels.contains_key("exitCode"), "{event:?}");
    }
    assert!(events.is_sorted_by_key(|event| event.at));

    // All labels count.
    let mut narrower = lab.labels();
    narrower.insert("extra".to_owned(), "a".to_owned());
    let mut nothing = lab.runtime.events(&narrower).await.unwrap();
    assert_eq!(next(&mut nothing).await, RuntimeEvent::Connected);
    let id = lab.run(&spec).await;
    lab.runtime.remove(&id).await.unwrap();
    until(&mut stream, &Kind::Removed).await;
    assert!(timeout(Duration::from_millis(100), nothing.next()).await.is_err());
}

#[tokio::test]
async fn what_happens_on_the_way_is_told() {
    use ContainerEventKind as Kind;
    let lab = Lab::open().await;
    let mut stream = lab.runtime.events(&lab.labels()).await.unwrap();
    let id = lab.started("way", "trap 'exit 9' TERM; while :; do sleep 0.1; done").await;
    until(&mut stream, &Kind::Started).await;
    post(&format!("/containers/{id}/pause"));
    assert_eq!(until(&mut stream, &Kind::Paused).await.len(), 1);
    post(&format!("/containers/{id}/unpause"));
    assert_eq!(until(&mut stream, &Kind::Unpaused).await.len(), 1);
    lab.runtime.stop(&id, lab::grace(20)).await.unwrap();
    let kinds: Vec<Kind> =
        until(&mut stream, &Kind::Stopped).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::Signaled { signal: Some(15) }, Kind::Died { code: Some(9) }, Kind::Stopped]);

    lab.started("hungry", "exec tail /dev/zero").await;
    until(&mut stream, &Kind::OutOfMemory).await;
    until(&mut stream, &Kind::Died { code: Some(137) }).await;
}

/// Between the call and its return, and between two lives of the subscription.
#[tokio::test]
async fn nothing_is_lost_while_subscriptions_come_and_go() {
    use ContainerEventKind as Kind;
    let lab = Lab::open().await;
    // Silence of 20 ms renews the subscription, over and over.
    let mut config = lab.config.clone();
    config.budgets.stream_idle = Duration::from_millis(20);
    let restless = DockerRuntime::connect(config).await.unwrap();
    let mut stream = restless.events(&lab.labels()).await.unwrap();
    let ids = join_all((0..8).map(|n| {
        let (lab, name) = (&lab, n.to_string());
        async move {
            let id = lab.started(&name, "sleep 0.5; exit 4").await;
            lab.runtime.wait(&id).await.unwrap();
            lab.runtime.remove(&id).await.unwrap();
            id
        }
    }))
    .await;
    let mut lives: BTreeMap<ContainerId, Vec<Kind>> = BTreeMap::new();
    while lives.values().filter(|life| life.last() == Some(&Kind::Removed)).count() < ids.len() {
        match next(&mut stream).await {
            RuntimeEvent::Container(event) => lives.entry(event.id).or_default().push(event.kind),
            RuntimeEvent::Connected => {}
            other => panic!("{other:?}"),
        }
    }
    for id in ids {
        assert_eq!(lives[&id], [Kind::Created, Kind::Started, Kind::Died { code: Some(4) }, Kind::Removed]);
    }
}

// ---- files

fn file(path: &str, contents: &[u8]) -> ContainerFile {
    ContainerFile { path: path.into(), mode: 0o640, owner: user(), kind: FileKind::File(contents.to_vec()) }
}

fn directory(path: &str) -> ContainerFile {
    ContainerFile { path: path.into(), mode: 0o750, owner: user(), kind: FileKind::Directory }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[tokio::test]
async fn files_go_into_a_mounted_directory_and_come_out_as_they_were() {
    let lab = Lab::open().await;
    let (_dir, work) = workspace("work");
    let mut spec = lab.spec("files", "echo up; read line; exec sleep 1000");
    spec.command = Some(["sleep", "1000"].map(str::to_owned).into());
    spec.mounts = vec![bind(&work, "/workspace", false)];
    let id = lab.runtime.create(&spec).await.unwrap();
    let long = "n".repeat(150);
    let files = [
        directory("d"),
        file("d/a", b"contents"),
        file("d/b", &[0, 255, 10, 13]),
        file(&format!("d/e/{long}/é\n"), b""),
        file("d/s", b"secret"),
    ];
    let at = Path::new("/workspace");
    for state in ["created", "running", "paused", "ended"] {
        match state {
            "running" => lab.runtime.start(&id).await.unwrap(),
            "paused" => post(&format!("/containers/{id}/pause")),
            "ended" => {
                post(&format!("/containers/{id}/unpause"));
                lab.runtime.stop(&id, lab::grace(5)).await.unwrap();
            }
            _ => {}
        }
        lab.runtime.copy_in(&id, at, &files).await.expect(state);
        let mut found = lab.runtime.copy_out(&id, &at.join("d"), 1000).await.expect(state);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        // Those that had to be made belong to their first file's owner, and may be entered.
        let made = |path: &str| ContainerFile { mode: 0o755, ..directory(path) };
        let mut want = files.to_vec();
        want.extend([made("d/e"), made(&format!("d/e/{long}"))]);
        want.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(found, want, "{state}");
        let meta = std::fs::metadata(work.join("d/s")).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o7777),
            (user().uid, user().gid, 0o640),
            "{state}"
        );
        std::fs::remove_dir_all(work.join("d")).unwrap();
    }
}

#[tokio::test]
async fn what_cannot_keep_files_refuses_them() {
    let lab = Lab::open().await;
    let (dir, work) = workspace("work");
    let (_dir2, fixed) = workspace("fixed");
    let mut spec = lab.spec("refuse", "exec sleep 1000");
    spec.mounts = vec![bind(&work, "/workspace", false), bind(&fixed, "/fixed", true)];
    let id = lab.run(&spec).await;
    let put = async |at: &str, path: &str| lab.runtime.copy_in(&id, Path::new(at), &[file(path, b"x")]).await;
    // The root is read-only, /tmp is in memory.
    for at in ["/", "/etc", "/usr/bin", "/tmp", "/tmp/x", "/dev/shm", "/proc/1", "/fixed"] {
        assert_eq!(kind(put(at, "planted").await), ErrorKind::Unsupported, "{at}");
    }
    for at in ["/workspace/nowhere", "/nowhere", "/workspace/a/b/c"] {
        let error = put(at, "planted").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains(at), "{error}");
    }
    let error =
        lab.runtime.copy_in(&missing(), Path::new("/workspace"), &[file("x", b"")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("No such container"), "{error}");

    // Links that a program in the workspace may have planted. By itself the engine follows them, as root, and writes
    // into the container's read-only root.
    symlink("/usr/bin", work.join("bin")).unwrap();
    symlink("/tmp", work.join("memory")).unwrap();
    symlink("/fixed", work.join("fixed")).unwrap();
    symlink("/nowhere", work.join("nowhere")).unwrap();
    symlink("loop", work.join("loop")).unwrap();
    for (path, want) in [("bin/x", ErrorKind::InvalidInput), ("memory/x", ErrorKind::InvalidInput)] {
        assert_eq!(kind(put("/workspace", path).await), want, "{path}");
    }
    for at in ["/workspace/bin", "/workspace/memory", "/workspace/fixed"] {
        assert_eq!(kind(put(at, "planted").await), ErrorKind::Unsupported, "{at}");
    }
    for at in ["/workspace/nowhere", "/workspace/loop"] {
        assert!(put(at, "planted").await.is_err(), "{at}");
    }
    // A link in the place of the file itself is replaced.
    let target = dir.path().join("target");
    std::fs::write(&target, "before").unwrap();
    symlink("../target", work.join("file")).unwrap();
    put("/workspace", "file").await.unwrap();
    assert_eq!(std::fs::read_to_string(work.join("file")).unwrap(), "x");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "before");
    // What is something else is left alone.
    std::fs::create_dir_all(work.join("full/inside")).unwrap();
    for (path, why) in [("full", "a directory"), ("file/x", "a file")] {
        assert_eq!(kind(put("/workspace", path).await), ErrorKind::InvalidInput, "{path} is {why}");
    }
    assert!(work.join("full/inside").is_dir());
    let (_, changes) = raw("GET", &format!("/containers/{id}/changes"), "");
    assert!(
        !changes.to_string().contains("planted") && !changes.to_string().contains("/usr/bin"),
        "{changes}"
    );
}

#[tokio::test]
async fn what_is_there_is_copied_out_and_nothing_else() {
    let lab = Lab::open().await;
    let (_dir, work) = workspace("work");
    std::fs::create_dir(work.join("d")).unwrap();
    std::fs::write(work.join("d/one"), vec![b'1'; 3000]).unwrap();
    std::fs::hard_link(work.join("d/one"), work.join("d/two")).unwrap();
    std::fs::set_permissions(work.join("d/one"), std::fs::Permissions::from_mode(0o604)).unwrap();
    symlink("/etc/passwd", work.join("d/link")).unwrap();
    symlink("/etc", work.join("etc")).unwrap();
    symlink("loop", work.join("loop")).unwrap();
    let mut spec =
        lab.spec("out", "mkfifo /workspace/d/pipe; echo in memory > /tmp/x; echo up; exec sleep 1000");
    spec.mounts = vec![bind(&work, "/workspace", false)];
    let id = lab.run(&spec).await;
    std::fs::set_permissions(work.join("d"), std::fs::Permissions::from_mode(0o777)).unwrap();
    lab.says(&id, "up").await;
    let get = async |path: &str, max: u64| lab.runtime.copy_out(&id, Path::new(path), max).await;

    let found = get("/workspace/d", 6000).await.unwrap();
    let at = |path: &str| found.iter().find(|file| file.path == Path::new(path)).map(|file| &file.kind);
    let ones = FileKind::File(vec![b'1'; 3000]);
    assert_eq!((at("d/one"), at("d/two")), (Some(&ones), Some(&ones)), "two names of one file");
    assert_eq!(at("d/link"), Some(&FileKind::Link("/etc/passwd".into())));
    assert_eq!(kind(get("/workspace/d", 5999).await), ErrorKind::Capacity);
    let one = get("/workspace/d/one", 3000).await.unwrap();
    assert_eq!((one.len(), &one[0].path, one[0].mode), (1, &"one".into(), 0o604));
    // A link on the way is followed, inside the container; at the end it is what it is.
    let hosts = get("/workspace/etc/passwd", 100_000).await.unwrap();
    assert_eq!(hosts, get("/etc/passwd", 100_000).await.unwrap());
    assert_eq!(get("/workspace/d/link", 0).await.unwrap()[0].kind, FileKind::Link("/etc/passwd".into()));

    for path in ["/workspace/nothing", "/nothing/x", "/workspace/d/one/x"] {
        let error = get(path, 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains(path), "{error}");
    }
    assert!(get("/workspace/loop/x", 100).await.is_err());
    // By itself the engine says that there is nothing in /tmp.
    for path in ["/tmp/x", "/tmp", "/", "/proc/version"] {
        assert_eq!(kind(get(path, 1 << 30).await), ErrorKind::Unsupported, "{path}");
    }
    let error = lab.runtime.copy_out(&missing(), Path::new("/etc/passwd"), 100_000).await.unwrap_err();
    assert_eq!((error.kind(), error.container()), (ErrorKind::NotFound, Some(&missing())));
    assert!(error.message().contains("No such container"), "{error}");
    // A big one is not read to be refused, and the container is free at once.
    std::fs::File::create(work.join("big")).unwrap().set_len(8 << 30).unwrap();
    assert_eq!(kind(get("/workspace/big", 1 << 20).await), ErrorKind::Capacity);
    assert_eq!(lab.runtime.inspect(&id).await.unwrap().state, ContainerState::Running);
}

// ---- logs

async fn with_small_files(lab: &Lab, file_bytes: u64) -> DockerRuntime {
    let logs = LogLimits { file_bytes, ..LogLimits::default() };
    DockerRuntime::connect(DockerConfig { logs, ..lab.config.clone() }).await.unwrap()
}

/// Numbers of the lines, with what was told to be lost left out.
async fn numbers(runtime: &DockerRuntime, id: &ContainerId, options: LogOptions) -> (Vec<u32>, usize) {
    let mut stream = runtime.logs(id, options).await.unwrap();
    let (mut numbers, mut losses) = (Vec::new(), 0);
    while let Some(item) = stream.next().await {
        match item {
            Ok(line) => numbers.push(line.text.parse().unwrap()),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Capacity, "{e}");
                losses += 1;
            }
        }
    }
    (numbers, losses)
}

fn following() -> LogOptions {
    LogOptions { follow: true, ..LogOptions::default() }
}

#[tokio::test]
async fn a_log_that_is_rotated_while_it_is_followed_is_read_once() {
    let lab = Lab::open().await;
    let runtime = with_small_files(&lab, 4096).await;
    // A file holds about 57 lines.
    let spec = lab.spec("rotated", "n=0; while [ $n -lt 400 ]; do n=$((n+1)); echo $n; sleep 0.005; done");
    let id = runtime.create(&spec).await.unwrap();
    runtime.start(&id).await.unwrap();
    let (found, losses) = numbers(&runtime, &id, following()).await;
    assert_eq!((found, losses), ((1..=400).collect(), 0));
}

/// What was rotated away before it could be read is told, and where it stood.
#[tokio::test]
async fn a_flood_is_read_once_and_to_its_end_and_what_is_missing_is_told() {
    let lab = Lab::open().await;
    for (name, file_bytes, count) in [("small", 64 << 10, 100_000), ("large", 1 << 20, 200_000)] {
        let runtime = with_small_files(&lab, file_bytes).await;
        let spec = lab.spec(name, &format!("echo 0; sleep 0.5; seq 1 {count}"));
        let id = runtime.create(&spec).await.unwrap();
        runtime.start(&id).await.unwrap();
        let mut stream = runtime.logs(&id, following()).await.unwrap();
        let (mut last, mut told) = (None, false);
        while let Some(item) = stream.next().await {
            let Ok(line) = item.as_ref() else {
                let error = item.unwrap_err();
                assert_eq!((error.kind(), error.container()), (ErrorKind::Capacity, Some(&id)), "{error}");
                told = true;
                continue;
            };
            let n: u32 = line.text.parse().unwrap();
            let next = last.map_or(0, |last| last + 1);
            assert!(n >= next, "{name}: {n} after {last:?}");
            assert!(n == next || told, "{name}: nothing is said about what stood between {last:?} and {n}");
            (last, told) = (Some(n), false);
        }
        assert_eq!(last, Some(count), "{name}");
    }
}

#[tokio::test]
async fn a_log_is_read_from_a_moment_on() {
    let lab = Lab::open().await;
    let before = SystemTime::now();
    let id = lab.started("since", "for n in 1 2 3 4 5; do echo $n; sleep 0.05; done").await;
    lab.runtime.wait(&id).await.unwrap();
    let after = SystemTime::now();
    let lines = lab.lines(&id, LogOptions::default()).await;
    let times: Vec<SystemTime> = lines.iter().map(|line| line.at.unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|at| (before..=after).contains(at)), "{times:?}");
    for follow in [false, true] {
        let since = Some(times[2]);
        let read = async |options| numbers(&lab.runtime, &id, options).await.0;
        assert_eq!(read(LogOptions { follow, since, tail: None }).await, [3, 4, 5], "the moment included");
        assert_eq!(read(LogOptions { follow, since, tail: Some(2) }).await, [4, 5]);
        assert_eq!(read(LogOptions { follow, since, tail: Some(4) }).await, [3, 4, 5]);
        let later = Some(times[4] + Duration::from_nanos(1));
        assert!(read(LogOptions { follow, since: later, tail: None }).await.is_empty());
    }
}

/// A reader that is slower than the writer: what was rotated away meanwhile is told where a connection is renewed.
#[tokio::test]
async fn a_reader_that_falls_behind_is_told() {
    let lab = Lab::open().await;
    // The engine's word for a log that it cannot follow any more, or an end that comes too early, renews it.
    let runtime = with_small_files(&lab, 4096).await;
    let spec = lab.spec("behind", "seq 1 20; sleep 1; seq 21 200000");
    let id = runtime.create(&spec).await.unwrap();
    runtime.start(&id).await.unwrap();
    let mut stream = runtime.logs(&id, following()).await.unwrap();
    for n in 1..=20 {
        assert_eq!(stream.next().await.unwrap().unwrap().text, n.to_string());
    }
    // Nobody reads while nearly everything is written and rotated away.
    runtime.wait(&id).await.unwrap();
    let (mut last, mut losses) = (20, 0);
    while let Some(item) = stream.next().await {
        match item {
            Ok(line) => {
                let n: u32 = line.text.parse().unwrap();
                assert!(n > last, "{n} after {last}");
                last = n;
            }
            Err(e) => {
                assert_eq!((e.kind(), e.container()), (ErrorKind::Capacity, Some(&id)), "{e}");
                losses += 1;
            }
        }
    }
    assert_eq!(last, 200_000);
    assert!(losses >= 1);
}
