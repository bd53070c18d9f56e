//! A scripted engine on a Unix socket, for what a real one cannot be brought to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test's own scaffolding says what it expects by unwrapping, and not every test uses all of it"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runner_docker::{DockerConfig, DockerHost, DockerRuntime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a test waits for what happens at once, so that it fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request, as the fake saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `POST /containers/abc/stop`, without the query and without the interface's version.
    pub(crate) what: String,
    /// `1.53` of `/v1.53/containers/…`.
    pub(crate) version: Option<String>,
    pub(crate) query: String,
    /// The request's line and headers, as they came.
    pub(crate) head: String,
    pub(crate) body: String,
    /// How many requests of the same method and path came before this one.
    pub(crate) nth: usize,
}

impl Call {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }
}

/// What the fake does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole reply.
    Json(u16, String),
    /// A reply with one more header and no body.
    Head(u16, &'static str, String),
    /// A body in pieces, and then what?
    Stream(Vec<Vec<u8>>, Then),
    /// Takes the request and never answers.
    Silence,
    /// Takes the request and closes the connection.
    Hangup,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// A clean end of the body.
    End,
    /// The connection breaks within the body.
    Cut,
    /// Nothing more, and the connection stays open.
    Stall,
}

pub(crate) fn ok(json: impl Into<String>) -> Reply {
    Reply::Json(200, json.into())
}

pub(crate) fn fail(status: u16, message: &str) -> Reply {
    Reply::Json(status, format!(r#"{{"message":{message:?}}}"#))
}

/// To a request that no script foresees: a status that nothing else gives, so that the test says which it was.
pub(crate) fn unexpected(call: &Call) -> Reply {
    fail(599, &format!("unexpected: {}", call.what))
}

/// Frames of container output, as an engine sends them.
pub(crate) fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], length.as_slice(), payload].concat()
}

/// A frame with the moment of its entry.
pub(crate) fn entry(stream: u8, second: u32, text: &str) -> Vec<u8> {
    frame(stream, format!("2026-01-01T00:00:{second:02}.000000000Z {text}").as_bytes())
}

pub(crate) struct Fake {
    dir: TempDir,
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    script: Box<Script>,
    seen: Mutex<Vec<Call>>,
    counts: Mutex<HashMap<String, usize>>,
    open: watch::Sender<usize>,
    /// How often the engine has gone away.
    departures: watch::Sender<usize>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
    }
}

type Script = dyn Fn(&Call) -> Reply + Send + Sync;

impl Fake {
    /// An engine that answers every request as the script says, except for the two that a connection begins with.
    pub(crate) fn engine(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::bare(move |call| match call.what.as_str() {
            "GET /version" => {
                ok(r#"{"Version":"99.0-fake","ApiVersion":"1.99","Components":[{"Name":"Engine"}]}"#)
            }
            "GET /info" => {
                ok(r#"{"Architecture":"x86_64","DockerRootDir":"/nonexistent/data","SecurityOptions":[]}"#)
            }
            _ => script(call),
        })
    }

    /// Anything that listens on a socket.
    pub(crate) fn bare(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let inner = Inner {
            script: Box::new(script),
            seen: Mutex::default(),
            counts: Mutex::default(),
            open: watch::channel(0).0,
            departures: watch::channel(0).0,
        };
        let fake = Self { dir: tempfile::tempdir().unwrap(), inner: Arc::new(inner), task: Mutex::new(None) };
        fake.back();
        fake
    }

    /// Listens, after [`away`](Self::away) again.
    pub(crate) fn back(&self) {
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let inner = Arc::clone(&inner);
                tokio::spawn(async move {
                    inner.open.send_modify(|n| *n += 1);
                    // A peer that goes away in the middle is part of what is tested.
                    let _ = serve(stream, &inner).await;
                    inner.open.send_modify(|n| *n -= 1);
                });
            }
        });
        *self.task.lock().unwrap() = Some(task);
    }

    /// Cuts what is open and listens no more: who connects is refused.
    pub(crate) async fn away(&self) {
        let task = self.task.lock().unwrap().take().unwrap();
        task.abort();
        let _ = task.await;
        self.inner.departures.send_modify(|n| *n += 1);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// A configuration for this engine with limits that a test can wait for.
    pub(crate) fn config(&self) -> DockerConfig {
        let mut config = DockerConfig { host: DockerHost::Unix(self.socket()), ..DockerConfig::default() };
        let limits = &mut config.budgets;
        limits.connect = Duration::from_millis(300);
        limits.read = Duration::from_millis(300);
        limits.create = Duration::from_millis(300);
        limits.lost_reply = Duration::from_millis(300);
        limits.start = Duration::from_millis(300);
        limits.ports = Duration::from_millis(300);
        limits.stop_margin = Duration::from_millis(300);
        limits.remove = Duration::from_millis(600);
        limits.pull = Duration::from_secs(5);
        limits.pull_pause = Duration::from_millis(10);
        limits.stats = Duration::from_millis(300);
        limits.copy = Duration::from_millis(600);
        limits.pull_idle = Duration::from_millis(300);
        limits.stream_idle = Duration::from_millis(100);
        limits.reconnect = Duration::from_millis(600);
        limits.queue = Duration::from_millis(300);
        config
    }

    pub(crate) async fn connect(&self) -> DockerRuntime {
        DockerRuntime::connect(self.config()).await.unwrap()
    }

    /// How often a request came, by method and path.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.calls(what).len()
    }

    /// The requests of one method and path.
    pub(crate) fn calls(&self, what: &str) -> Vec<Call> {
        self.inner.seen.lock().unwrap().iter().filter(|call| call.what == what).cloned().collect()
    }

    /// All requests.
    pub(crate) fn all(&self) -> Vec<Call> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// Returns when a request has come.
    pub(crate) async fn saw(&self, what: &str) {
        let seen = async {
            while self.count(what) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("nobody asked for {what}"));
    }

    /// Returns when no connection is open.
    pub(crate) async fn quiet(&self) {
        let mut open = self.inner.open.subscribe();
        let quiet = timeout(PATIENCE, open.wait_for(|n| *n == 0)).await;
        quiet.expect("a connection stays open").unwrap();
    }
}

