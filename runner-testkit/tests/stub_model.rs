//! The stub model over real sockets, with requests written by hand: what a client sees is bytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing; the helpers here are part of the tests"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use runner_testkit::stub_model::{RequestKind, StubModel, StubModelError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far more than anything here takes; a hang fails the test instead of holding it.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
    /// The body ended as HTTP says it must.
    complete: bool,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The text that the content deltas of a stream spell.
    fn streamed(&self) -> String {
        self.body
            .split("\n\n")
            .filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok())
            .filter_map(|chunk| Some(chunk.pointer("/choices/0/delta/content")?.as_str()?.to_owned()))
            .collect()
    }
}

async fn connect(addr: SocketAddr) -> TcpStream {
    timeout(LIMIT, TcpStream::connect(addr)).await.expect("in time").expect("connects")
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: stub\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn exchange(addr: SocketAddr, bytes: &[u8]) -> Reply {
    let mut socket = connect(addr).await;
    socket.write_all(bytes).await.expect("sent");
    read_reply(&mut socket).await
}

async fn read_reply(socket: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A cut connection is a result here, not a failure.
    let _ = timeout(LIMIT, socket.read_to_end(&mut bytes)).await.expect("the reply ends");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let (body, complete) =
        if head.contains("transfer-encoding: chunked") { dechunk(body) } else { (body.to_owned(), true) };
    Reply { status, head: head.to_owned(), body, complete }
}

fn dechunk(mut rest: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            return (body, true);
        }
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    (body, false)
}

fn chat(prompt: &str) -> Value {
    json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": prompt}],
        "tools": [{"type": "function", "function": {"name": "bash", "parameters": {}}}]})
}

fn post(body: &Value) -> Vec<u8> {
    request("POST", "/v1/chat/completions", "content-type: application/json\r\n", &body.to_string())
}

async fn ask(model: &StubModel, prompt: &str) -> Reply {
    exchange(model.addr(), &post(&chat(prompt))).await
}

async fn started() -> StubModel {
    StubModel::builder().start().await.expect("starts")
}

/// Waits for a fact that no event announces.
async fn until(what: &str, fact: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !fact() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_plain_prompt_is_streamed() {
    let model = started().await;
    let reply = ask(&model, "hello").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(reply.streamed(), "Hello from the stub model. You said: hello");
    assert!(reply.complete && reply.body.ends_with("data: [DONE]\n\n"), "{reply:?}");
    assert_eq!(model.base_url(), format!("http://{}/v1", model.addr()));
    assert_eq!(
        model.base_url_at("host.internal"),
        format!("http://host.internal:{}/v1", model.addr().port())
    );
    model.shutdown().await;
}

#[tokio::test]
async fn without_stream_it_is_one_object() {
    let model = started().await;
    let mut body = chat("[[say: hi]]");
    body["stream"] = false.into();
    let reply = exchange(model.addr(), &post(&body)).await;
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "hi");
    for (prompt, status, complete) in [
        ("[[malformed: cut]]", 200, false),
        ("[[status: 402]]", 402, true),
        ("[[malformed: json]]", 200, true),
    ] {
        body["messages"][0]["content"] = prompt.into();
        let reply = exchange(model.addr(), &post(&body)).await;
        assert_eq!((reply.status, reply.complete), (status, complete), "{prompt}: {reply:?}");
    }
}

