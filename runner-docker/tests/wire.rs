//! The adapter against an engine that misbehaves by script: stalled headers and bodies, cut streams, unknown words,
//! lying filters, failures inside a success.

#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect by unwrapping, as tests do")]

mod support;

use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use runner_core::container::{Labels, Mount, MountSource, Network, StopOptions, UserSpec};
use runner_core::image::{ImageProgress, ImageRequest, PullPolicy};
use runner_core::logs::{LogOptions, LogSource};
use runner_core::{
    ContainerId, ContainerRuntime, ContainerSpec, ContainerState, ErrorKind, ImageRef, Result, Retry, Sink,
};
use runner_docker::{DockerConfig, DockerHost, DockerRuntime};
use support::{Call, Fake, Reply, Then, entry, fail, frame, ok, unexpected};

fn id() -> ContainerId {
    ContainerId::new("abc").unwrap()
}

fn image() -> ImageRef {
    "img:1".parse().unwrap()
}

fn spec() -> ContainerSpec {
    let mut spec = ContainerSpec::new("name", image(), UserSpec { uid: 1000, gid: 1000 });
    spec.network = Network::None;
    spec
}

/// The reply to an inspect.
fn container(state: &str) -> Reply {
    ok(format!(r#"{{"Id":"abc","Name":"/n","State":{state},"Config":{{"Labels":{{"k":"v"}}}}}}"#))
}

fn running() -> Reply {
    container(r#"{"Status":"running"}"#)
}

fn exited(code: i64) -> Reply {
    container(&format!(r#"{{"Status":"exited","ExitCode":{code}}}"#))
}

fn grace(milliseconds: u64) -> StopOptions {
    StopOptions::new(Duration::from_millis(milliseconds))
}

const INSPECT: &str = "GET /containers/abc/json";
const WAIT: &str = "POST /containers/abc/wait";
const START: &str = "POST /containers/abc/start";
const STOP: &str = "POST /containers/abc/stop";
const KILL: &str = "POST /containers/abc/kill";
const REMOVE: &str = "DELETE /containers/abc";
const LOGS: &str = "GET /containers/abc/logs";
const LIST: &str = "GET /containers/json";
const CREATE: &str = "POST /containers/create";
const IMAGE: &str = "GET /images/img:1/json";
const PULL: &str = "POST /images/create";
const NETWORKS: &str = "GET /networks";
const NEW_NETWORK: &str = "POST /networks/create";

// ---- connecting

#[tokio::test]
async fn each_way_of_not_finding_an_engine_is_told_apart() {
    async fn failure(host: DockerHost) -> runner_core::Error {
        let fake = Fake::bare(|_| Reply::Silence);
        let config = DockerConfig { host, ..fake.config() };
        DockerRuntime::connect(config).await.unwrap_err()
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = failure(DockerHost::Unix(dir.path().join("none.sock"))).await;
    let dead_path = dir.path().join("dead.sock");
    drop(UnixListener::bind(&dead_path).unwrap());
    let dead = failure(DockerHost::Unix(dead_path)).await;
    let closed = failure("tcp://127.0.0.1:1".parse().unwrap()).await;
    let silent = Fake::bare(|_| Reply::Silence);
    let silent = DockerRuntime::connect(silent.config()).await.unwrap_err();
    let half = Fake::bare(|_| Reply::Stream(vec![b"{\"Ver".to_vec()], Then::Stall));
    let half = DockerRuntime::connect(half.config()).await.unwrap_err();
    for (error, text) in [
        (&missing, "no socket"),
        (&dead, "nobody listens"),
        (&closed, "nobody listens"),
        (&silent, "does not answer"),
        (&half, "does not answer"),
    ] {
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::EngineUnavailable, Retry::Temporary),
            "{error}"
        );
        assert!(error.message().contains(text) && error.hint().is_some(), "{error}");
    }
    assert!(missing.message().contains("none.sock"), "the place is named: {missing}");
    assert!(closed.message().contains("tcp://127.0.0.1:1"), "never another engine: {closed}");
}

#[tokio::test]
async fn what_is_not_an_engine_is_said_so() {
    for reply in [ok("<html>hello</html>"), ok("{}"), ok("[]")] {
        let web = Fake::bare(move |_| reply.clone());
        let error = DockerRuntime::connect(web.config()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Permanent), "{error}");
    }
}

#[tokio::test]
async fn debug_shows_where_and_nothing_else() {
    let fake = Fake::engine(unexpected);
    let runtime = fake.connect().await;
    let text = format!("{runtime:?}");
    let want =
        format!("DockerRuntime {{ host: unix://{}, network: cnap-runner, .. }}", fake.socket().display());
    assert_eq!(text, want);
}

// ---- every call is bounded

#[tokio::test]
async fn a_stalled_reply_ends_the_call_and_the_connection() {
    for reply in [Reply::Silence, Reply::Stream(vec![b"{\"Id\":\"abc\"".to_vec()], Then::Stall)] {
        let fake = Fake::engine(move |_| reply.clone());
        let runtime = fake.connect().await;
        for error in [
            runtime.inspect(&id()).await.unwrap_err(),
            runtime.list(&Labels::new()).await.unwrap_err(),
            runtime.create(&spec()).await.unwrap_err(),
        ] {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary), "{error}");
        }
        fake.quiet().await;
    }
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    let fake = Fake::engine(|_| Reply::Silence);
    let runtime = fake.connect().await;
    let wait = tokio::spawn(async move { runtime.wait(&id()).await });
    fake.saw(WAIT).await;
    wait.abort();
    fake.quiet().await;
}

#[tokio::test]
async fn calls_queue_for_a_bounded_time() {
    let fake = Fake::engine(|_| Reply::Silence);
    let mut config = fake.config();
    config.max_calls = 1;
    config.budgets.create = Duration::from_mins(1);
    let runtime = DockerRuntime::connect(config).await.unwrap();
    let stuck = spec();
    let (create, inspect) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(1), runtime.create(&stuck)), async {
            fake.saw(CREATE).await;
            runtime.inspect(&id()).await.unwrap_err()
        });
    assert!(create.is_err(), "it holds the only place");
    assert_eq!(inspect.kind(), ErrorKind::Timeout);
    assert!(inspect.message().contains("1 places"), "{inspect}");
    assert_eq!(fake.count(INSPECT), 0, "no connection is made without a place");
}

