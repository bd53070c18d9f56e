//! What the stub was asked, kept for assertions and bounded.

use std::collections::VecDeque;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};

use super::request::{ChatRequest, RequestKind};

/// Longer texts are clipped; longer than OpenCode's own system prompt (10 kB) with a page of instructions.
const TEXT: usize = 65_536;
/// Headers kept per request.
const HEADERS: usize = 64;

/// One chat completion request that the stub received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// Counts all requests from 1, the ones no longer kept included.
    pub number: u64,
    /// Whether the right key came with it; `true` when the stub asks for none.
    pub authorised: bool,
    /// What it was for. Requests that could not be read count as a turn.
    pub kind: RequestKind,
    /// The model's name as requested.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The step of the turn, from 0: how many answers with tool calls this prompt already has.
    pub step: usize,
    /// The prompt: text parts of the last user message, joined by line ends.
    pub last_user_text: String,
    /// The number of messages of every role.
    pub messages: usize,
    /// The system prompt.
    pub system_prompt: String,
    /// The tools on offer, in order.
    pub tools: Vec<String>,
    /// Header names (lower case) and values; never one that carries a credential.
    pub headers: Vec<(String, String)>,
    /// What the stub decided, in a word or two: `answer`, `status 500`, `html`, `hang`, or `refused: …` with the
    /// reason.
    pub reply: String,
}

impl RecordedRequest {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn new(headers: &HeaderMap, authorised: bool, request: Option<&ChatRequest>) -> Self {
        let prompt = request.and_then(ChatRequest::prompt).unwrap_or_default();
        Self {
            number: 0,
            authorised,
            kind: request.map_or(RequestKind::Turn, ChatRequest::kind),
            model: request.map(|request| clip(&request.model)).unwrap_or_default(),
            stream: request.is_some_and(|request| request.stream),
            step: request.map(ChatRequest::step).unwrap_or_default(),
            last_user_text: clip(&prompt),
            messages: request.map(|request| request.messages.len()).unwrap_or_default(),
            system_prompt: request.map(|request| clip(&request.system_prompt())).unwrap_or_default(),
            tools: request.map(ChatRequest::tool_names).unwrap_or_default(),
            headers: safe_headers(headers),
            reply: String::new(),
        }
    }
}

fn safe_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| ![AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name))
        .take(HEADERS)
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

fn clip(text: &str) -> String {
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// The newest requests, and how many older ones were let go.
#[derive(Debug)]
pub(super) struct Log {
    kept: VecDeque<RecordedRequest>,
    capacity: usize,
    seen: u64,
}

impl Log {
    pub(super) fn new(capacity: usize) -> Self {
        Self { kept: VecDeque::new(), capacity: capacity.max(1), seen: 0 }
    }

    /// Adds one and returns how many there were ever.
    pub(super) fn add(&mut self, mut request: RecordedRequest) -> u64 {
        self.seen += 1;
        request.number = self.seen;
        if self.kept.len() >= self.capacity {
            self.kept.pop_front();
        }
        self.kept.push_back(request);
        self.seen
    }

    pub(super) fn kept(&self) -> Vec<RecordedRequest> {
        self.kept.iter().cloned().collect()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.seen.saturating_sub(self.kept.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_newest_are_kept_and_the_rest_counted() {
        let mut log = Log::new(2);
        for _ in 0..5 {
            log.add(RecordedRequest::new(&HeaderMap::new(), true, None));
        }
        let numbers: Vec<_> = log.kept().iter().map(|request| request.number).collect();
        assert_eq!((numbers, log.dropped()), (vec![4, 5], 3));
    }

    #[test]
    fn credentials_are_not_kept() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer k"));
        headers.insert("cookie", HeaderValue::from_static("k"));
        headers.insert("x-session-id", HeaderValue::from_static("ses_1"));
        let request = RecordedRequest::new(&headers, true, None);
        assert_eq!(request.headers, [("x-session-id".to_owned(), "ses_1".to_owned())]);
        assert_eq!(request.header("X-Session-Id"), Some("ses_1"));
    }

    #[test]
    fn texts_are_clipped_at_a_character() {
        assert_eq!(clip("é"), "é");
        let long = format!("x{}", "é".repeat(TEXT));
        assert_eq!(clip(&long).len(), TEXT - 1);
    }
}
