//! The adapter against a real engine. Needs one (`DOCKER_HOST`, else `/var/run/docker.sock`) and the runner image
//! (`CNAP_RUNNER_IMAGE`, else `cnap-runner:latest`); without them the tests fail.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests say what they expect by unwrapping, as tests do"
)]

mod lab;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use lab::{Lab, bind, grace, image, raw, user, workspace};
use runner_core::container::{Labels, Network};
use runner_core::image::{ImageRequest, PullPolicy};
use runner_core::logs::LogOptions;
use runner_core::{
    ContainerId, ContainerInfo, ContainerRuntime, ContainerSpec, ContainerState, ErrorKind, ImageRef, Retry,
    Sink,
};
use runner_docker::DockerRuntime;
use runner_testkit::contract::container_runtime::{MakeSpec, RuntimeFixture};
use serde_json::json;
use tokio::io::AsyncWriteExt;

/// A web server of a few lines: the image has perl for git's sake, and starting a whole OpenCode takes seconds.
const SERVER: &str = r#"exec perl -MIO::Socket::INET -e '
    my $s = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => 4096, Listen => 9, ReuseAddr => 1) or die $!;
    $| = 1; print "listening\n";
    while (my $c = $s->accept) { sysread $c, my $q, 4096; print $c "HTTP/1.0 200 OK\r\n\r\nhello"; close $c }'"#;

fn missing() -> ContainerId {
    ContainerId::new("f".repeat(64)).unwrap()
}

fn exit_code(state: &ContainerState) -> Option<i64> {
    match state {
        ContainerState::Exited(exit) => Some(exit.code),
        _ => None,
    }
}

// ---- the engine and its images

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let lab = Lab::open().await;
    let info = lab.runtime.info().await.unwrap();
    assert!(info.engine.contains(|c: char| c.is_ascii_digit()), "{info:?}");
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(!info.architecture.is_empty());
    assert!(info.host_address.is_some_and(|a| !a.is_loopback()), "{info:?}");
}

#[tokio::test]
async fn an_image_that_is_there_is_not_fetched_and_one_that_is_nowhere_is_an_error() {
    let lab = Lab::open().await;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let sink = Sink::new(move |step| seen.lock().unwrap().push(step));
    let found =
        lab.runtime.ensure_image(&ImageRequest::new(image(), PullPolicy::Missing), sink).await.unwrap();
    assert!(found.id.starts_with("sha256:") && found.size > 0 && !found.architecture.is_empty(), "{found:?}");
    assert!(steps.lock().unwrap().is_empty(), "a start must not depend on a registry");

    let nowhere: ImageRef = "localhost:1/cnap-test/none:1".parse().unwrap();
    for (policy, retry) in [(PullPolicy::Never, Retry::Permanent), (PullPolicy::Missing, Retry::Temporary)] {
        let error = lab
            .runtime
            .ensure_image(&ImageRequest::new(nowhere.clone(), policy), Sink::none())
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::ImageUnavailable, retry), "{error}");
        assert!(error.message().contains(nowhere.as_str()) && error.hint().is_some(), "{error}");
    }
    let mut spec = lab.spec("x", "true");
    spec.image = nowhere;
    assert_eq!(lab.runtime.create(&spec).await.unwrap_err().kind(), ErrorKind::ImageUnavailable);
    assert!(lab.runtime.list(&lab.labels()).await.unwrap().is_empty(), "nothing is left behind");
}

// ---- safety