#[tokio::test]
async fn a_connection_that_breaks_is_not_a_missing_container() {
    let fake = Fake::engine(|_| Reply::Hangup);
    let error = fake.connect().await.inspect(&id()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Connection, Retry::Temporary), "{error}");
    assert_eq!(error.container(), Some(&id()));
}

// ---- documents

#[tokio::test]
async fn unreadable_answers_are_protocol_errors() {
    for text in ["", "not json", "{}", r#"{"Id":"abc"}"#, r#"{"Id":"a/../b","State":{}}"#] {
        let fake = Fake::engine(move |_| ok(text));
        let error = fake.connect().await.inspect(&id()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Protocol, Retry::Permanent),
            "{text:?}: {error}"
        );
    }
}

#[tokio::test]
async fn one_odd_container_does_not_hide_the_others() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        LIST => ok(r#"[
            {"Id":"run","Names":["/run"],"State":"running","Labels":{"k":"v"},"Ports":null},
            {"Id":"stop","Names":["/stop"],"State":"stopped","Labels":{"k":"v"},"New":{"x":1}},
            {"Id":"weird","Names":["/weird"],"State":"weird","Labels":{"k":"v"}},
            {"Id":"broken","Names":["/broken"],"State":"exited","Labels":{"k":"v"}},
            {"Id":"gone","Names":["/gone"],"State":"exited","Labels":{"k":"v"}},
            {"Id":"other","Names":["/other"],"State":"running","Labels":{"k":"w"}},
            {"Id":"none","Names":["/none"],"State":"running","Labels":null}]"#),
        "GET /containers/stop/json" => ok(
            r#"{"Id":"stop","Name":"/stop","State":{"Status":"stopped","ExitCode":3},"Config":{"Labels":{"k":"v"}}}"#,
        ),
        "GET /containers/weird/json" => {
            ok(r#"{"Id":"weird","Name":"/weird","State":{"Status":"weird"},"Config":{"Labels":{"k":"v"}}}"#)
        }
        "GET /containers/broken/json" => fail(500, "layer does not exist"),
        "GET /containers/gone/json" => fail(404, "No such container: gone"),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let found = runtime.list(&Labels::from([("k".into(), "v".into())])).await.unwrap();
    let states: Vec<_> = found.iter().map(|c| (c.name.as_str(), &c.state)).collect();
    assert_eq!(states.len(), 4, "the filter's lies and what is gone are left out: {states:?}");
    assert_eq!(states[0], ("run", &ContainerState::Running));
    assert!(matches!(states[1], ("stop", ContainerState::Exited(exit)) if exit.code == 3), "{states:?}");
    assert_eq!(states[2], ("weird", &ContainerState::Unknown("weird".into())));
    assert_eq!(states[3], ("broken", &ContainerState::Unknown("exited".into())), "not gone");
    assert!(fake.calls(LIST)[0].query.contains("all=true"), "stopped ones count");
}

// ---- images