async fn serve(mut stream: UnixStream, inner: &Inner) -> std::io::Result<()> {
    let Some((target, query, head, body)) = request(&mut stream).await? else { return Ok(()) };
    let (what, version) = unversioned(&target);
    let nth = {
        let mut counts = inner.counts.lock().unwrap();
        let count = counts.entry(what.clone()).or_insert(0);
        *count += 1;
        *count - 1
    };
    let call = Call { what, version, query, head, body, nth };
    inner.seen.lock().unwrap().push(call.clone());
    let is_head = call.what.starts_with("HEAD ");
    match (inner.script)(&call) {
        Reply::Head(status, name, value) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\n{name}: {value}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
        }
        Reply::Json(status, text) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            stream.write_all(head.as_bytes()).await?;
            // These have no body, whatever they say.
            if status != 304 && status != 204 && !is_head {
                stream.write_all(text.as_bytes()).await?;
            }
        }
        Reply::Stream(pieces, then) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            for piece in pieces {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                stream.write_all(&piece).await?;
                stream.write_all(b"\r\n").await?;
                stream.flush().await?;
                tokio::task::yield_now().await;
            }
            match then {
                Then::End => stream.write_all(b"0\r\n\r\n").await?,
                Then::Cut => {}
                Then::Stall => gone(&mut stream, inner).await,
            }
        }
        Reply::Silence => gone(&mut stream, inner).await,
        Reply::Hangup => {}
    }
    Ok(())
}

/// `GET /v1.41/info` → `GET /info` and `1.41`.
fn unversioned(target: &str) -> (String, Option<String>) {
    let (method, path) = target.split_once(' ').unwrap();
    let version = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    match version {
        Some((version, rest)) if version.starts_with(|c: char| c.is_ascii_digit()) => {
            (format!("{method} /{rest}"), Some(version.to_owned()))
        }
        _ => (target.to_owned(), None),
    }
}

/// Returns when the peer has closed its side, or the engine goes away.
async fn gone(stream: &mut UnixStream, inner: &Inner) {
    let mut rest = Vec::new();
    let mut departures = inner.departures.subscribe();
    tokio::select! {
        _ = stream.read_to_end(&mut rest) => {}
        _ = departures.changed() => {}
    }
}

/// Method and path, query, head, body; `None` if the peer went away.
async fn request(stream: &mut UnixStream) -> std::io::Result<Option<(String, String, String, String)>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let (head, mut body) = loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&buffer[..n]);
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let body = bytes.split_off(at + 4);
            break (String::from_utf8(bytes).unwrap(), body);
        }
    };
    let length: usize = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().parse().unwrap())
        })
        .unwrap_or(0);
    while body.len() < length {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(None);
        }
        body.extend_from_slice(&buffer[..n]);
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    assert!(head.to_ascii_lowercase().contains("\r\nhost: "), "HTTP/1.1 wants a host: {head}");
    let (what, query) = (format!("{method} {path}"), query.to_owned());
    Ok(Some((what, query, head, String::from_utf8_lossy(&body).into_owned())))
}
