//! The HTTP shell: reads a request, asks `step` what to do, sends what `chunks` makes of it.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::chunks::{Frame, Head, Whole, WholeBody, frames, whole};
use super::counters::{Counters, TurnKey};
use super::log::{Log, RecordedRequest};
use super::request::ChatRequest;
use super::step::{Answer, Manner, Plan, Reply, decide};

/// A client that sends its body slower than this is not one of ours.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Between the last words and a scripted break of the connection.
const BEFORE_BREAK: Duration = Duration::from_millis(50);
/// OpenCode's name for its conversation.
const SESSION_HEADER: &str = "x-session-id";

/// What the handlers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) api_key: Option<String>,
    /// Empty: any name is accepted.
    pub(super) models: Vec<String>,
    pub(super) manner: Manner,
    pub(super) pace: Duration,
    pub(super) max_body: usize,
    pub(super) log: Mutex<Log>,
    pub(super) counters: Mutex<Counters>,
    pub(super) seen: watch::Sender<u64>,
    pub(super) in_flight: AtomicUsize,
    pub(super) stop: CancellationToken,
}

/// A poisoned lock is still good here: what it guards is never left half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(completions).fallback(wrong_method))
        .route("/v1/models", get(models).fallback(wrong_method))
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "not_found", "no such path").response() })
        .with_state(shared)
}

async fn wrong_method() -> Response {
    let mut response =
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "no such method here").response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    response
}

async fn models(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !shared.authorised(&headers) {
        return Refusal::key().response();
    }
    let names = if shared.models.is_empty() { vec!["stub".to_owned()] } else { shared.models.clone() };
    let list: Vec<_> = names
        .iter()
        .map(|name| json!({"id": name, "object": "model", "created": 0, "owned_by": "stub"}))
        .collect();
    json_response(StatusCode::OK, &json!({"object": "list", "data": list}))
}

async fn completions(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let guard = InFlight::new(&shared);
    let (parts, body) = request.into_parts();
    let authorised = shared.authorised(&parts.headers);
    let read = if authorised { read(&shared, &parts.headers, body).await } else { Err(Refusal::key()) };
    let mut record = RecordedRequest::new(&parts.headers, authorised, read.as_ref().ok());
    let decided = read.and_then(|chat| {
        let plan = shared.plan(&parts.headers, &chat)?;
        Ok((chat, plan))
    });
    record.reply = match &decided {
        Ok((_, plan)) => plan.reply.label(),
        Err(refusal) => format!("refused: {}", refusal.message),
    };
    let number = shared.record(record);
    match decided {
        Ok((chat, plan)) => reply(&shared, guard, chat, plan, number).await,
        Err(refusal) => refusal.response(),
    }
}

impl Shared {
    fn authorised(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.api_key else { return true };
        headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .is_some_and(|given| given == key)
    }

    fn plan(&self, headers: &HeaderMap, chat: &ChatRequest) -> Result<Plan, Refusal> {
        if !self.models.is_empty() && !self.models.contains(&chat.model) {
            let message = format!("the model `{}` does not exist", chat.model);
            return Err(Refusal::new(StatusCode::NOT_FOUND, "model_not_found", message));
        }
        if chat.prompt().is_none() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "no_prompt", "there is no user message"));
        }
        let session = headers.get(SESSION_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let turn = TurnKey::new(session, chat);
        let mut counters = lock(&self.counters);
        decide(chat, self.manner, |place, times| counters.fires(turn, place, times))
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "stub_script", error.to_string()))
    }

    fn record(&self, record: RecordedRequest) -> u64 {
        tracing::debug!(model = %record.model, step = record.step, reply = %record.reply, "stub model: request");
        let number = lock(&self.log).add(record);
        self.seen.send_if_modified(|seen| {
            let newer = number > *seen;
            *seen = number.max(*seen);
            newer
        });
        number
    }
}