#[tokio::test]
async fn many_waiters_fetch_an_image_once_and_all_see_the_progress() {
    let fetched = AtomicUsize::new(0);
    let fake = Fake::engine(move |call| match call.what.as_str() {
        IMAGE if fetched.load(Ordering::SeqCst) == 0 => fail(404, "No such image: img:1"),
        IMAGE => ok(r#"{"Id":"sha256:1","Size":7,"Architecture":"amd64","Later":{"kind":"new"}}"#),
        PULL => {
            fetched.store(1, Ordering::SeqCst);
            let steps = [
                r#"{"status":"Pulling from img","id":"1"}"#,
                r#"{"status":"Downloading","progressDetail":{"current":3,"total":9},"id":"layer"}"#,
                r#"{"status":"Pull complete","progressDetail":{},"id":"layer"}"#,
            ];
            Reply::Stream(steps.iter().map(|s| format!("{s}\r\n").into_bytes()).collect(), Then::End)
        }
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let seen: Vec<Mutex<Vec<ImageProgress>>> = (0..10).map(|_| Mutex::default()).collect();
    let seen: &'static [Mutex<Vec<ImageProgress>>] = seen.leak();
    let image = image();
    let waiters = seen.iter().map(|seen| {
        let sink = Sink::new(move |step| seen.lock().unwrap().push(step));
        async { runtime.ensure_image(&ImageRequest::new(image.clone(), PullPolicy::Missing), sink).await }
    });
    for result in futures::future::join_all(waiters).await {
        assert_eq!(result.unwrap().id, "sha256:1");
    }
    assert_eq!(fake.count(PULL), 1);
    assert!(fake.calls(PULL)[0].query.starts_with("fromImage=img%3A1&"), "never all tags");
    let with_bytes = |seen: &Mutex<Vec<ImageProgress>>| {
        let seen = seen.lock().unwrap();
        seen.iter().any(|s| s.bytes == Some((3, 9)) && s.layer.as_deref() == Some("layer"))
    };
    assert!(with_bytes(&seen[0]), "{:?}", seen[0].lock().unwrap());
}

#[tokio::test]
async fn a_failed_pull_is_an_error_wherever_it_is_reported() {
    type Case = (Reply, ErrorKind, Retry, &'static str);
    let stream = |lines: &[&str], then| {
        Reply::Stream(lines.iter().map(|l| format!("{l}\r\n").into_bytes()).collect(), then)
    };
    let progress = r#"{"status":"Downloading","id":"a"}"#;
    let cases: Vec<Case> = vec![
        (
            stream(
                &[progress, r#"{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}"#],
                Then::End,
            ),
            ErrorKind::ImageUnavailable,
            Retry::Temporary,
            "unexpected EOF",
        ),
        (stream(&[progress], Then::Cut), ErrorKind::Connection, Retry::Temporary, "broke"),
        (stream(&[progress], Then::Stall), ErrorKind::Timeout, Retry::Temporary, "no answer"),
        (
            stream(&[progress], Then::End),
            ErrorKind::ImageUnavailable,
            Retry::Permanent,
            "reported no failure",
        ),
        (
            fail(404, "pull access denied for img, repository does not exist"),
            ErrorKind::ImageUnavailable,
            Retry::Permanent,
            "denied",
        ),
        (
            fail(500, "Get \"https://r/v2/?sig=hunter2\": dial tcp: lookup r: no such host"),
            ErrorKind::ImageUnavailable,
            Retry::Temporary,
            "no such host",
        ),
    ];
    for (reply, kind, retry, text) in cases {
        let shown = format!("{reply:?}");
        let fake = Fake::engine(move |call| match call.what.as_str() {
            IMAGE => fail(404, "No such image: img:1"),
            PULL => reply.clone(),
            _ => unexpected(call),
        });
        let runtime = fake.connect().await;
        let error = runtime
            .ensure_image(&ImageRequest::new(image(), PullPolicy::Missing), Sink::none())
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{shown}: {error}");
        assert!(error.message().contains(text) && error.message().contains("img:1"), "{error}");
        assert!(error.hint().is_some() && !error.chain().contains("hunter2"), "{error}");
        // Not remembered: the next call tries again.
        drop(runtime.ensure_image(&ImageRequest::new(image(), PullPolicy::Missing), Sink::none()).await);
        // Within a call, what may pass is tried three times.
        let tries = if retry == Retry::Temporary { 3 } else { 1 };
        assert_eq!(fake.count(PULL), 2 * tries, "{shown}");
    }
}

#[tokio::test]
async fn never_means_never() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        IMAGE => fail(404, "No such image: img:1"),
        _ => unexpected(call),
    });
    let error = fake
        .connect()
        .await
        .ensure_image(&ImageRequest::new(image(), PullPolicy::Never), Sink::none())
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::ImageUnavailable, Retry::Permanent));
    assert!(error.to_string().contains("pull or build"), "{error}");
    assert_eq!(fake.count(PULL), 0);
}

// ---- creating

#[tokio::test]
async fn a_forbidden_mount_is_refused_before_the_engine_is_asked() {
    let fake = Fake::engine(unexpected);
    let runtime = fake.connect().await;
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let socket = fake.socket();
    let own = socket.parent().unwrap();
    for source in ["/", "/proc", "/etc", "/var/run", "/var/lib/docker", "/var"]
        .map(Into::into)
        .into_iter()
        .chain([link, socket.clone(), own.to_path_buf()])
    {
        let mut spec = spec();
        spec.network = Network::Isolated;
        let shown = source.display().to_string();
        spec.mounts.push(Mount {
            source: MountSource::HostPath(source),
            target: "/workspace".into(),
            read_only: true,
        });
        let error = runtime.create(&spec).await.expect_err(&shown);
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Workspace), "{shown}: {error}");
        assert!(error.message().contains(&shown), "{error}");
    }
    let mut root = spec();
    root.user.uid = 0;
    assert_eq!(runtime.create(&root).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(fake.count(CREATE) + fake.count(NETWORKS) + fake.count(NEW_NETWORK), 0);
}