#[tokio::test]
async fn the_profile_holds_inside() {
    let lab = Lab::open().await;
    let (_dir, path) = workspace("work");
    let (_dir2, fixed) = workspace("fixed");
    let mut spec = lab.spec(
        "profile",
        r#"
        grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\t '
        echo "id $(id -u):$(id -g) groups $(id -G)"
        touch /root-is-writable 2>/dev/null || echo 'root read-only'
        touch /etc/x /usr/x /opt/x 2>/dev/null || echo 'system read-only'
        touch /fixed/x 2>/dev/null || echo 'fixed read-only'
        touch /workspace/made && echo 'workspace writable'
        printf '#!/bin/sh\necho scratch executable\n' > /tmp/run && chmod +x /tmp/run && /tmp/run
        grep ' /tmp ' /proc/mounts
        echo "nofile $(ulimit -n) hard $(ulimit -Hn) core $(ulimit -Hc)"
        echo "pids $(cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null)"
        echo "memory $(cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null)"
        echo "first process $(cat /proc/1/comm)"
        ls /var/run/docker.sock /run/docker.sock /dev/sda /dev/vda 2>/dev/null
        dd if=/dev/zero of=/tmp/big bs=1M count=17 2>/dev/null || echo 'scratch is limited'
        "#,
    );
    spec.mounts = vec![bind(&path, "/workspace", false), bind(&fixed, "/fixed", true)];
    spec.resources.pids = 99;
    spec.resources.nofile = 2048;
    spec.ports = vec![4096];
    let id = lab.run(&spec).await;
    let output = lab.output(&id).await;
    let said = |text: &str| output.stdout.iter().any(|line| line == text);
    let nothing = "0000000000000000";
    let user = user();
    for text in [
        &format!("CapInh:{nothing}"),
        &format!("CapPrm:{nothing}"),
        &format!("CapEff:{nothing}"),
        &format!("CapBnd:{nothing}"),
        &format!("CapAmb:{nothing}"),
        "NoNewPrivs:1",
        "Seccomp:2",
        &format!("id {}:{} groups {}", user.uid, user.gid, user.gid),
        "root read-only",
        "system read-only",
        "fixed read-only",
        "workspace writable",
        "scratch executable",
        "nofile 2048 hard 2048 core 0",
        "pids 99",
        &format!("memory {}", 256 << 20),
        "scratch is limited",
        "first process docker-init",
    ] {
        assert!(said(text), "{text:?} is missing in {output:#?}");
    }
    let scratch = output.stdout.iter().find(|line| line.contains(" /tmp ")).unwrap();
    assert!(
        scratch.contains("nosuid") && scratch.contains("nodev") && !scratch.contains("noexec"),
        "{scratch}"
    );
    assert!(
        !output.stdout.iter().any(|line| line.contains("docker.sock") || line.starts_with("/dev/")),
        "{output:?}"
    );
    let made = path.join("made").metadata().unwrap();
    assert_eq!((made.uid(), made.gid()), (user.uid, user.gid), "files belong to the workspace's owner");

    // And as the engine has it.
    let (_, doc) = raw("GET", &format!("/containers/{id}/json"), "");
    let host = &doc["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["Binds"], json!(null));
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["AutoRemove"], false);
    assert_eq!(host["MemorySwap"], host["Memory"]);
    assert_eq!(host["NanoCpus"], 1_000_000_000);
    assert_eq!(host["LogConfig"]["Type"], "json-file");
    assert_eq!(host["PidMode"], "");
    assert_eq!(host["NetworkMode"], lab.name.as_str());
    assert_eq!(doc["Config"]["Healthcheck"]["Test"], json!(["NONE"]));
    assert_eq!(doc["Config"]["Tty"], false);
}

