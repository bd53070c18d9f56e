//! Which engine is meant: every source, its order, and that nothing is replaced by something else that answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use runner_core::{Error, ErrorKind, Retry};
use runner_docker::{EndpointSources, Found, Origin, Setting, find_endpoint};
use sha2::{Digest, Sha256};
use support::{Fake, Reply, fail, ok};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_millis(300);

/// A machine of its own, so that what is installed here does not count.
struct Machine {
    dir: TempDir,
    sources: EndpointSources,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Some(dir.path().join(name));
        let sources = EndpointSources {
            system_root: at("root"),
            home: at("home"),
            xdg_runtime_dir: at("run"),
            ..EndpointSources::default()
        };
        Self { dir, sources }
    }

    fn path(&self, below: &str) -> PathBuf {
        let path = self.dir.path().join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        fs::write(&path, text).unwrap();
        path
    }

    /// Lets an engine listen at a place.
    fn listens(&self, below: &str, fake: &Fake) -> PathBuf {
        let path = self.path(below);
        symlink(fake.socket(), &path).unwrap();
        path
    }

    /// What `docker context create` leaves.
    fn context(&self, name: &str, endpoint: &str) -> PathBuf {
        let id = format!("{:x}", Sha256::digest(name.as_bytes()));
        let meta = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{{endpoint}}}}}"#);
        self.write(&format!("home/.docker/contexts/meta/{id}/meta.json"), &meta)
    }

    fn current_context(&self, name: &str) -> PathBuf {
        self.write(
            "home/.docker/config.json",
            &format!(r#"{{"auths":{{"r":{{"auth":"aHVudGVyMg=="}}}},"currentContext":"{name}"}}"#),
        )
    }

    async fn find(&self) -> Result<Found, Error> {
        find_endpoint(&self.sources, LIMIT).await
    }
}

fn engine() -> Fake {
    Fake::engine(|call| fail(599, &format!("unexpected: {}", call.what)))
}

fn unix(path: &Path) -> String {
    format!("unix://{}", path.display())
}

fn docker(host: &str) -> String {
    format!(r#""docker":{{"Host":"{host}","SkipTLSVerify":false}}"#)
}

const SYSTEM: &str = "root/var/run/docker.sock";

// ---- what is ordered

#[tokio::test]
async fn an_address_where_nobody_listens_is_never_replaced_by_the_local_socket() {
    let (mut machine, local) = (Machine::new(), engine());
    machine.listens(SYSTEM, &local);
    machine.sources.docker_host = Some("tcp://127.0.0.1:1".to_owned());
    let error = machine.find().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary), "{error}");
    assert!(
        error.message().contains("DOCKER_HOST") && error.message().contains("tcp://127.0.0.1:1"),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("unset DOCKER_HOST")), "{error}");
    assert_eq!(local.count("GET /version"), 0, "nobody else is asked");
}