#[tokio::test]
async fn failures_of_a_creation_have_their_kinds() {
    for (reply, kind, retry) in [
        (fail(404, "No such image: img:1"), ErrorKind::ImageUnavailable, Retry::Permanent),
        (
            fail(409, "Conflict. The container name \"/name\" is already in use by container \"x\"."),
            ErrorKind::AlreadyExists,
            Retry::Permanent,
        ),
        (fail(500, "mkdir /x: no space left on device"), ErrorKind::HostResources, Retry::Permanent),
        (ok(r#"{"Id":"a/b","Warnings":[]}"#), ErrorKind::Protocol, Retry::Permanent),
    ] {
        let fake = Fake::engine(move |_| reply.clone());
        let error = fake.connect().await.create(&spec()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
    }
}

const OUR_NETWORK: &str = r#"{"Name":"cnap-runner","Id":"net1","Created":"1","Driver":"bridge",
    "Labels":{"cnap.runner.network":"isolated"},"Options":{"com.docker.network.bridge.enable_icc":"false"},
    "IPAM":{"Config":[{"Gateway":"172.30.0.1"}]}}"#;

#[tokio::test]
async fn the_network_is_made_once_for_many() {
    let made = AtomicUsize::new(0);
    let fake = Fake::engine(move |call| match call.what.as_str() {
        NETWORKS if made.load(Ordering::SeqCst) == 0 => {
            ok(r#"[{"Name":"cnap-runner-other","Id":"x","Driver":"bridge","Labels":{}}]"#)
        }
        NETWORKS => ok(format!("[{OUR_NETWORK}]")),
        NEW_NETWORK => {
            made.store(1, Ordering::SeqCst);
            Reply::Json(201, r#"{"Id":"net1","Warning":""}"#.into())
        }
        CREATE => Reply::Json(201, r#"{"Id":"abc","Warnings":null}"#.into()),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let mut isolated = spec();
    isolated.network = Network::Isolated;
    let all = futures::future::join_all((0..8).map(|_| runtime.create(&isolated))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(fake.count(NEW_NETWORK), 1);
    let body = &fake.calls(NEW_NETWORK)[0].body;
    for text in [r#""CheckDuplicate":true"#, r#""com.docker.network.bridge.enable_icc":"false""#] {
        assert!(body.contains(text), "{body}");
    }
    let info = runtime.info().await.unwrap();
    assert_eq!(info.host_address, Some("172.30.0.1".parse().unwrap()));
    assert_eq!((info.engine.as_str(), info.rootless), ("Docker 99.0-fake", false));
}

#[tokio::test]
async fn calls_wait_for_each_others_network_for_a_bounded_time() {
    let fake = Fake::engine(|_| Reply::Silence);
    let mut config = fake.config();
    config.budgets.read = Duration::from_secs(30);
    let runtime = DockerRuntime::connect(config).await.unwrap();
    let mut isolated = spec();
    isolated.network = Network::Isolated;
    let first = runtime.create(&isolated);
    let second = async {
        fake.saw(NETWORKS).await;
        runtime.create(&isolated).await.unwrap_err()
    };
    tokio::select! {
        created = first => panic!("the engine is silent: {created:?}"),
        error = second => {
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary), "{error}");
            assert!(error.message().contains("network"), "{error}");
        }
    }
}

#[tokio::test]
async fn somebody_elses_network_is_not_used() {
    let foreign = OUR_NETWORK.replace("cnap.runner.network", "theirs");
    let open = OUR_NETWORK.replace("enable_icc\":\"false", "enable_icc\":\"true");
    for network in [foreign, open] {
        let fake = Fake::engine(move |call| match call.what.as_str() {
            NETWORKS => ok(format!("[{network}]")),
            _ => unexpected(call),
        });
        let error = fake.connect().await.info().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::AlreadyExists, Retry::Permanent), "{error}");
        assert!(error.hint().is_some_and(|h| h.contains("remove it")), "{error}");
    }
}

// ---- starting

/// An inspect reply with the ports in one of their forms.
fn with_ports(status: &str, ports: &str) -> Reply {
    ok(format!(
        r#"{{"Id":"abc","State":{{"Status":"{status}"}},"NetworkSettings":{{"Ports":{ports}}},
            "HostConfig":{{"NetworkMode":"cnap-runner",
                "PortBindings":{{"4096/tcp":[{{"HostIp":"127.0.0.1","HostPort":""}}]}}}}}}"#
    ))
}

#[tokio::test]
async fn a_start_returns_when_the_ports_are_published() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        // Started already: not an error.
        (START, _) => Reply::Json(304, String::new()),
        (INSPECT, 0) => with_ports("running", "{}"),
        (INSPECT, 1) => with_ports("running", r#"{"4096/tcp":null}"#),
        (INSPECT, 2) => with_ports("running", r#"{"4096/tcp":[{"HostIp":"::1","HostPort":"5"}]}"#),
        (INSPECT, _) => with_ports("running", r#"{"4096/tcp":[{"HostIp":"127.0.0.1","HostPort":"32768"}]}"#),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    runtime.start(&id()).await.unwrap();
    assert_eq!(fake.count(INSPECT), 4);
    let info = runtime.inspect(&id()).await.unwrap();
    assert_eq!(info.ports[0].address.to_string(), "127.0.0.1:32768");
}

#[tokio::test]
async fn ports_that_never_come_end_the_start_and_so_does_an_early_end() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        START => Reply::Json(204, String::new()),
        INSPECT => with_ports("running", "{}"),
        _ => unexpected(call),
    });
    let error = fake.connect().await.start(&id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("4096"), "{error}");

    let fake = Fake::engine(|call| match call.what.as_str() {
        START => Reply::Json(204, String::new()),
        INSPECT => with_ports("exited", "{}"),
        _ => unexpected(call),
    });
    fake.connect().await.start(&id()).await.unwrap();
}

#[tokio::test]
async fn a_start_for_want_of_its_network_is_tried_again_with_it() {
    for reply in [
        fail(404, "network cnap-runner not found"),
        fail(400, "network cnap-runner is ambiguous (2 matches found on name)"),
    ] {
        let settled = AtomicUsize::new(0);
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (START, 0) => reply.clone(),
            (START, _) => Reply::Json(204, String::new()),
            (INSPECT, 0) => with_ports("created", "{}"),
            (INSPECT, _) => with_ports("running", r#"{"4096/tcp":[{"HostIp":"127.0.0.1","HostPort":"1"}]}"#),
            (NETWORKS, _) if settled.load(Ordering::SeqCst) == 1 => ok(format!("[{OUR_NETWORK}]")),
            (NETWORKS, _) => ok(format!("[{OUR_NETWORK},{}]", OUR_NETWORK.replace("net1", "net2"))),
            ("GET /networks/net1", _) => ok(OUR_NETWORK),
            ("GET /networks/net2", _) => ok(OUR_NETWORK.replace("net1", "net2")),
            ("DELETE /networks/net2", _) => {
                settled.store(1, Ordering::SeqCst);
                Reply::Json(204, String::new())
            }
            _ => unexpected(call),
        });
        fake.connect().await.start(&id()).await.unwrap();
        assert_eq!(fake.count(START), 2);
        assert_eq!(fake.count("DELETE /networks/net1"), 0, "the older one stays");
    }
}

