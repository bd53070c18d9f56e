//! A stand-in for a language model: an OpenAI-compatible server whose answers are scripted by the prompt.
//!
//! It serves `POST /v1/chat/completions` (streaming or not) and `GET /v1/models`, which is all that OpenCode needs
//! from a provider entry with `"npm": "@ai-sdk/openai-compatible"` and [`StubModel::base_url`] as its `baseURL`.
//! No internet, no key, no surprises: what a turn meets is written in its prompt.
//!
//! ```
//! # async fn example() -> Result<(), runner_testkit::stub_model::StubModelError> {
//! use runner_testkit::stub_model::StubModel;
//!
//! let model = StubModel::builder().api_key("test-key").start().await?;
//! println!("give this to the agent: {}", model.base_url());
//! // … run a turn with the prompt `[[run: echo hi > hello.txt]]` …
//! assert_eq!(model.dropped_requests(), 0);
//! model.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The prompt is the script
//!
//! Directives stand anywhere in the last user message; the text around them is commentary. They run in order. **A tool
//! call ends the answer it stands in**: what follows belongs to the next call of the model, which comes with the
//! tool's result. A step without any content of its own says what the tools answered (or, as the first step, greets).
//!
//! | directive | what the model does |
//! |---|---|
//! | `[[say: text]]` | streams the text word by word; `[[say: "a\n b"]]` (a JSON string) keeps blanks and line ends |
//! | `[[think: text]]` | the same as `reasoning_content` |
//! | `[[slow: 200ms x 10]]` | ten pieces of text, 200 ms before each |
//! | `[[wait: 2s]]` | a pause inside the stream |
//! | `[[delay: 2s]]` | a pause before the response headers |
//! | `[[big: 2MB]]` | that much text (B, KB, MB; up to 64MB) |
//! | `[[recall]]` | lists the earlier user messages and answers in the request: proof of a remembered conversation |
//! | `[[output]]` | quotes what the tools answered in this turn |
//! | `[[empty]]` | an answer without text, `finish_reason` `stop` |
//! | `[[run: echo hi > hello.txt]]` | calls the tool `bash` with that command |
//! | `[[read: hello.txt]]` | calls the tool `read` with that path |
//! | `[[tool: NAME {"a": 1}]]` | calls any tool, offered or not, with these arguments |
//! | `[[and]]` | between two tool calls: both in the same answer |
//! | `[[finish: length]]` | another `finish_reason`: `stop`, `length`, `content_filter`, `tool_calls`, `other` |
//! | `[[tokens: in=9, out=3, cached=1, reasoning=2]]` | the usage that this answer reports; what is left out is estimated |
//! | `[[status: 429 retry-after=1 times=2 code=C message="M"]]` | an HTTP error (400 to 599); all options may be left out |
//! | `[[malformed: KIND times=N]]` | `html`: a page with status 200 · `truncated`: a stream without `finish_reason` and `[DONE]` · `json`: a chunk that is not JSON · `error`: an error object inside the stream · `cut`: the connection breaks · `arguments` (without `times`): a `bash` call with broken JSON |
//! | `[[hang: KIND times=N]]` | `headers` (the default): no response at all · `stream`: the stream begins and stalls |
//!
//! - `times=N`: it happens for the first N requests of this step of the turn, then the step goes on with what follows.
//!   Without it, it happens always, and nothing may follow.
//! - Names: lower case. Times: `ms`, `s`, `m`, up to `60m`.
//! - Inside a directive, `[[` and `]]` must balance (`[[run: [[ -f x ]] && echo yes]]`); the JSON of `tool` may hold
//!   anything. `\[[` is ordinary text, and so is `[[` before anything but a letter (`[[ -f x ]]`, `[[1, 2]]`).
//! - What cannot be followed is answered with HTTP 400 and an error that quotes the directive. It is never ignored.
//! - Requests for a title or a summary, which OpenCode makes beside a turn and which quote the prompt, get a fixed
//!   plain answer and touch no counter.
//!
//! The server derives the step from the messages of the request, so a repeated request gets the same answer and a
//! restarted server goes on where the old one was. The counts of `times=` alone are kept in memory (per session,
//! prompt and step).

mod chunks;
mod counters;
mod listener;
mod log;
mod options;
mod request;
mod scan;
mod script;
mod server;
mod step;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::counters::Counters;
use self::listener::BoundedListener;
use self::log::Log;
use self::server::{Shared, lock, router};
use self::step::Manner;

pub use self::log::RecordedRequest;
pub use self::request::RequestKind;

/// How long a shutdown lets answers in progress go on.
const GRACE: Duration = Duration::from_secs(1);

/// Why a stub model could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StubModelError {
    /// The address cannot be listened on: it is in use, not of this machine, or not permitted.
    #[error("the stub model cannot listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Settings of a [`StubModel`]; the defaults suit a test.
#[derive(Clone)]
pub struct StubModelBuilder {
    api_key: Option<String>,
    models: Vec<String>,
    manner: Manner,
    pace: Duration,
    max_body: usize,
    max_connections: u16,
    log_capacity: usize,
}