#[tokio::test]
async fn each_source_goes_before_the_next() {
    let mut machine = Machine::new();
    let fakes: Vec<Fake> = (0..5).map(|_| engine()).collect();
    let address: Vec<String> = fakes.iter().map(|fake| unix(&fake.socket())).collect();
    machine.sources.explicit = Some(Setting { name: "MY_ENGINE".to_owned(), value: address[0].clone() });
    machine.sources.docker_host = Some(address[1].clone());
    machine.sources.docker_context = Some("named".to_owned());
    machine.context("named", &docker(&address[2]));
    let config = machine.current_context("current");
    machine.context("current", &docker(&address[3]));
    let socket = machine.listens(SYSTEM, &fakes[4]);
    let context = |name: &str, chosen_in| Origin::Context { name: name.to_owned(), chosen_in };
    let want = [
        (address[0].clone(), Origin::Explicit("MY_ENGINE".to_owned()), "MY_ENGINE"),
        (address[1].clone(), Origin::DockerHost, "DOCKER_HOST"),
        (address[2].clone(), context("named", None), "the Docker context \"named\" (DOCKER_CONTEXT)"),
        (address[3].clone(), context("current", Some(config.clone())), "(currentContext in "),
        (unix(&socket), Origin::UsualSocket("Docker"), "the usual socket of Docker"),
    ];
    for (n, (host, origin, text)) in want.into_iter().enumerate() {
        let found = machine.find().await.unwrap();
        assert_eq!((found.host.to_string(), &found.origin), (host, &origin));
        assert!(origin.to_string().contains(text), "{origin}");
        assert_eq!(fakes[n].count("GET /version"), 1, "it has answered");
        match n {
            0 => machine.sources.explicit = None,
            // Empty is unset.
            1 => machine.sources.docker_host = Some(String::new()),
            2 => machine.sources.docker_context = Some(String::new()),
            3 => fs::remove_file(&config).unwrap(),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_default_context_is_none() {
    let (mut machine, fake) = (Machine::new(), engine());
    machine.listens(SYSTEM, &fake);
    // Not even the file is read: the variable goes before it.
    machine.write("home/.docker/config.json", "damaged");
    machine.sources.docker_context = Some("default".to_owned());
    assert_eq!(machine.find().await.unwrap().origin, Origin::UsualSocket("Docker"));
    machine.sources.docker_context = None;
    machine.current_context("default");
    assert_eq!(machine.find().await.unwrap().origin, Origin::UsualSocket("Docker"));
    machine.write("home/.docker/config.json", r#"{"currentContext":null}"#);
    assert_eq!(machine.find().await.unwrap().origin, Origin::UsualSocket("Docker"));
}

#[tokio::test]
async fn docker_config_names_the_directory_of_contexts() {
    let (mut machine, fake) = (Machine::new(), engine());
    machine.current_context("mine");
    machine.context("mine", &docker(&unix(&fake.socket())));
    machine.sources.docker_config = Some(machine.dir.path().join("home/.docker"));
    machine.sources.home = None;
    assert!(matches!(machine.find().await.unwrap().origin, Origin::Context { .. }));
    machine.sources.docker_config = None;
    machine.sources.docker_context = Some("mine".to_owned());
    let error = machine.find().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("no directory of contexts"), "{error}");
}

/// What a context can be, and what is said about it; `{file}` is its file.
#[tokio::test]
async fn a_context_that_cannot_be_used_is_an_error_that_names_its_file() {
    for (endpoint, kind, text) in [
        (r#""kubernetes":{"Host":"x"}"#, ErrorKind::InvalidInput, "names no Docker engine"),
        (r#""docker":{"Host":""}"#, ErrorKind::InvalidInput, "names no Docker engine"),
        (r#""docker":7"#, ErrorKind::InvalidInput, "is not what Docker writes"),
        (r#""docker":{"Host":"ssh://me:hunter2@far"}"#, ErrorKind::Unsupported, "SSH"),
        (r#""docker":{"Host":"npipe:////./pipe/x"}"#, ErrorKind::Unsupported, "not supported"),
        (
            r#""docker":{"Host":"tcp://h:2376","SkipTLSVerify":true}"#,
            ErrorKind::Unsupported,
            "without verification",
        ),
    ] {
        let (machine, local) = (Machine::new(), engine());
        machine.listens(SYSTEM, &local);
        machine.current_context("far");
        let file = machine.context("far", endpoint);
        let error = machine.find().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Permanent), "{error}");
        assert!(error.message().contains(text), "{endpoint}: {error}");
        assert!(error.message().contains(&file.display().to_string()), "{error}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
        assert!(!error.chain().contains("hunter2"), "{error}");
        assert_eq!(local.count("GET /version"), 0, "nobody else is asked");
    }
}

#[tokio::test]
async fn a_context_that_is_not_there_or_does_not_answer_is_never_replaced() {
    let (machine, local) = (Machine::new(), engine());
    machine.listens(SYSTEM, &local);
    let config = machine.current_context("gone");
    let error = machine.find().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    for part in ["\"gone\"", "does not exist", "meta.json", &config.display().to_string()] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    machine.context("gone", &docker("unix:///nonexistent/x.sock"));
    let error = machine.find().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary), "{error}");
    assert!(
        error.message().contains("/nonexistent/x.sock") && error.message().contains("\"gone\""),
        "{error}"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("docker context use")), "{error}");
    assert_eq!(local.count("GET /version"), 0, "nobody else is asked");
}

#[tokio::test]
async fn a_damaged_config_is_an_error_that_quotes_nothing() {
    for text in
        ["{", "[]", r#"{"auths":"hunter2","currentContext":{"hunter2":1}}"#, r#"{"currentContext":"hunter2"#]
    {
        let (machine, local) = (Machine::new(), engine());
        machine.listens(SYSTEM, &local);
        let file = machine.write("home/.docker/config.json", text);
        let error = machine.find().await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidInput, Retry::Permanent), "{error}");
        assert!(error.message().contains(&file.display().to_string()), "{error}");
        assert!(!error.chain().contains("hunter2"), "{error}");
    }
    // A directory in its place, too.
    let machine = Machine::new();
    fs::create_dir_all(machine.path("home/.docker/config.json")).unwrap();
    assert_eq!(machine.find().await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn an_address_that_cannot_be_read_names_its_source_and_no_password() {
    for (value, kind) in [
        ("docker.sock", ErrorKind::InvalidInput),
        ("tcp://me:hunter2@h:1", ErrorKind::InvalidInput),
        ("ssh://me:hunter2@h", ErrorKind::Unsupported),
    ] {
        let mut machine = Machine::new();
        machine.sources.docker_host = Some(value.to_owned());
        let error = machine.find().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains("DOCKER_HOST") && error.hint().is_some(), "{error}");
        machine.sources.explicit = Some(Setting { name: "MY_ENGINE".to_owned(), value: value.to_owned() });
        let ours = machine.find().await.unwrap_err();
        assert!(ours.message().contains("MY_ENGINE"), "{ours}");
        assert!(!format!("{error:?} {} {ours:?} {}", error.chain(), ours.chain()).contains("hunter2"));
    }
}

// ---- the usual sockets

#[tokio::test]
async fn the_first_usual_socket_that_answers_wins() {
    let (machine, podman, colima) = (Machine::new(), engine(), engine());
    machine.listens("root/run/podman/podman.sock", &podman);
    // One that nobody listens on, one that never answers, one that is something else.
    drop(UnixListener::bind(machine.path(SYSTEM)).unwrap());
    let silent = Fake::bare(|_| Reply::Silence);
    machine.listens("run/docker.sock", &silent);
    let web = Fake::bare(|_| ok("<html>"));
    machine.listens("home/.docker/run/docker.sock", &web);
    let found = machine.find().await.unwrap();
    assert_eq!(found.origin, Origin::UsualSocket("Podman"));
    machine.listens("home/.colima/default/docker.sock", &colima);
    let found = machine.find().await.unwrap();
    assert_eq!(found.origin, Origin::UsualSocket("Colima"));
    assert_eq!(podman.count("GET /version"), 1, "nobody is asked after the first that answers");
    assert_eq!(found.host.to_string(), unix(&machine.path("home/.colima/default/docker.sock")));
}

#[tokio::test]
async fn where_nothing_answers_every_place_is_named_with_its_reason() {
    let machine = Machine::new();
    drop(UnixListener::bind(machine.path(SYSTEM)).unwrap());
    let silent = Fake::bare(|_| Reply::Silence);
    machine.listens("run/docker.sock", &silent);
    let web = Fake::bare(|_| ok("<html>"));
    machine.listens("run/podman/podman.sock", &web);
    let busy = Fake::bare(|_| fail(503, "busy"));
    machine.listens("root/run/podman/podman.sock", &busy);
    let began = Instant::now();
    let error = machine.find().await.unwrap_err();
    assert!(began.elapsed() < LIMIT * 4, "one place was silent: {:?}", began.elapsed());
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary), "{error}");
    for part in [
        "root/var/run/docker.sock (Docker): nobody listens",
        "run/docker.sock (rootless Docker): no answer within 300ms",
        "home/.docker/run/docker.sock (Docker Desktop): not there",
        "home/.docker/desktop/docker.sock (Docker Desktop for Linux): not there",
        "home/.colima/default/docker.sock (Colima): not there",
        "run/podman/podman.sock (rootless Podman): not a container engine",
        "root/run/podman/podman.sock (Podman): busy",
    ] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert!(error.hint().is_some_and(|hint| hint.contains("DOCKER_HOST")), "{error}");
    silent.quiet().await;
}

// ---- without TLS in the build

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn without_the_feature_tls_an_engine_behind_it_is_refused_with_the_features_name() {
    use runner_docker::{DockerConfig, DockerHost, DockerRuntime, TlsFiles};
    let mut verify = Machine::new();
    verify.sources.docker_host = Some("tcp://127.0.0.1:1".to_owned());
    verify.sources.docker_tls_verify = Some("1".to_owned());
    let mut https = Machine::new();
    https.sources.docker_host = Some("https://127.0.0.1:1".to_owned());
    let context = Machine::new();
    context.current_context("far");
    context.context("far", &docker("tcp://127.0.0.1:1"));
    let id = format!("{:x}", Sha256::digest("far"));
    context.write(&format!("home/.docker/contexts/tls/{id}/docker/ca.pem"), "");
    let host = DockerHost::Tls { host: "127.0.0.1".to_owned(), port: 1, files: TlsFiles::default() };
    for error in [
        verify.find().await.unwrap_err(),
        https.find().await.unwrap_err(),
        context.find().await.unwrap_err(),
        DockerRuntime::connect(DockerConfig { host, ..DockerConfig::default() }).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Permanent), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("feature `tls`")), "{error}");
    }
}