async fn read(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<ChatRequest, Refusal> {
    let declared: Option<u64> = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length| length > shared.max_body as u64) {
        return Err(Refusal::too_large(shared.max_body));
    }
    let collect = async {
        let mut stream = body.into_data_stream();
        let mut bytes = BytesMut::new();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|_| Refusal::invalid("the request body ended early"))?;
            if bytes.len() + part.len() > shared.max_body {
                return Err(Refusal::too_large(shared.max_body));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    };
    let Ok(bytes) = tokio::time::timeout(BODY_TIME, collect).await else {
        return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request body did not arrive"));
    };
    serde_json::from_slice(&bytes?)
        .map_err(|error| Refusal::invalid(format!("not a chat completion request: {error}")))
}

async fn reply(
    shared: &Arc<Shared>,
    guard: InFlight,
    chat: ChatRequest,
    plan: Plan,
    number: u64,
) -> Response {
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    let head = Head { id: format!("chatcmpl-stub-{number}"), model: chat.model };
    match plan.reply {
        Reply::Status { code, retry_after, error_code, message } => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response =
                Refusal { status, code: error_code.unwrap_or_else(|| "stub_status".to_owned()), message }
                    .response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Reply::Html => {
            let page = "<!doctype html><html><body><h1>A page where a stream should be</h1></body></html>";
            response(StatusCode::OK, "text/html; charset=utf-8", Body::from(page))
        }
        Reply::HangHeaders => {
            shared.stop.cancelled().await;
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "the stub model stops").response()
        }
        Reply::Answer(answer) if chat.stream => stream(shared, guard, answer, head),
        Reply::Answer(answer) => at_once(shared, answer, &head).await,
    }
}

/// The work of a stream is done by whoever polls it: when the client goes away, it is dropped and stops.
fn stream(shared: &Arc<Shared>, guard: InFlight, answer: Answer, head: Head) -> Response {
    let stop = shared.stop.clone();
    let state = (frames(answer, head, shared.pace), guard);
    let body = futures::stream::unfold(Some(state), move |state| {
        let stop = stop.clone();
        async move {
            let (mut frames, guard) = state?;
            loop {
                match frames.next()? {
                    Frame::Send(bytes) => return Some((Ok(bytes), Some((frames, guard)))),
                    Frame::Pause(time) => tokio::time::sleep(time).await,
                    Frame::Stall => {
                        stop.cancelled().await;
                        return Some((Err(broken()), None));
                    }
                    Frame::Cut => return Some((Err(break_off().await), None)),
                }
            }
        }
    });
    let mut response = response(StatusCode::OK, "text/event-stream", Body::from_stream(body));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn at_once(shared: &Shared, answer: Answer, head: &Head) -> Response {
    let Whole { delay, body } = whole(answer, head);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let body = match body {
        WholeBody::Json(bytes) => Body::from(bytes),
        WholeBody::Stall => {
            shared.stop.cancelled().await;
            broken_body()
        }
        WholeBody::Cut => broken_body(),
    };
    response(StatusCode::OK, "application/json", body)
}

/// An error in a body is how the connection is made to break.
fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "scripted end of the connection")
}

/// Breaks only after what was said before has reached the client: some clients (Bun's `fetch` is one) throw away what
/// they have received but not yet handed on when the connection breaks.
async fn break_off() -> io::Error {
    tokio::time::sleep(BEFORE_BREAK).await;
    broken()
}

fn broken_body() -> Body {
    Body::from_stream(futures::stream::once(async { Err::<Bytes, _>(break_off().await) }))
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    response(status, "application/json", Body::from(value.to_string()))
}

/// An error response in OpenAI's shape.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    fn key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", "the API key is missing or wrong")
    }

    fn too_large(limit: usize) -> Self {
        let message = format!("the request body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message)
    }

    fn response(self) -> Response {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let error = json!({"message": self.message, "type": kind, "param": null, "code": self.code});
        json_response(self.status, &json!({ "error": error }))
    }
}

impl Reply {
    fn label(&self) -> String {
        match self {
            Self::Status { code, .. } => format!("status {code}"),
            Self::Html => "html".to_owned(),
            Self::HangHeaders => "hang".to_owned(),
            Self::Answer(_) => "answer".to_owned(),
        }
    }
}

/// Counts a request from its arrival to the end of its answer, however that comes.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