#[tokio::test]
async fn forbidden_mounts_leave_nothing_behind() {
    let lab = Lab::open().await;
    let (dir, path) = workspace("work");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/var/run", &link).unwrap();
    let missing = dir.path().join("missing");
    for source in ["/", "/etc", "/proc", "/var/run/docker.sock", "/var/lib/docker"]
        .map(Into::into)
        .into_iter()
        .chain([link, missing.clone(), path.join("../../..")])
    {
        let mut spec = lab.spec("x", "true");
        spec.mounts = vec![bind(&source, "/workspace", false)];
        let error = lab.runtime.create(&spec).await.expect_err(&source.display().to_string());
        assert_eq!(error.retry(), Retry::Permanent, "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
    assert!(!missing.exists());
    assert!(lab.runtime.list(&lab.labels()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_workspace_with_an_awkward_name_is_mounted() {
    let lab = Lab::open().await;
    let (_dir, path) = workspace("a:b,c d\"é");
    let mut spec = lab.spec("odd", "echo content > /workspace/file");
    spec.mounts = vec![bind(&path, "/workspace", false)];
    let id = lab.run(&spec).await;
    assert_eq!(lab.runtime.wait(&id).await.unwrap().code, 0);
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "content\n");
}

// ---- the network

#[tokio::test]
async fn ports_are_on_the_loopback_address_and_containers_do_not_reach_each_other() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("server", SERVER);
    spec.ports = vec![4096];
    let server = lab.run(&spec).await;
    lab.says(&server, "listening").await;

    let info = lab.runtime.inspect(&server).await.unwrap();
    assert_eq!(info.ports.len(), 1, "{info:?}");
    assert!(info.ports[0].address.ip().is_loopback() && info.ports[0].container == 4096);
    let mut client = TcpStream::connect(info.ports[0].address).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert!(reply.ends_with("hello"), "{reply}");

    let (_, doc) = raw("GET", &format!("/containers/{server}/json"), "");
    let published = doc["NetworkSettings"]["Ports"].as_object().unwrap();
    let bindings: Vec<_> = published.values().filter_map(|b| b.as_array()).flatten().collect();
    assert!(bindings.len() == 1 && bindings[0]["HostIp"] == "127.0.0.1", "{published:?}");

    // A neighbour: not by address, not through the host's loopback; but itself, it reaches.
    let address = doc["NetworkSettings"]["Networks"][&lab.name]["IPAddress"].as_str().unwrap();
    let gateway = lab.runtime.info().await.unwrap().host_address.unwrap();
    let outside = info.ports[0].address.port();
    let script = format!(
        "for url in {address}:4096 {gateway}:{outside} 127.0.0.1:{outside}; do
             curl --silent --max-time 2 http://$url/ >/dev/null && echo reached $url; done; echo done"
    );
    let neighbour = lab.started("neighbour", &script).await;
    let output = lab.output(&neighbour).await;
    assert_eq!(output.stdout, ["done"], "{output:?}");
    assert_eq!(lab.runtime.wait(&neighbour).await.unwrap().code, 0);
}

#[tokio::test]
async fn the_host_is_reached_at_the_address_that_info_tells() {
    let lab = Lab::open().await;
    let address = lab.runtime.info().await.unwrap().host_address.unwrap();
    let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom the host\n").await.unwrap();
    });
    let id = lab
        .started("client", &format!("curl --silent --http0.9 --max-time 10 http://{address}:{port}/"))
        .await;
    let output = lab.output(&id).await;
    assert_eq!(output.stdout, ["from the host"], "{output:?}");
    serve.await.unwrap();
}

#[tokio::test]
async fn no_network_means_none() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("alone", "cat /proc/net/dev | grep -c eth; exit 0");
    spec.network = Network::None;
    let id = lab.run(&spec).await;
    assert_eq!(lab.output(&id).await.stdout, ["0"]);
    let (_, networks) = raw("GET", "/networks", "");
    assert!(networks.as_array().unwrap().iter().all(|n| n["Name"] != lab.name.as_str()), "none was needed");
}

fn networks(name: &str) -> Vec<String> {
    let (_, all) = raw("GET", "/networks", "");
    let all = all.as_array().unwrap().iter().filter(|n| n["Name"] == name);
    all.map(|n| n["Id"].as_str().unwrap().to_owned()).collect()
}