#[tokio::test]
async fn a_failed_start_carries_the_engines_words_and_the_code() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        START => fail(400, "OCI runtime create failed: exec: \"/nope\": no such file or directory"),
        INSPECT => container(r#"{"Status":"created","ExitCode":127,"Error":"OCI runtime create failed"}"#),
        _ => unexpected(call),
    });
    let error = fake.connect().await.start(&id()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Engine, Retry::Permanent));
    let exit = error.start_failure().and_then(|f| f.exit.as_ref()).unwrap();
    assert_eq!(exit.code, 127);
    assert!(error.to_string().contains("/nope"), "{error}");
}

// ---- waiting

fn alarm(text: &str, then: Then) -> Reply {
    Reply::Stream(if text.is_empty() { Vec::new() } else { vec![text.as_bytes().to_vec()] }, then)
}

#[tokio::test]
async fn inspect_tells_how_it_ended_and_not_the_alarm() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (WAIT, _) => alarm(r#"{"StatusCode":1}"#, Then::End),
        (INSPECT, 0) => running(),
        (INSPECT, _) => container(r#"{"Status":"exited","ExitCode":137,"OOMKilled":true}"#),
        _ => unexpected(call),
    });
    let exit = fake.connect().await.wait(&id()).await.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, true));
    assert_eq!(fake.calls(WAIT)[0].query, "condition=next-exit");
}

#[tokio::test]
async fn one_that_has_ended_answers_at_once() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        WAIT => alarm("", Then::Stall),
        INSPECT => exited(7),
        _ => unexpected(call),
    });
    assert_eq!(fake.connect().await.wait(&id()).await.unwrap().code, 7);
}

#[tokio::test]
async fn a_lost_alarm_is_set_again() {
    for lost in [alarm("", Then::End), alarm("", Then::Cut), alarm("{\"Sta", Then::Cut)] {
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (WAIT, 0) => lost.clone(),
            (WAIT, _) => alarm(r#"{"StatusCode":3}"#, Then::End),
            (INSPECT, 0..=2) => running(),
            (INSPECT, _) => exited(3),
            _ => unexpected(call),
        });
        assert_eq!(fake.connect().await.wait(&id()).await.unwrap().code, 3);
        assert_eq!(fake.count(WAIT), 2);
    }
}

#[tokio::test]
async fn an_exit_that_the_engine_never_reports_is_seen_all_the_same() {
    for silent in [alarm("", Then::Stall), Reply::Silence] {
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (WAIT, _) => silent.clone(),
            (INSPECT, 0) => running(),
            (INSPECT, _) => exited(9),
            _ => unexpected(call),
        });
        assert_eq!(fake.connect().await.wait(&id()).await.unwrap().code, 9);
    }
}

#[tokio::test]
async fn an_engine_that_comes_back_does_not_end_a_wait_and_one_that_stays_away_does() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (WAIT, 1 | 2) => Reply::Hangup,
        (WAIT, 3) => fail(503, ""),
        (WAIT, 0) => alarm("", Then::Cut),
        (WAIT, _) => alarm("", Then::Stall),
        (INSPECT, 0 | 1) => running(),
        (INSPECT, _) => exited(255),
        _ => unexpected(call),
    });
    assert_eq!(fake.connect().await.wait(&id()).await.unwrap().code, 255);

    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (WAIT, 0) => alarm("", Then::Cut),
        (INSPECT, 0) => running(),
        _ => Reply::Hangup,
    });
    let error = fake.connect().await.wait(&id()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Connection, Retry::Temporary), "{error}");
}

