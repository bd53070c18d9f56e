//! What the tests of this crate share: clients with short limits, and a server that does as it is told.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use runner_core::endpoint::Credentials;
use runner_core::{AgentApi, AgentConnector, Endpoint, Secret};
use runner_opencode::{OpenCodeConfig, OpenCodeConnector, TimeLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const DIRECTORY: &str = "/workspace";
pub(crate) const PASSWORD: &str = "pw-SECRET";

/// Long enough for a busy machine, short enough to wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// Every limit is so generous that only a hang reaches it.
pub(crate) fn generous() -> OpenCodeConfig {
    // Scripted servers answer the stream alone; the proof has tests of its own.
    OpenCodeConfig { prove_events: false, ..OpenCodeConfig::default() }
}

/// Every call gives up soon.
pub(crate) fn hasty() -> OpenCodeConfig {
    let limits = TimeLimits {
        connect: SHORT,
        health: SHORT,
        create_session: SHORT,
        warm_up: SHORT,
        prompt: SHORT,
        abort: SHORT,
        answer: SHORT,
        messages: SHORT,
        status: SHORT,
        open_events: SHORT,
        silence: SHORT,
    };
    OpenCodeConfig { limits, ..generous() }
}

pub(crate) fn endpoint(base_url: impl Into<String>) -> Endpoint {
    Endpoint {
        base_url: base_url.into(),
        credentials: Credentials { username: "opencode".to_owned(), password: Secret::new(PASSWORD) },
        directory: DIRECTORY.to_owned(),
    }
}

pub(crate) async fn client(base_url: impl Into<String>, config: OpenCodeConfig) -> Arc<dyn AgentApi> {
    let connector = OpenCodeConnector::new(config).expect("a client");
    connector.connect(endpoint(base_url)).await.expect("a usable address")
}

pub(crate) fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The recorded scenarios that have a file with this ending, by name.
pub(crate) fn recordings(ending: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("recordings")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
        .collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = fixture(&format!("recorded/{name}{ending}"));
            (name, text)
        })
        .collect()
}

/// What the server does with a connection, after it has read the request's head.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends bytes as they are.
    Raw(Vec<u8>),
    /// Sends the head of an event stream.
    Stream,
    /// Sends a piece of the body as one HTTP chunk.
    Chunk(Vec<u8>),
    /// Ends the body properly.
    End,
    Wait(Duration),
    /// Keeps the connection open for ever.
    Hold,
}

pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Step {
    Step::Chunk(bytes.as_ref().to_vec())
}

/// The frame with which every event stream begins.
pub(crate) const CONNECTED: &str =
    "data: {\"payload\":{\"id\":\"evt_1\",\"type\":\"server.connected\",\"properties\":{}}}\n\n";

/// A server that plays the same script on every connection.
pub(crate) struct Scripted {
    pub(crate) url: String,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) sent: Arc<AtomicUsize>,
    /// Connections whose client has gone while the script was held.
    pub(crate) closed: Arc<AtomicUsize>,
}

impl Scripted {
    pub(crate) async fn start(script: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let this = Self { url, connections: Arc::default(), sent: Arc::default(), closed: Arc::default() };
        let (connections, sent, closed) = (this.connections.clone(), this.sent.clone(), this.closed.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(socket, script.clone(), sent.clone(), closed.clone()));
            }
        });
        this
    }

    /// An event stream: its head, `server.connected`, then these steps.
    pub(crate) async fn events(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut script = vec![Step::Stream, chunk(CONNECTED)];
        script.extend(steps);
        Self::start(script).await
    }
}

async fn play(mut socket: TcpStream, script: Vec<Step>, sent: Arc<AtomicUsize>, closed: Arc<AtomicUsize>) {
    let _ = socket.set_nodelay(true);
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    for step in script {
        let bytes = match step {
            Step::Raw(bytes) => bytes,
            Step::Stream => b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                              Transfer-Encoding: chunked\r\n\r\n"
                .to_vec(),
            Step::Chunk(bytes) => {
                let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
                framed.extend_from_slice(&bytes);
                framed.extend_from_slice(b"\r\n");
                framed
            }
            Step::End => b"0\r\n\r\n".to_vec(),
            Step::Wait(time) => {
                tokio::time::sleep(time).await;
                continue;
            }
            Step::Hold => {
                while socket.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
                closed.fetch_add(1, Ordering::SeqCst);
                return;
            }
        };
        if socket.write_all(&bytes).await.is_err() {
            closed.fetch_add(1, Ordering::SeqCst);
            return;
        }
        sent.fetch_add(bytes.len(), Ordering::SeqCst);
    }
}