fn plant_network(name: &str, labels: &serde_json::Value) -> String {
    let body = json!({"Name": name, "Driver": "bridge", "Labels": labels,
        "Options": {"com.docker.network.bridge.enable_icc": "false"}});
    let (status, made) = raw("POST", "/networks/create", &body.to_string());
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn controllers_that_race_for_the_network_end_up_with_one() {
    let lab = Lab::open().await;
    let controllers =
        join_all((0..6).map(|_| async { DockerRuntime::connect(lab.config.clone()).await.unwrap() })).await;
    for result in join_all(controllers.iter().map(ContainerRuntime::info)).await {
        result.unwrap();
    }
    // Whatever the race left is settled when a container needs it.
    let suffixes = ["a", "b", "c", "d"];
    let ids = join_all(suffixes.map(|suffix| lab.started(suffix, "exit 0"))).await;
    for id in &ids {
        assert_eq!(lab.runtime.wait(id).await.unwrap().code, 0);
    }
    assert_eq!(networks(&lab.name).len(), 1);
}

#[tokio::test]
async fn a_network_that_is_gone_or_doubled_is_mended_by_the_next_start() {
    let lab = Lab::open().await;
    let id = lab.runtime.create(&lab.spec("gone", "exit 3")).await.unwrap();
    for network in networks(&lab.name) {
        assert_eq!(raw("DELETE", &format!("/networks/{network}"), "").0, 204);
    }
    lab.runtime.start(&id).await.unwrap();
    assert_eq!(lab.runtime.wait(&id).await.unwrap().code, 3);

    let ours = json!({"cnap.runner.network": "isolated"});
    plant_network(&lab.name, &ours);
    plant_network(&lab.name, &ours);
    assert_eq!(networks(&lab.name).len(), 3, "the engine allows it, and then starts nothing on any of them");
    let id = lab.started("doubled", "exit 4").await;
    assert_eq!(lab.runtime.wait(&id).await.unwrap().code, 4);
    assert_eq!(networks(&lab.name).len(), 1);
}

#[tokio::test]
async fn somebody_elses_network_is_left_alone() {
    let lab = Lab::open().await;
    let theirs = plant_network(&lab.name, &json!({}));
    let error = lab.runtime.create(&lab.spec("x", "true")).await.unwrap_err();
    let info = lab.runtime.info().await.unwrap_err();
    lab.runtime.release().await.unwrap();
    let still = networks(&lab.name);
    assert_eq!(raw("DELETE", &format!("/networks/{theirs}"), "").0, 204);
    assert_eq!((error.kind(), info.kind()), (ErrorKind::AlreadyExists, ErrorKind::AlreadyExists), "{error}");
    assert_eq!(still, [theirs]);
}

#[tokio::test]
async fn the_network_is_given_back_when_nobody_needs_it() {
    let lab = Lab::open().await;
    let id = lab.runtime.create(&lab.spec("last", "exit 0")).await.unwrap();
    lab.runtime.release().await.unwrap();
    assert_eq!(networks(&lab.name).len(), 1, "a created container will need it");
    lab.runtime.start(&id).await.unwrap();
    lab.runtime.wait(&id).await.unwrap();
    lab.runtime.remove(&id).await.unwrap();
    lab.runtime.release().await.unwrap();
    lab.runtime.release().await.unwrap();
    assert!(networks(&lab.name).is_empty());
    let id = lab.started("again", "exit 0").await;
    assert_eq!(lab.runtime.wait(&id).await.unwrap().code, 0, "made again when needed");
}

// ---- life and death

#[tokio::test]
async fn a_wait_tells_the_end_whenever_it_begins() {
    let lab = Lab::open().await;
    // Before the start, whatever comes first.
    let created = lab.runtime.create(&lab.spec("created", "exit 7")).await.unwrap();
    let (waited, started) = tokio::join!(lab.runtime.wait(&created), async {
        assert_eq!(lab.runtime.inspect(&created).await.unwrap().state, ContainerState::Created);
        lab.runtime.start(&created).await
    });
    started.unwrap();
    assert_eq!(waited.unwrap().code, 7);
    // While it runs.
    let running = lab.started("running", "echo up; read line; exit 1").await;
    let running2 = lab.started("running2", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done").await;
    assert_eq!(lab.runtime.wait(&running).await.unwrap().code, 1, "nothing to read");
    lab.says(&running2, "up").await;
    let (waited, stopped) = tokio::join!(lab.runtime.wait(&running2), lab.runtime.stop(&running2, grace(10)));
    stopped.unwrap();
    assert_eq!(waited.unwrap().code, 5);
    // After its end.
    let exit = lab.runtime.wait(&created).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed, exit.error), (7, false, None));
    let zero = lab.started("zero", "exit 0").await;
    assert_eq!(lab.runtime.wait(&zero).await.unwrap().code, 0);
}