/// The time is for one absence of the engine and not for the wait as a whole, which lasts as long as a runner.
#[tokio::test]
async fn an_engine_that_restarts_late_in_a_long_wait_does_not_end_it() {
    let away = Instant::now() + Duration::from_millis(900);
    let back = away + Duration::from_millis(150);
    let fake = Fake::engine(move |call| match call.what.as_str() {
        _ if (away..back).contains(&Instant::now()) => Reply::Hangup,
        WAIT if Instant::now() < away => alarm("", Then::Stall),
        WAIT => alarm(r#"{"StatusCode":3}"#, Then::End),
        INSPECT if Instant::now() < away => running(),
        INSPECT => exited(3),
        _ => unexpected(call),
    });
    assert!(fake.config().budgets.reconnect < Duration::from_millis(900), "or this test proves nothing");
    assert_eq!(fake.connect().await.wait(&id()).await.unwrap().code, 3);
    assert!(Instant::now() >= back);
}

#[tokio::test]
async fn a_container_that_is_removed_while_waited_for_is_not_found() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (WAIT, _) => alarm(r#"{"StatusCode":137}"#, Then::End),
        (INSPECT, 0) => running(),
        (INSPECT, _) => fail(404, "No such container: abc"),
        _ => unexpected(call),
    });
    let error = fake.connect().await.wait(&id()).await.unwrap_err();
    assert_eq!((error.kind(), error.container()), (ErrorKind::NotFound, Some(&id())));
}

// ---- logs

async fn read(
    runtime: &DockerRuntime,
    follow: bool,
) -> (Vec<(LogSource, String)>, Option<runner_core::Error>) {
    let options = LogOptions { follow, ..LogOptions::default() };
    let mut stream = runtime.logs(&id(), options).await.unwrap();
    let (mut lines, mut failure) = (Vec::new(), None);
    while let Some(item) = stream.next().await {
        match item {
            Ok(line) => lines.push((line.source, line.text)),
            Err(e) => {
                assert!(failure.is_none(), "a failure is the last item");
                failure = Some(e);
            }
        }
    }
    (lines, failure)
}

#[tokio::test]
async fn frames_become_lines_of_two_streams() {
    let stamped =
        [entry(1, 1, "one\ntw"), entry(2, 1, "problem\r\n"), entry(1, 2, "o\né\n"), entry(1, 3, "last")]
            .concat();
    // An engine that does not write the moments, and cuts a character.
    let plain =
        [frame(1, b"one\ntw"), frame(2, b"problem\r\n"), frame(1, b"o\n\xc3"), frame(1, b"\xa9\nlast")]
            .concat();
    for (all, size) in
        [(&stamped, 1), (&stamped, 7), (&stamped, 1000), (&plain, 1), (&plain, 7), (&plain, 1000)]
    {
        let all = all.clone();
        let fake = Fake::engine(move |call| match call.what.as_str() {
            LOGS if call.query.contains("since") => Reply::Stream(vec![entry(1, 3, "last")], Then::End),
            LOGS => Reply::Stream(all.chunks(size).map(<[u8]>::to_vec).collect(), Then::End),
            INSPECT => exited(0),
            _ => unexpected(call),
        });
        let runtime = fake.connect().await;
        for follow in [false, true] {
            let (lines, failure) = read(&runtime, follow).await;
            assert!(failure.is_none(), "{failure:?}");
            let of =
                |source| lines.iter().filter(|l| l.0 == source).map(|l| l.1.as_str()).collect::<Vec<_>>();
            assert_eq!(of(LogSource::Stdout), ["one", "two", "é", "last"]);
            assert_eq!(of(LogSource::Stderr), ["problem"]);
        }
        assert!(fake.calls(LOGS).iter().all(|c| c.query.contains("timestamps=true")));
    }
}

#[tokio::test]
async fn a_log_that_breaks_off_says_so_after_what_it_had() {
    let whole = entry(1, 1, "half a li");
    let cases = [
        (vec![whole.clone()], Then::Cut, ErrorKind::Connection),
        (vec![whole[..45].to_vec()], Then::End, ErrorKind::Connection),
        (vec![whole.clone(), frame(3, b"error from daemon in stream: x")], Then::End, ErrorKind::Engine),
        (vec![whole.clone(), b"plain text".to_vec()], Then::End, ErrorKind::Protocol),
        (vec![whole], Then::Stall, ErrorKind::Timeout),
    ];
    for (pieces, then, kind) in cases {
        let shown = format!("{pieces:?} {then:?}");
        let fake = Fake::engine(move |call| match call.what.as_str() {
            LOGS => Reply::Stream(pieces.clone(), then),
            _ => unexpected(call),
        });
        let (lines, failure) = read(&fake.connect().await, false).await;
        assert!(lines[0].1.starts_with("half"), "{shown}: {lines:?}");
        assert_eq!(failure.map(|e| e.kind()), Some(kind), "{shown}");
    }
}