impl std::fmt::Debug for StubModelBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StubModelBuilder")
            .field("api_key", &self.api_key.as_ref().map(|_| "***"))
            .field("models", &self.models)
            .field("manner", &self.manner)
            .field("pace", &self.pace)
            .field("max_body", &self.max_body)
            .field("max_connections", &self.max_connections)
            .field("log_capacity", &self.log_capacity)
            .finish()
    }
}

impl Default for StubModelBuilder {
    fn default() -> Self {
        Self {
            api_key: None,
            models: Vec::new(),
            manner: Manner::default(),
            // As fast as possible; a demo for people wants some tens of milliseconds.
            pace: Duration::ZERO,
            // A long OpenCode session is about a megabyte.
            max_body: 16 * 1024 * 1024,
            // More than any test opens at once, well below the usual limit of open files.
            max_connections: 256,
            log_capacity: 256,
        }
    }
}

impl StubModelBuilder {
    /// Demands `Authorization: Bearer KEY`; other requests get 401. Default: everybody is served.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Adds a model. Once one is named, requests for others get 404 `model_not_found`. Default: any name is served.
    #[must_use]
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.models.push(name.into());
        self
    }

    /// Makes a prompt without directives do something to look at: a sentence, a `bash` call that writes the prompt
    /// into `hello.txt`, and a last answer that quotes the file. Default: such a prompt is greeted and quoted.
    ///
    /// Requests that offer no tool `bash` are greeted in any case.
    #[must_use]
    pub fn demo_behaviour(mut self, on: bool) -> Self {
        self.manner.demo = on;
        self
    }

    /// Waits this long before each word. Default: zero.
    #[must_use]
    pub fn word_pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// The largest request body; larger ones get 413. Default: 16 MiB.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// The most connections at a time (at least 1); further ones wait until one ends. Default: 256.
    #[must_use]
    pub fn max_connections(mut self, count: u16) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// How many requests are kept for [`StubModel::requests`] (at least 1). Default: 256.
    #[must_use]
    pub fn log_capacity(mut self, count: usize) -> Self {
        self.log_capacity = count;
        self
    }

    /// Listens on a port of the loopback interface that the system picks.
    pub async fn start(self) -> Result<StubModel, StubModelError> {
        self.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Listens on `addr`; with port 0 the system picks one (see [`StubModel::addr`]).
    pub async fn bind(self, addr: SocketAddr) -> Result<StubModel, StubModelError> {
        let failed = |source| StubModelError::Bind { addr, source };
        let inner = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = inner.local_addr().map_err(failed)?;

        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let shared = Arc::new(Shared {
            api_key: self.api_key,
            models: self.models,
            manner: self.manner,
            pace: self.pace,
            max_body: self.max_body,
            log: Log::new(self.log_capacity).into(),
            counters: Counters::default().into(),
            seen: watch::Sender::new(0),
            in_flight: AtomicUsize::new(0),
            stop: stop.clone(),
        });
        let places = Arc::new(Semaphore::new(self.max_connections.into()));
        let listener = BoundedListener { inner, places: Arc::clone(&places), kill: kill.clone() };
        let server = axum::serve(listener, router(Arc::clone(&shared)))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "stub model: the server ended");
            }
        });
        Ok(StubModel { addr, shared, places, connections: self.max_connections, stop, kill, task })
    }
}

/// A running stub model. Dropping it stops it at once; [`StubModel::shutdown`] also waits for that.
pub struct StubModel {
    addr: SocketAddr,
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    connections: u16,
    /// No new connections, no more hanging.
    stop: CancellationToken,
    /// Every connection ends.
    kill: CancellationToken,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for StubModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StubModel").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl StubModel {
    /// Settings to start one with.
    pub fn builder() -> StubModelBuilder {
        StubModelBuilder::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The `baseURL` of a provider entry, ending in `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// The same under another host name or address, as a container may have to call it.
    pub fn base_url_at(&self, host: &str) -> String {
        format!("http://{host}:{}/v1", self.addr.port())
    }

    /// The newest chat completion requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.shared.log).kept()
    }

    /// How many older requests are no longer kept.
    pub fn dropped_requests(&self) -> u64 {
        lock(&self.shared.log).dropped()
    }

    /// How many requests there were ever.
    pub fn requests_seen(&self) -> u64 {
        *self.shared.seen.borrow()
    }

    /// Requests whose answer has not ended.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Waits until there were at least `count` requests; `false` when `limit` passes first.
    pub async fn wait_for_requests(&self, count: u64, limit: Duration) -> bool {
        let mut seen = self.shared.seen.subscribe();
        matches!(timeout(limit, seen.wait_for(|seen| *seen >= count)).await, Ok(Ok(_)))
    }

    /// Stops listening, lets answers in progress go on for a second, then breaks what is left. When it returns, the
    /// port is free and no connection remains.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if timeout(GRACE, self.idle()).await.is_err() {
            self.kill.cancel();
            if timeout(GRACE, self.idle()).await.is_err() {
                tracing::warn!("stub model: a connection did not end");
            }
        }
        if timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }

    /// Every connection's place is free again.
    async fn idle(&self) {
        drop(self.places.acquire_many(self.connections.into()).await);
    }
}

impl Drop for StubModel {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}