#[tokio::test]
async fn short_containers_never_lose_their_code() {
    let lab = Lab::open().await;
    let codes = join_all((0..20).map(|n| {
        let lab = &lab;
        async move {
            let id = lab.runtime.create(&lab.spec(&n.to_string(), &format!("exit {n}"))).await.unwrap();
            let (waited, started) = tokio::join!(lab.runtime.wait(&id), lab.runtime.start(&id));
            started.unwrap();
            waited.unwrap().code
        }
    }))
    .await;
    assert_eq!(codes, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn forty_start_at_once_on_forty_ports() {
    let lab = Lab::open().await;
    let ports = join_all((0..40).map(|n| {
        let lab = &lab;
        async move {
            let mut spec = lab.spec(&n.to_string(), "exec sleep 1000");
            spec.ports = vec![4096];
            let id = lab.run(&spec).await;
            lab.runtime.inspect(&id).await.unwrap().ports[0].address
        }
    }))
    .await;
    assert_eq!(ports.into_iter().collect::<BTreeSet<_>>().len(), 40);
}

#[tokio::test]
async fn memory_is_a_hard_limit_and_the_flag_tells() {
    let lab = Lab::open().await;
    let own = lab.started("own", "exec tail /dev/zero").await;
    let child = lab.started("child", "tail /dev/zero; exit 0").await;
    let code = lab.started("code", "exit 137").await;
    let own = lab.runtime.wait(&own).await.unwrap();
    assert_eq!((own.code, own.oom_killed), (137, true));
    let child = lab.runtime.wait(&child).await.unwrap();
    assert_eq!((child.code, child.oom_killed), (0, true), "a child's death is told as well");
    let code = lab.runtime.wait(&code).await.unwrap();
    assert_eq!((code.code, code.oom_killed), (137, false), "137 alone is not a lack of memory");
}

#[tokio::test]
async fn a_stop_is_gentle_first() {
    let lab = Lab::open().await;
    let gentle = lab.started("gentle", "exec sleep 1000").await;
    let deaf = lab.started("deaf", "trap '' TERM; echo deaf; while :; do sleep 0.2; done").await;
    lab.says(&deaf, "deaf").await;
    let (a, b) = tokio::join!(lab.runtime.stop(&gentle, grace(30)), lab.runtime.stop(&deaf, grace(1)));
    a.unwrap();
    b.unwrap();
    let state = |info: ContainerInfo| exit_code(&info.state);
    assert_eq!(state(lab.runtime.inspect(&gentle).await.unwrap()), Some(143));
    let killed = lab.runtime.inspect(&deaf).await.unwrap();
    assert!(killed.ports.is_empty());
    assert_eq!(state(killed), Some(137));
    // Nothing left to stop.
    lab.runtime.stop(&gentle, grace(1)).await.unwrap();
    lab.runtime.stop(&missing(), grace(1)).await.unwrap();
    let created = lab.runtime.create(&lab.spec("created", "true")).await.unwrap();
    lab.runtime.stop(&created, grace(1)).await.unwrap();
    assert_eq!(lab.runtime.inspect(&created).await.unwrap().state, ContainerState::Created);
}

#[tokio::test]
async fn removals_may_come_from_everywhere_at_once() {
    let lab = Lab::open().await;
    let id = lab.started("victim", "exec sleep 1000").await;
    let waiting = lab.runtime.wait(&id);
    let removing = join_all((0..4).map(|_| lab.runtime.remove(&id)));
    let (waited, removed) = tokio::join!(waiting, removing);
    assert!(removed.iter().all(Result::is_ok), "{removed:?}");
    match waited {
        Ok(exit) => assert_eq!(exit.code, 137),
        Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "{e}"),
    }
    lab.runtime.remove(&id).await.unwrap();
    let error = lab.runtime.inspect(&id).await.unwrap_err();
    assert_eq!((error.kind(), error.container()), (ErrorKind::NotFound, Some(&id)));
}

#[tokio::test]
async fn anonymous_volumes_go_with_their_container() {
    let lab = Lab::open().await;
    let body = json!({"Image": image().as_str(), "Volumes": {"/data": {}}, "Labels": lab.labels()});
    let (status, made) = raw("POST", &format!("/containers/create?name={}-vol", lab.name), &body.to_string());
    assert_eq!(status, 201, "{made}");
    let id = ContainerId::new(made["Id"].as_str().unwrap()).unwrap();
    let (_, doc) = raw("GET", &format!("/containers/{id}/json"), "");
    let volume = doc["Mounts"][0]["Name"].as_str().unwrap().to_owned();
    assert_eq!(raw("GET", &format!("/volumes/{volume}"), "").0, 200);
    lab.runtime.remove(&id).await.unwrap();
    assert_eq!(raw("GET", &format!("/volumes/{volume}"), "").0, 404);
}

#[tokio::test]
async fn a_name_belongs_to_the_first() {
    let lab = Lab::open().await;
    let first = lab.started("name", "exec sleep 1000").await;
    let error = lab.runtime.create(&lab.spec("name", "true")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Permanent), "{error}");
    assert_eq!(lab.runtime.inspect(&first).await.unwrap().state, ContainerState::Running);
    lab.runtime.start(&first).await.expect("one that runs is left as it is");
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why_and_is_an_end() {
    let lab = Lab::open().await;
    for (suffix, entry, code) in [("a", "/nope", 127), ("b", "/etc/passwd", 126)] {
        // The port leaves the entry point to the image, so a broken one has to be planted.
        let body = json!({"Image": image().as_str(), "Entrypoint": [entry], "Labels": lab.labels()});
        let (_, made) =
            raw("POST", &format!("/containers/create?name={}-{suffix}", lab.name), &body.to_string());
        let id = ContainerId::new(made["Id"].as_str().unwrap()).unwrap();
        let error = lab.runtime.start(&id).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Engine, Retry::Permanent), "{error}");
        assert!(error.message().contains(entry) && error.hint().is_some(), "{error}");
        let exit = error.start_failure().and_then(|f| f.exit.clone()).unwrap();
        assert_eq!(exit.code, code, "{error}");
        // It will not go on, so nobody waits for it for ever.
        let exit = lab.runtime.wait(&id).await.unwrap();
        assert_eq!(exit.code, code);
        assert!(exit.error.is_some_and(|e| e.contains(entry)));
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let lab = Lab::open().await;
    let id = missing();
    for error in [
        lab.runtime.inspect(&id).await.unwrap_err(),
        lab.runtime.start(&id).await.unwrap_err(),
        lab.runtime.wait(&id).await.unwrap_err(),
        lab.runtime.logs(&id, LogOptions::default()).await.err().unwrap(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Permanent), "{error}");
        assert_eq!(error.container(), Some(&id));
    }
}