#[tokio::test]
async fn a_tool_turn_goes_on_with_the_result() {
    let model = started().await;
    let mut body = chat("[[run: echo hi]]");
    let call = exchange(model.addr(), &post(&body)).await;
    assert!(call.body.contains(r#""finish_reason":"tool_calls""#), "{call:?}");
    let messages = body["messages"].as_array_mut().expect("messages");
    messages.push(json!({"role": "assistant", "content": "", "tool_calls": [
        {"id": "call_1_0_0", "type": "function", "function": {"name": "bash", "arguments": "{}"}}]}));
    messages.push(json!({"role": "tool", "tool_call_id": "call_1_0_0", "content": "hi\n"}));
    let last = exchange(model.addr(), &post(&body)).await;
    assert_eq!(last.streamed(), "Done. The tool answered:\nhi");
    let steps: Vec<_> = model.requests().iter().map(|request| request.step).collect();
    assert_eq!(steps, [0, 1]);
}

#[tokio::test]
async fn the_key_is_demanded_everywhere_and_never_kept() {
    let builder = StubModel::builder().api_key("top-secret");
    assert!(!format!("{builder:?}").contains("top-secret"));
    let model = builder.start().await.expect("starts");
    let body = chat("hi").to_string();
    for (headers, status) in [
        ("", 401),
        ("authorization: Bearer wrong\r\n", 401),
        ("authorization: Basic top-secret\r\n", 401),
        ("authorization: Bearer top-secret\r\n", 200),
    ] {
        for bytes in [
            request("POST", "/v1/chat/completions", headers, &body),
            request("GET", "/v1/models", headers, ""),
        ] {
            let reply = exchange(model.addr(), &bytes).await;
            assert_eq!(reply.status, status, "{headers}");
            if status == 401 {
                assert_eq!(reply.json()["error"]["code"], "invalid_api_key");
            }
        }
    }
    let authorised: Vec<_> = model.requests().iter().map(|request| request.authorised).collect();
    assert_eq!(authorised, [false, false, false, true]);
    assert!(!format!("{:?} {model:?}", model.requests()).contains("top-secret"));
}

#[tokio::test]
async fn models_are_listed_and_unknown_ones_refused() {
    let any = started().await;
    let listed = exchange(any.addr(), &request("GET", "/v1/models", "", "")).await.json();
    assert_eq!(listed["data"][0]["id"], "stub");

    let some = StubModel::builder().model("a").model("m").start().await.expect("starts");
    let listed = exchange(some.addr(), &request("GET", "/v1/models", "", "")).await.json();
    assert_eq!((&listed["data"][0]["id"], &listed["data"][1]["id"]), (&json!("a"), &json!("m")));
    assert_eq!(ask(&some, "hi").await.status, 200);
    let mut other = chat("hi");
    other["model"] = "nosuch".into();
    let refused = exchange(some.addr(), &post(&other)).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn bad_requests_get_typed_errors() {
    let model = StubModel::builder().max_body(4_096).start().await.expect("starts");
    let large = "x".repeat(5_000);
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: stub\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n1388\r\n{large}\r\n0\r\n\r\n"
    );
    let cases: [(Vec<u8>, u16, &str, &str); 9] = [
        (post(&chat("[[bogus: 1]]")), 400, "stub_script", "`[[bogus: 1]]`"),
        (post(&chat("[[run: ls")), 400, "stub_script", "not closed"),
        (post(&json!({"model": "m", "messages": []})), 400, "no_prompt", "no user message"),
        (post(&json!({"model": "m"})), 400, "invalid_request", "messages"),
        (request("POST", "/v1/chat/completions", "", "{"), 400, "invalid_request", "not a chat completion"),
        (request("POST", "/v1/chat/completions", "", &large), 413, "request_too_large", "4096"),
        (chunked.into_bytes(), 413, "request_too_large", "4096"),
        (request("GET", "/v1/embeddings", "", ""), 404, "not_found", "no such path"),
        (request("GET", "/v1/chat/completions", "", ""), 405, "method_not_allowed", "no such method"),
    ];
    for (bytes, status, code, message) in cases {
        let reply = exchange(model.addr(), &bytes).await;
        assert_eq!(reply.status, status, "{reply:?}");
        let error = reply.json()["error"].clone();
        assert_eq!(error["code"], code, "{reply:?}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains(message)), "{reply:?}");
    }
    assert!(model.requests()[0].reply.starts_with("refused: "), "{:?}", model.requests()[0]);
}

#[tokio::test]
async fn errors_happen_as_often_as_asked() {
    let model = started().await;
    let prompt = "[[status: 429 times=2 retry-after=3]] [[say: at last]]";
    for _ in 0..2 {
        let reply = ask(&model, prompt).await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, Some("3")), "{reply:?}");
    }
    assert_eq!(ask(&model, prompt).await.streamed(), "at last");
    let replies: Vec<_> = model.requests().into_iter().map(|request| request.reply).collect();
    assert_eq!(replies, ["status 429", "status 429", "answer"]);
}

#[tokio::test]
async fn malformed_replies_are_malformed_in_their_own_way() {
    let model = started().await;
    let html = ask(&model, "[[malformed: html]]").await;
    assert_eq!((html.status, html.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for (kind, complete, mark) in [
        ("truncated", true, "begun"),
        ("json", true, "\"con\n\n"),
        ("error", true, "{\"error\""),
        ("cut", false, "begun"),
    ] {
        let reply = ask(&model, &format!("[[say: begun]][[malformed: {kind}]]")).await;
        assert_eq!((reply.status, reply.complete), (200, complete), "{kind}: {reply:?}");
        assert!(reply.body.contains(mark) && !reply.body.contains("[DONE]"), "{kind}: {reply:?}");
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let model = started().await;
    assert_eq!(ask(&model, "[[big: 2MB]]").await.streamed().len(), 2_000_000);
}

#[tokio::test]
async fn the_log_is_bounded_and_tells_what_was_asked() {
    let model = StubModel::builder().log_capacity(2).start().await.expect("starts");
    let mut body = chat("one");
    body["messages"].as_array_mut().expect("messages").insert(
        0,
        json!({"role": "system", "content": "You are a title generator. You output ONLY a thread title."}),
    );
    for _ in 0..3 {
        let bytes = request("POST", "/v1/chat/completions", "x-session-id: ses_1\r\n", &body.to_string());
        assert_eq!(exchange(model.addr(), &bytes).await.status, 200);
    }
    assert_eq!((model.requests().len(), model.dropped_requests(), model.requests_seen()), (2, 1, 3));
    let last = model.requests().pop().expect("a request");
    assert_eq!((last.number, last.kind, last.messages, last.stream), (3, RequestKind::Title, 2, true));
    assert_eq!((last.model.as_str(), last.last_user_text.as_str()), ("m", "one"));
    assert_eq!((last.tools, last.authorised), (vec!["bash".to_owned()], true));
    assert!(last.system_prompt.starts_with("You are a title"));
    assert_eq!(last.headers.iter().find(|(name, _)| name == "x-session-id").expect("kept").1, "ses_1");
    assert!(model.wait_for_requests(3, Duration::ZERO).await);
    assert!(!model.wait_for_requests(4, Duration::from_millis(1)).await);
}

#[tokio::test]
async fn work_stops_when_the_client_goes_away() {
    let model = started().await;
    for prompt in
        ["[[hang]]", "[[hang: stream]]", "[[slow: 10ms x 100000]]", "[[delay: 60m]]", "[[big: 64MB]]"]
    {
        let mut socket = connect(model.addr()).await;
        socket.write_all(&post(&chat(prompt))).await.expect("sent");
        until(prompt, || model.in_flight() == 1).await;
        drop(socket);
        until(prompt, || model.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn a_stalled_stream_has_begun_and_a_hang_has_not() {
    let model = started().await;
    let mut stalled = connect(model.addr()).await;
    stalled.write_all(&post(&chat("[[say: begun]][[hang: stream]]"))).await.expect("sent");
    let mut text = String::new();
    while !text.contains("begun") {
        let mut buffer = [0; 4096];
        let count = timeout(LIMIT, stalled.read(&mut buffer)).await.expect("in time").expect("read");
        assert!(count > 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
    let mut silent = connect(model.addr()).await;
    silent.write_all(&post(&chat("[[hang]]"))).await.expect("sent");
    assert!(model.wait_for_requests(2, LIMIT).await);
    let quiet = Duration::from_millis(50);
    assert!(timeout(quiet, stalled.read_u8()).await.is_err());
    assert!(timeout(quiet, silent.read_u8()).await.is_err());

    // A shutdown ends both, in bounded time, and tells the one that can still be told.
    let begin = Instant::now();
    model.shutdown().await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(read_reply(&mut silent).await.status, 503);
    let mut rest = Vec::new();
    let _ = timeout(LIMIT, stalled.read_to_end(&mut rest)).await.expect("the stream ends");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it was broken, not finished");
}

#[tokio::test]
async fn connections_above_the_limit_wait_their_turn() {
    let model = StubModel::builder().max_connections(1).start().await.expect("starts");
    let mut first = connect(model.addr()).await;
    first.write_all(&post(&chat("[[hang]]"))).await.expect("sent");
    assert!(model.wait_for_requests(1, LIMIT).await);
    let mut second = connect(model.addr()).await;
    second.write_all(&post(&chat("hi"))).await.expect("sent");
    assert!(!model.wait_for_requests(2, Duration::from_millis(50)).await);
    drop(first);
    assert_eq!(read_reply(&mut second).await.status, 200);
}

#[tokio::test]
async fn after_a_shutdown_the_port_is_free() {
    let model = started().await;
    let addr = model.addr();
    // An idle connection and one that has not finished its request: neither may hold a shutdown up.
    let _idle = connect(addr).await;
    let mut slow = connect(addr).await;
    slow.write_all(b"POST /v1/chat").await.expect("sent");
    // An answer that lasts longer than the grace.
    let mut long = connect(addr).await;
    long.write_all(&post(&chat("[[slow: 10ms x 100000]]"))).await.expect("sent");
    assert!(model.wait_for_requests(1, LIMIT).await);

    let begin = Instant::now();
    model.shutdown().await;
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(!read_reply(&mut long).await.complete);
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_drop_stops_it_too() {
    let model = started().await;
    let addr = model.addr();
    let mut socket = connect(addr).await;
    socket.write_all(&post(&chat("[[hang: stream]]"))).await.expect("sent");
    assert!(model.wait_for_requests(1, LIMIT).await);
    drop(model);
    assert!(!read_reply(&mut socket).await.complete);
    let end = Instant::now() + LIMIT;
    while TcpStream::connect(addr).await.is_ok() {
        assert!(Instant::now() < end, "still listening");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_address_in_use_is_a_typed_error() {
    let model = started().await;
    let addr = model.addr();
    let error = StubModel::builder().bind(addr).await.expect_err("in use");
    let StubModelError::Bind { addr: named, source } = &error else { panic!("{error:?}") };
    assert_eq!((*named, source.kind()), (addr, std::io::ErrorKind::AddrInUse));
    assert!(error.to_string().contains(&addr.to_string()));
    let foreign = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    assert!(StubModel::builder().bind(foreign).await.is_err());
}

#[tokio::test]
async fn a_restarted_server_goes_on_where_the_old_one_was() {
    let mut body = chat("[[run: a]][[run: b]]");
    let messages = body["messages"].as_array_mut().expect("messages");
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "c", "type": "function", "function": {"name": "bash", "arguments": "{}"}}]}));
    messages.push(json!({"role": "tool", "tool_call_id": "c", "content": "x"}));
    let mut replies = Vec::new();
    for _ in 0..2 {
        let model = started().await;
        let reply = exchange(model.addr(), &post(&body)).await;
        assert!(reply.body.contains("call_1_1_0"), "the second call: {reply:?}");
        replies.push(reply.body);
        model.shutdown().await;
    }
    assert_eq!(replies[0], replies[1]);
}
