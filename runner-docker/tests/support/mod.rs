//! A scripted engine on a Unix socket, for what a real one cannot be brought to do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's own scaffolding says what it expects by unwrapping; clippy only knows test functions"
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
    /// `POST /containers/abc/stop`, without the query.
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) body: String,
    /// How many requests of the same method and path came before this one.
    pub(crate) nth: usize,
}

/// What the fake does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A whole reply.
    Json(u16, String),
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
    seen: Arc<Mutex<Vec<Call>>>,
    open: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
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
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("docker.sock")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let calls = Arc::clone(&seen);
        let (count, open) = watch::channel(0);
        let task = tokio::spawn(async move {
            let counts = Arc::new(Mutex::new(HashMap::new()));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, calls, counts) = (Arc::clone(&script), Arc::clone(&calls), Arc::clone(&counts));
                let count = count.clone();
                tokio::spawn(async move {
                    count.send_modify(|n| *n += 1);
                    // A peer that goes away in the middle is part of what is tested.
                    let _ = serve(stream, &*script, &calls, &counts).await;
                    count.send_modify(|n| *n -= 1);
                });
            }
        });
        Self { dir, seen, open, task }
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
        limits.start = Duration::from_millis(300);
        limits.ports = Duration::from_millis(300);
        limits.stop_margin = Duration::from_millis(300);
        limits.remove = Duration::from_millis(600);
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
        self.seen.lock().unwrap().iter().filter(|call| call.what == what).cloned().collect()
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
        let mut open = self.open.clone();
        let quiet = timeout(PATIENCE, open.wait_for(|n| *n == 0)).await;
        quiet.expect("a connection stays open").unwrap();
    }
}

async fn serve(
    mut stream: UnixStream,
    script: &Script,
    seen: &Mutex<Vec<Call>>,
    counts: &Mutex<HashMap<String, usize>>,
) -> std::io::Result<()> {
    let Some((what, query, body)) = request(&mut stream).await? else { return Ok(()) };
    let nth = {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(what.clone()).or_insert(0);
        *count += 1;
        *count - 1
    };
    let call = Call { what, query, body, nth };
    seen.lock().unwrap().push(call.clone());
    match script(&call) {
        Reply::Json(status, text) => {
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            stream.write_all(head.as_bytes()).await?;
            // These have no body, whatever they say.
            if status != 304 && status != 204 {
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
                Then::Stall => gone(&mut stream).await,
            }
        }
        Reply::Silence => gone(&mut stream).await,
        Reply::Hangup => {}
    }
    Ok(())
}

/// Returns when the peer has closed its side.
async fn gone(stream: &mut UnixStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

/// Method and path, query, body; `None` if the peer went away.
async fn request(stream: &mut UnixStream) -> std::io::Result<Option<(String, String, String)>> {
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
    Ok(Some((format!("{method} {path}"), query.to_owned(), String::from_utf8(body).unwrap())))
}