#[tokio::test]
async fn a_list_has_ours_and_nothing_else() {
    let (lab, other) = (Lab::open().await, Lab::open().await);
    let created = lab.runtime.create(&lab.spec("created", "true")).await.unwrap();
    let mut spec = lab.spec("running", SERVER);
    spec.ports = vec![4096];
    spec.labels.insert("extra".into(), "a=b".into());
    let running = lab.run(&spec).await;
    let ended = lab.started("ended", "exit 9").await;
    lab.runtime.wait(&ended).await.unwrap();
    other.runtime.create(&other.spec("foreign", "true")).await.unwrap();

    let found = lab.runtime.list(&lab.labels()).await.unwrap();
    let ids: BTreeSet<_> = found.iter().map(|c| c.id.clone()).collect();
    assert_eq!(ids, BTreeSet::from([created.clone(), running.clone(), ended.clone()]));
    for info in &found {
        // What the list says is what inspect says, but for times: of what runs it tells whole seconds and no start.
        let whole = lab.runtime.inspect(&info.id).await.unwrap();
        assert!(info.created_at.is_some() && info.created_at <= whole.created_at, "{info:?} {whole:?}");
        let times = (info.created_at, info.started_at);
        assert_eq!(*info, ContainerInfo { created_at: times.0, started_at: times.1, ..whole });
    }
    let state = |id: &ContainerId| &found.iter().find(|c| c.id == *id).unwrap().state;
    assert_eq!(*state(&created), ContainerState::Created);
    assert_eq!(*state(&running), ContainerState::Running);
    assert_eq!(exit_code(state(&ended)), Some(9));

    let mut narrower = lab.labels();
    narrower.insert("extra".into(), "a=b".into());
    assert_eq!(lab.runtime.list(&narrower).await.unwrap().len(), 1, "all labels count");
    narrower.insert("extra".into(), "a".into());
    assert!(lab.runtime.list(&narrower).await.unwrap().is_empty());
    let nobody = Labels::from([("cnap.runner.test".to_owned(), "nobody".to_owned())]);
    assert!(lab.runtime.list(&nobody).await.unwrap().is_empty());
}

// ---- logs

