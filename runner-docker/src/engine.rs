//! Calls to one engine, each bounded as a whole.

use std::future::Future;
use std::time::Duration;

use bollard::Docker;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::Response;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::budget::Budgets;
use crate::config::DockerConfig;
use crate::error::{EngineError, clean};
use crate::exits::Exits;
use crate::stuck::Stuck;
use crate::wire::{Wire, to_bollard};

/// Backstop for bollard's own timeout, which covers headers only and is cut to whole seconds: far above every
/// limit of ours, so that it is never the one that decides.
const BOLLARD_TIMEOUT_SECONDS: u64 = 24 * 60 * 60;

/// Largest document accepted. A list of ten thousand containers is a tenth of it.
const MAX_DOCUMENT: usize = 256 * 1024 * 1024;

/// One engine.
#[derive(Debug)]
pub(crate) struct Engine {
    host: String,
    wire: Wire,
    docker: Docker,
    places: Semaphore,
    max_calls: usize,
    samples: Semaphore,
    pub(crate) budgets: Budgets,
    /// Why containers ended.
    pub(crate) exits: Exits,
    /// Containers that cannot be ended.
    pub(crate) stuck: Stuck,
}

#[derive(Deserialize)]
struct Failure {
    message: String,
}

impl Engine {
    /// `wire`: the way to the configuration's host.
    pub(crate) fn new(config: &DockerConfig, wire: Wire) -> Result<Self, EngineError> {
        let host = config.host.to_string();
        let theirs = wire.clone();
        let transport = move |request| {
            let wire = theirs.clone();
            async move { wire.send(request).await.map_err(to_bollard) }
        };
        let docker = Docker::connect_with_custom_transport(
            transport,
            // Only a place for the URL's path: the wire knows where to connect.
            Some("http://engine"),
            BOLLARD_TIMEOUT_SECONDS,
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|e| EngineError::of_bollard(e, &host))?;
        let max_calls = config.max_calls.clamp(1, Semaphore::MAX_PERMITS);
        Ok(Self {
            host,
            wire,
            docker,
            places: Semaphore::new(max_calls),
            max_calls,
            samples: Semaphore::new((max_calls / 2).max(1)),
            budgets: config.budgets,
            exits: Exits::default(),
            stuck: Stuck::default(),
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// bollard's client, for [`typed`](Self::typed) and [`waiting`](Self::waiting).
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// A short call through bollard: waits for a place, then runs within the limit.
    pub(crate) async fn typed<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        let call = async { self.noted(call.await.map_err(|e| EngineError::of_bollard(e, &self.host))) };
        self.short(limit, call).await
    }

    /// A call through bollard that waits rather than works, such as a stop: bounded, without a place.
    pub(crate) async fn waiting<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, EngineError> {
        match timeout(limit, call).await {
            Ok(result) => self.noted(result.map_err(|e| EngineError::of_bollard(e, &self.host))),
            Err(_) => Err(EngineError::Timeout { after: limit }),
        }
    }

    /// A short call for a JSON document.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        limit: Duration,
    ) -> Result<T, EngineError> {
        let bytes = self.bytes(method, path, body, limit).await?;
        serde_json::from_slice(&bytes).map_err(|e| EngineError::Decode { message: clean(&e.to_string()) })
    }

    /// A short call for a document that may be none.
    pub(crate) async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        limit: Duration,
    ) -> Result<Bytes, EngineError> {
        self.short(limit, async {
            let response = self.exchange(method, path, body).await?;
            whole(response.into_body()).await
        })
        .await
    }

    /// Opens a stream. Bounded until the headers are there; what follows is for the caller to watch.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
    ) -> Result<Incoming, EngineError> {
        match timeout(limit, self.exchange(method, path, None)).await {
            Ok(result) => result.map(Response::into_body),
            Err(_) => Err(EngineError::Timeout { after: limit }),
        }
    }

    /// A short call made by hand: waits for a place, then runs within the limit.
    pub(crate) async fn short<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let wait = self.budgets.queue;
        // The semaphore is never closed, so an error can only be the time limit.
        let Ok(Ok(_place)) = timeout(wait, self.places.acquire()).await else {
            return Err(EngineError::Queue { places: self.max_calls, after: wait });
        };
        timeout(limit, call).await.unwrap_or(Err(EngineError::Timeout { after: limit }))
    }

    /// Notes whether the engine is there.
    fn noted<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        match &result {
            Ok(_) | Err(EngineError::Status { .. }) => self.exits.engine_answers(),
            Err(e) if e.looks_like_absence() => self.exits.engine_is_away(),
            Err(_) => {}
        }
        result
    }

    /// A call that takes a second because the engine wants to see two moments: at most half of the places are for
    /// such, so that sampling a thousand containers never keeps one of them from being started.
    pub(crate) async fn sample(&self, path: &str, limit: Duration) -> Result<Bytes, EngineError> {
        let wait = self.budgets.queue;
        let Ok(Ok(_turn)) = timeout(wait, self.samples.acquire()).await else {
            return Err(EngineError::Queue { places: (self.max_calls / 2).max(1), after: wait });
        };
        self.bytes(Method::GET, path, None, limit).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, EngineError> {
        self.exchange_of("application/json", method, path, body).await
    }

    /// One request and the head of its reply, for use within [`short`](Self::short).
    pub(crate) async fn exchange_of(
        &self,
        content_type: &'static str,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, EngineError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, content_type)
            .body(bollard::body_full(body.unwrap_or_default()))
            .map_err(|e| EngineError::Decode { message: e.to_string() })?;
        let sent = self.wire.send(request).await.map_err(|e| EngineError::of_wire(e, &self.host));
        let response = self.noted(sent)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let text = whole(response.into_body()).await?;
        let message = match serde_json::from_slice::<Failure>(&text) {
            Ok(failure) => failure.message,
            Err(_) => String::from_utf8_lossy(&text).into_owned(),
        };
        Err(EngineError::Status { code: status.as_u16(), message: clean(&message) })
    }
}

async fn whole(body: Incoming) -> Result<Bytes, EngineError> {
    let read = Limited::new(body, MAX_DOCUMENT).collect().await;
    read.map(http_body_util::Collected::to_bytes).map_err(|source| {
        if source.is::<LengthLimitError>() {
            return EngineError::Decode { message: format!("it is larger than {MAX_DOCUMENT} bytes") };
        }
        EngineError::Broken { source }
    })
}

/// Whether a text may be the name of a network or a volume: letters, digits, `_`, `.` and `-`, beginning with a letter
/// or digit. What is not could be a path, or mean something else to an engine.
pub(crate) fn is_name(text: &str, max: usize) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && text.len() <= max
}

/// Escapes a value for a query string.
pub(crate) fn escape(value: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    let value = value.as_ref();
    let mut text = String::with_capacity(value.len() * 2);
    for &byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_for_a_query_string() {
        assert_eq!(escape(r#"{"label":["a=b é&"]}"#), "%7B%22label%22%3A%5B%22a%3Db%20%C3%A9%26%22%5D%7D");
        assert_eq!(escape("a-b._~9"), "a-b._~9");
    }
}