#[tokio::test]
async fn following_outlives_silence_and_a_container_that_is_not_started_yet() {
    // The engine closes the log of a created container at once.
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (LOGS, 0) => Reply::Stream(Vec::new(), Then::End),
        (LOGS, 1) => Reply::Stream(vec![entry(1, 1, "hello\n")], Then::Stall),
        (LOGS, _) => Reply::Stream(vec![entry(1, 1, "hello\n")], Then::End),
        (INSPECT, 0) => container(r#"{"Status":"created"}"#),
        // Silence, looked into and endured, until the container has ended without a word.
        (INSPECT, 1..=3) => running(),
        (INSPECT, _) => exited(0),
        _ => unexpected(call),
    });
    let (lines, failure) = read(&fake.connect().await, true).await;
    assert_eq!(lines, [(LogSource::Stdout, "hello".to_owned())]);
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(fake.count(LOGS), 3);
}

#[tokio::test]
async fn following_goes_on_after_a_cut_and_reads_what_an_early_end_left() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        // Cut within the second entry; the engine is away for a moment; cut again; ended too early.
        (LOGS, 0) => {
            let mut bytes = [entry(1, 1, "one\n"), entry(1, 2, "second line\n")].concat();
            bytes.truncate(bytes.len() - 5);
            Reply::Stream(vec![bytes], Then::Cut)
        }
        (LOGS, 1) => Reply::Stream(vec![entry(1, 1, "one\n"), entry(1, 2, "second line\n")], Then::Cut),
        (LOGS, 2) => Reply::Stream(vec![entry(1, 1, "one\n")], Then::End),
        (LOGS, _) => Reply::Stream(
            vec![
                entry(1, 1, "one\n"),
                entry(1, 2, "second line\n"),
                entry(2, 3, "three\n"),
                entry(1, 4, "end"),
            ],
            Then::End,
        ),
        (INSPECT, 0) => Reply::Hangup,
        (INSPECT, 1) => fail(503, ""),
        (INSPECT, 2..=4) => running(),
        (INSPECT, _) => exited(0),
        _ => unexpected(call),
    });
    let (lines, failure) = read(&fake.connect().await, true).await;
    assert!(failure.is_none(), "{failure:?}");
    let text: Vec<_> = lines.iter().map(|l| l.1.as_str()).collect();
    // The streams are joined apart, so only the order within each is promised.
    assert_eq!(text, ["one", "second line", "three", "end"]);
    let last = fake.calls(LOGS).pop().unwrap().query;
    assert!(last.contains("follow=false") && last.contains("since=1767225600.999999999"), "{last}");
    assert!(!last.contains("tail"), "{last}");
}

#[tokio::test]
async fn following_ends_when_the_engine_stays_away() {
    let lost = Fake::engine(|call| match call.what.as_str() {
        LOGS => Reply::Stream(vec![entry(1, 1, "hello\n")], Then::Stall),
        _ => Reply::Hangup,
    });
    let (lines, failure) = read(&lost.connect().await, true).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(failure.map(|e| (e.kind(), e.retry())), Some((ErrorKind::Connection, Retry::Temporary)));

    // Nothing to go on from: an honest end instead of a repetition.
    let plain = Fake::engine(|call| match call.what.as_str() {
        LOGS => Reply::Stream(vec![frame(1, b"hello\n")], Then::End),
        _ => running(),
    });
    let (lines, failure) = read(&plain.connect().await, true).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(failure.map(|e| (e.kind(), e.retry())), Some((ErrorKind::Connection, Retry::Temporary)));

    let gone = Fake::engine(|call| match call.what.as_str() {
        LOGS => Reply::Stream(vec![entry(1, 1, "hello\n")], Then::End),
        _ => fail(404, "No such container: abc"),
    });
    let (lines, failure) = read(&gone.connect().await, true).await;
    assert_eq!(lines.len(), 1);
    assert!(failure.is_none(), "a container that is removed has said what it had to say: {failure:?}");
}

#[tokio::test]
async fn failures_that_are_known_at_once_belong_to_the_call() {
    for (reply, kind) in [
        (fail(404, "No such container: abc"), ErrorKind::NotFound),
        (fail(501, "configured logging driver does not support reading"), ErrorKind::Unsupported),
        (Reply::Silence, ErrorKind::Timeout),
    ] {
        let fake = Fake::engine(move |_| reply.clone());
        let runtime = fake.connect().await;
        let error = runtime.logs(&id(), LogOptions::default()).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

// ---- stopping and removing

#[tokio::test]
async fn what_need_not_be_stopped_is_stopped() {
    for reply in [
        Reply::Json(204, String::new()),
        Reply::Json(304, String::new()),
        fail(404, "No such container: abc"),
        fail(409, "Container abc is not running"),
    ] {
        let shown = format!("{reply:?}");
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (INSPECT, 0) => running(),
            (INSPECT, _) => exited(0),
            _ => reply.clone(),
        });
        fake.connect().await.stop(&id(), grace(1500)).await.expect(&shown);
        assert_eq!(fake.calls(STOP)[0].query, "t=2", "a part of a second is a whole one");
        assert_eq!(fake.count(KILL), 0);
    }
}

