//! The environment decides which engine the stack uses, and the log says so once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use runner_compat::{Environment, Stack, StackConfig};
use runner_core::{ErrorKind, Result};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tracing_subscriber::fmt::MakeWriter;

/// An engine that can be connected to, and no more.
fn engine(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            let version = request[..n].starts_with(b"GET /version ");
            let body = if version { r#"{"Version":"1","ApiVersion":"1.41"}"# } else { "{}" };
            let length = body.len();
            let reply =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
    });
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    async fn connect(&self, variables: &[(&str, &str)]) -> Result<Stack> {
        let workspaces = self.path("workspaces").display().to_string();
        let all = variables.iter().copied().chain([("CNAP_RUNNER_WORKSPACE_DIR", workspaces.as_str())]);
        Stack::connect(StackConfig::from_env(&all.collect::<Environment>())?).await
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_engine_that_is_used_is_logged_once_with_what_named_it() {
    let place = Place::new();
    let (ours, dockers) = (place.path("ours.sock"), place.path("dockers.sock"));
    engine(&ours);
    engine(&dockers);
    let (ours, dockers) = (ours.display().to_string(), format!("unix://{}", dockers.display()));
    let both = [("CNAP_RUNNER_DOCKER_HOST", ours.as_str()), ("DOCKER_HOST", dockers.as_str())];
    for (variables, used, named_by) in [
        (&both[..], format!("unix://{ours}"), "CNAP_RUNNER_DOCKER_HOST"),
        (&both[1..], dockers.clone(), "DOCKER_HOST"),
    ] {
        let log = Log::default();
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        let guard = tracing::subscriber::set_default(lines);
        place.connect(variables).await.unwrap();
        drop(guard);
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(&used)).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(
            lines[0].contains(" INFO ") && lines[0].contains(&format!("named_by=\"{named_by}\"")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_was_named_is_the_only_one_that_is_tried() {
    let place = Place::new();
    let error = place.connect(&[("DOCKER_HOST", "tcp://127.0.0.1:1")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EngineUnavailable, "{error}");
    assert!(
        error.message().contains("DOCKER_HOST: ") && error.message().contains("tcp://127.0.0.1:1"),
        "{error}"
    );
    let docker = place.path("docker").display().to_string();
    let context = [("DOCKER_CONTEXT", "far"), ("DOCKER_CONFIG", docker.as_str())];
    let error = place.connect(&context).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.message().contains("\"far\" (DOCKER_CONTEXT) does not exist"), "{error}");
}

#[tokio::test]
async fn an_engine_behind_tls_is_never_spoken_to_in_the_clear() {
    let place = Place::new();
    let certs = place.path("certs").display().to_string();
    let verify = [
        ("DOCKER_HOST", "tcp://127.0.0.1:1"),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", certs.as_str()),
    ];
    let error = place.connect(&verify).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(
        error.message().contains("DOCKER_HOST: ") && error.message().contains("ca.pem is missing"),
        "{error}"
    );
}