#[tokio::test]
async fn both_streams_are_read_whole() {
    let lab = Lab::open().await;
    let script = r"
        echo one; echo 'a problem' >&2; printf 'two\r\n'; printf 'é€😀\n'
        head -c 40000 /dev/zero | tr '\0' x; echo
        head -c 70000 /dev/zero | tr '\0' y; echo
        printf 'last, without a break'";
    let id = lab.started("logs", script).await;
    let live = lab.output(&id).await;
    lab.runtime.wait(&id).await.unwrap();
    let later = lab.lines(&id, LogOptions::default()).await;
    assert_eq!(live.stderr, ["a problem"]);
    let short: Vec<_> = live.stdout.iter().map(|l| if l.len() > 50 { "long" } else { l.as_str() }).collect();
    assert_eq!(short, ["one", "two", "é€😀", "long", "long", "last, without a break"]);
    assert_eq!(live.stdout[3].len(), 40_000, "fragments are joined");
    assert_eq!(live.stdout[4].len(), 64 * 1024, "and cut at the limit");
    assert_eq!(later.iter().filter(|l| l.truncated).count(), 1);
    assert_eq!(later.len(), 7, "reading after the end gives the same");
    let tail = lab.lines(&id, LogOptions { follow: false, tail: Some(0), since: None }).await;
    assert!(tail.is_empty());
}

#[tokio::test]
async fn the_last_output_is_never_missing() {
    let lab = Lab::open().await;
    // At once, because it is under load that the engine ends a follow too early.
    let all = join_all((0..24).map(|n| {
        let lab = &lab;
        async move {
            let id = lab.started(&n.to_string(), "echo first; printf LAST").await;
            lab.output(&id).await.stdout
        }
    }))
    .await;
    for (n, lines) in all.iter().enumerate() {
        assert_eq!(*lines, ["first", "LAST"], "container {n}");
    }
}

#[tokio::test]
async fn lines_arrive_while_it_runs_and_from_before_the_start() {
    let lab = Lab::open().await;
    let id = lab.runtime.create(&lab.spec("live", "echo first; sleep 1000")).await.unwrap();
    let mut stream =
        lab.runtime.logs(&id, LogOptions { follow: true, ..LogOptions::default() }).await.unwrap();
    let (line, started) = tokio::join!(stream.next(), lab.runtime.start(&id));
    started.unwrap();
    assert_eq!(line.unwrap().unwrap().text, "first", "it still runs");
    lab.runtime.stop(&id, grace(5)).await.unwrap();
    assert!(stream.next().await.is_none(), "the end of the container is the end of the stream");
}

// ---- the port's promises

#[tokio::test]
async fn the_contract_of_the_port_holds() {
    let lab = Lab::open().await;
    let base = lab.spec("base", "true");
    let make = move |script: &'static str, ports: Vec<u16>| -> MakeSpec {
        let mut spec = base.clone();
        spec.command = Some(["sh", "-c", script].map(str::to_owned).into());
        spec.ports = ports;
        Arc::new(move |name| ContainerSpec { name: name.to_owned(), ..spec.clone() })
    };
    let fixture = RuntimeFixture {
        image: image(),
        missing_image: "localhost:1/cnap-test/none:1".parse().unwrap(),
        stays: make("exec sleep 1000", vec![4096]),
        exits: make("echo written; exit 7", Vec::new()),
        writes: "written".to_owned(),
        ignores_term: None,
        readable_file: None,
        writable_directory: None,
        patience: Duration::from_mins(1),
    };
    let runtime = Arc::new(DockerRuntime::connect(lab.config.clone()).await.unwrap());
    runner_testkit::contract::container_runtime::all(runtime, fixture).await;
}

// ---- the connection

#[tokio::test]
async fn nothing_stays_open() {
    fn sockets() -> usize {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }
    let lab = Lab::open().await;
    let id = lab.started("idle", "exec sleep 1000").await;
    let before = sockets();
    for _ in 0..5 {
        join_all((0..40).map(|_| lab.runtime.inspect(&id))).await;
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(
                lab.runtime.logs(&id, LogOptions { follow: true, ..LogOptions::default() }).await.unwrap(),
            );
        }
        let waits = join_all((0..20).map(|_| lab.runtime.wait(&id)));
        assert!(tokio::time::timeout(Duration::from_millis(100), waits).await.is_err());
    }
    // Other tests of this process come and go; what leaked would be hundreds.
    let mut left = usize::MAX;
    for _ in 0..200 {
        left = sockets().saturating_sub(before);
        if left < 20 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{left} sockets are still open");
}