#[tokio::test]
async fn a_stop_that_hangs_is_followed_by_a_kill() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (STOP, _) => Reply::Silence,
        (KILL, _) => Reply::Json(204, String::new()),
        (INSPECT, 0 | 1) => running(),
        (INSPECT, _) => exited(137),
        _ => unexpected(call),
    });
    fake.connect().await.stop(&id(), grace(0)).await.unwrap();
    assert_eq!((fake.count(KILL), fake.calls(KILL)[0].query.as_str()), (1, "signal=SIGKILL"));

    // Ended meanwhile: nothing is killed.
    let fake = Fake::engine(|call| match call.what.as_str() {
        STOP => Reply::Silence,
        INSPECT if call.nth == 0 => running(),
        INSPECT => exited(143),
        _ => unexpected(call),
    });
    fake.connect().await.stop(&id(), grace(0)).await.unwrap();

    // Nothing helps: an error within the limits, not a hang.
    let fake = Fake::engine(|call| match call.what.as_str() {
        STOP | KILL => Reply::Silence,
        INSPECT => running(),
        _ => unexpected(call),
    });
    let error = fake.connect().await.stop(&id(), grace(0)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_removal_ends_when_the_container_is_gone() {
    type Script = Box<dyn Fn(&Call) -> Reply + Send + Sync>;
    let gone = || fail(404, "No such container: abc");
    let in_progress = || fail(409, "removal of container abc is already in progress");
    let busy = || fail(500, "driver \"overlay2\" failed to remove root filesystem: device or resource busy");
    let cases: Vec<(&str, Script, usize)> = vec![
        ("gone already", Box::new(move |_| gone()), 1),
        ("at once", Box::new(|_| Reply::Json(204, String::new())), 1),
        (
            "by somebody else",
            Box::new(move |call| match (call.what.as_str(), call.nth) {
                (REMOVE, _) => in_progress(),
                (INSPECT, 0 | 1) => container(r#"{"Status":"removing"}"#),
                _ => gone(),
            }),
            1,
        ),
        (
            "by us, after somebody else gave up",
            Box::new(move |call| match (call.what.as_str(), call.nth) {
                (REMOVE, 0) => in_progress(),
                (INSPECT, _) => container(r#"{"Status":"dead"}"#),
                _ => Reply::Json(204, String::new()),
            }),
            2,
        ),
        (
            "when the file system is free",
            Box::new(move |call| if call.nth < 3 { busy() } else { Reply::Json(204, String::new()) }),
            4,
        ),
        (
            "without an answer",
            Box::new(move |call| if call.what == REMOVE { Reply::Silence } else { gone() }),
            1,
        ),
    ];
    for (name, script, removals) in cases {
        let fake = Fake::engine(script);
        fake.connect().await.remove(&id()).await.expect(name);
        assert_eq!(fake.count(REMOVE), removals, "{name}");
        let query = &fake.calls(REMOVE)[0].query;
        assert!(query.contains("v=true") && query.contains("force=true"), "{query}");
    }
}

#[tokio::test]
async fn a_removal_that_does_not_succeed_is_an_error_in_time() {
    type Script = fn(&Call) -> Reply;
    let cases: [(Script, ErrorKind); 3] = [
        (|_| fail(500, "device or resource busy"), ErrorKind::Engine),
        (
            |call| match call.what.as_str() {
                REMOVE => fail(409, "removal of container abc is already in progress"),
                _ => container(r#"{"Status":"removing"}"#),
            },
            ErrorKind::Timeout,
        ),
        (|call| if call.what == REMOVE { Reply::Silence } else { running() }, ErrorKind::Timeout),
    ];
    for (script, kind) in cases {
        let fake = Fake::engine(script);
        let error = fake.connect().await.remove(&id()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Temporary), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

// ---- giving the network back

#[tokio::test]
async fn the_network_stays_while_a_container_names_it() {
    let list = |mode: &str| {
        ok(format!(r#"[{{"Id":"abc","State":"created","HostConfig":{{"NetworkMode":"{mode}"}}}}]"#))
    };
    let script = move |mode: &'static str| {
        move |call: &Call| match call.what.as_str() {
            NETWORKS => ok(format!("[{OUR_NETWORK}]")),
            LIST => list(mode),
            "DELETE /networks/net1" => fail(403, "network cnap-runner id net1 has active endpoints"),
            _ => unexpected(call),
        }
    };
    let named = Fake::engine(script("cnap-runner"));
    named.connect().await.release().await.unwrap();
    assert_eq!(named.count("DELETE /networks/net1"), 0, "it would be missing at the start");

    let attached = Fake::engine(script("bridge"));
    attached.connect().await.release().await.unwrap();
    assert_eq!(attached.count("DELETE /networks/net1"), 1);

    let foreign = OUR_NETWORK.replace("cnap.runner.network", "theirs");
    let fake = Fake::engine(move |call| match call.what.as_str() {
        NETWORKS => ok(format!("[{foreign}]")),
        _ => unexpected(call),
    });
    fake.connect().await.release().await.unwrap();
}
