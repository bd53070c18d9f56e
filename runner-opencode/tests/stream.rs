//! The event stream against a server that splits, stalls, cuts, floods and lies.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, and the helpers beside them, say what they expect by unwrapping"
)]

mod support;

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use runner_core::session::{AgentEvent, SessionStatus};
use runner_core::{Error, ErrorKind, Retry};
use runner_opencode::{OpenCodeConfig, TimeLimits};
use support::{CONNECTED, PASSWORD, SHORT, Scripted, Step, chunk, client, fixture, generous, hasty};

fn event(kind: &str, properties: &str) -> String {
    event_in("/workspace", kind, properties)
}

fn event_in(directory: &str, kind: &str, properties: &str) -> String {
    format!(
        "data: {{\"directory\":\"{directory}\",\"project\":\"global\",\
         \"payload\":{{\"id\":\"evt_1\",\"type\":\"{kind}\",\"properties\":{properties}}}}}\n\n"
    )
}

fn delta(text: &str) -> String {
    let text = serde_json::to_string(text).expect("JSON");
    let ids = "\"sessionID\":\"ses_1\",\"messageID\":\"msg_1\",\"partID\":\"prt_1\"";
    event("message.part.delta", &format!("{{{ids},\"field\":\"text\",\"delta\":{text}}}"))
}

/// All events until the stream ends.
async fn drain(url: &str, config: OpenCodeConfig) -> Vec<Result<AgentEvent, Error>> {
    client(url, config).await.events().await.expect("open").collect().await
}

fn texts(events: &[Result<AgentEvent, Error>]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|e| match e {
            Ok(AgentEvent::Delta { text, .. }) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn the_stream_begins_with_connected_and_ends_with_the_connection() {
    let server = Scripted::events([chunk(delta("a")), Step::End]).await;
    let events = drain(&server.url, generous()).await;
    assert!(matches!(events[0], Ok(AgentEvent::Connected)));
    assert_eq!(texts(&events), ["a"]);
    assert_eq!(events.len(), 2, "a proper end is no error");
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_connected_is_not_one() {
    for (script, kind) in [
        (vec![chunk(delta("a")), Step::Hold], ErrorKind::Protocol),
        (vec![chunk("data: [1]\n\n"), Step::Hold], ErrorKind::Protocol),
        (vec![Step::End], ErrorKind::Connection),
        (vec![], ErrorKind::Connection),
        (vec![Step::Hold], ErrorKind::Timeout),
        (vec![chunk(&CONNECTED[..CONNECTED.len() - 1]), Step::Hold], ErrorKind::Timeout),
    ] {
        let what = format!("{script:?}");
        let server = Scripted::start([vec![Step::Stream], script].concat()).await;
        let config = if kind == ErrorKind::Timeout { hasty() } else { generous() };
        let opened = client(&server.url, config).await.events().await;
        assert_eq!(opened.map(drop).expect_err(&what).kind(), kind, "{what}");
    }
}

#[tokio::test]
async fn a_frame_may_come_in_any_pieces() {
    let mut body = String::new();
    let _ = write!(body, ": a comment\n\n{}event: x\nid: 1\nretry: 5\n{}", delta("é\n\"q\""), delta("b"));
    let _ = write!(body, "{}", delta("crlf").replace('\n', "\r\n"));
    let _ = write!(body, "{}", delta("two lines").replace(",\"payload\"", "\ndata: ,\"payload\""));
    for size in [1, 2, 3, 7, 64] {
        let pieces = body.as_bytes().chunks(size).map(chunk);
        let server = Scripted::events(pieces.chain([Step::End])).await;
        let events = drain(&server.url, generous()).await;
        assert_eq!(texts(&events), ["é\n\"q\"", "b", "crlf", "two lines"], "pieces of {size}");
        assert_eq!(events.len(), 5, "{events:?}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_at_the_beginning_is_no_text() {
    let server =
        Scripted::start(vec![Step::Stream, chunk(format!("\u{feff}{CONNECTED}{}", delta("a"))), Step::End])
            .await;
    assert_eq!(texts(&drain(&server.url, generous()).await), ["a"]);
}

#[tokio::test]
async fn a_frame_of_several_megabytes_is_read_in_linear_time() {
    let large = "0123456789abcdef".repeat(256 << 10);
    let body = delta(&large);
    let server = Scripted::events(body.as_bytes().chunks(8 << 10).map(chunk).chain([Step::End])).await;
    let begun = Instant::now();
    let events = drain(&server.url, generous()).await;
    assert_eq!(texts(&events), [large.as_str()]);
    // A search from the frame's beginning with each of its 512 chunks would read a gigabyte.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_frame_without_an_end_does_not_fill_the_memory() {
    let endless = std::iter::repeat_n(chunk([b'x'; 1000]), 1000);
    for begin in ["data: ", ": ", "other", "event: "] {
        let server =
            Scripted::events([chunk(begin)].into_iter().chain(endless.clone()).chain([Step::Hold])).await;
        let config = OpenCodeConfig { max_frame_bytes: 10_000, ..generous() };
        let events = drain(&server.url, config).await;
        let error = events.last().expect("one").as_ref().expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{begin:?}");
        assert!(error.message().contains("10000"), "{error}");
        assert_eq!(events.len(), 2);
    }
}

#[tokio::test]
async fn many_frames_together_may_be_larger_than_one() {
    let server = Scripted::events((0..100).map(|_| chunk(delta("0123456789"))).chain([Step::End])).await;
    let config = OpenCodeConfig { max_frame_bytes: 1000, ..generous() };
    assert_eq!(texts(&drain(&server.url, config).await).len(), 100);
}

#[tokio::test]
async fn silence_is_an_error_and_any_byte_is_a_sign_of_life() {
    // Each gap is far below the limit, all together are beyond it.
    let (gap, silence) = (SHORT, SHORT * 5);
    let alive = (0..6).flat_map(|_| [Step::Wait(gap), chunk(": alive\n\n")]);
    let server = Scripted::events(alive.chain([chunk(delta("late")), Step::Hold])).await;
    let begun = Instant::now();
    let limits = TimeLimits { silence, ..generous().limits };
    let events = drain(&server.url, OpenCodeConfig { limits, ..generous() }).await;
    assert!(begun.elapsed() >= gap * 6 + silence, "{:?}", begun.elapsed());
    assert_eq!(texts(&events), ["late"]);
    let error = events.last().expect("one").as_ref().expect_err("silent");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary));
}

#[tokio::test]
async fn a_reader_that_pauses_does_not_mistake_its_own_pause_for_silence() {
    let server =
        Scripted::events([chunk(delta("a")), Step::Wait(SHORT * 2), chunk(delta("b")), Step::End]).await;
    let mut events = client(&server.url, hasty()).await.events().await.expect("open");
    events.next().await.expect("connected").expect("connected");
    events.next().await.expect("a").expect("a");
    tokio::time::sleep(SHORT * 3).await;
    assert!(matches!(events.next().await, Some(Ok(AgentEvent::Delta { .. }))));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_connection_that_is_cut_in_a_frame_is_a_temporary_error() {
    let whole = delta("lost");
    let server = Scripted::events([chunk(delta("a")), chunk(&whole[..whole.len() / 2])]).await;
    let events = drain(&server.url, generous()).await;
    assert_eq!(texts(&events), ["a"]);
    let error = events.last().expect("one").as_ref().expect_err("cut");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Connection, Retry::Temporary));
    assert_eq!(events.len(), 3, "nothing follows an error");
}

#[tokio::test]
async fn only_our_directorys_events_are_delivered_and_each_once() {
    let status = "{\"sessionID\":\"ses_1\",\"status\":{\"type\":\"busy\"}}";
    let sync =
        "{\"type\":\"sync\",\"syncEvent\":{\"type\":\"message.updated.1\",\"data\":{}},\"id\":\"evt_1\"}";
    let late_type = "{\"id\":\"evt_1\",\"syncEvent\":{\"type\":\"x\"},\"type\":\"sync\"}";
    let in_payload =
        |payload: &str| format!("data: {{\"directory\":\"/workspace\",\"payload\":{payload}}}\n\n");
    let body = [
        event_in("/elsewhere", "session.status", status),
        event_in("/workspace/sub", "session.status", status),
        in_payload(sync),
        in_payload(late_type),
        event("session.status", status),
        event_in("global", "project.updated", "{}"),
        "data: {\"payload\":{\"type\":\"server.heartbeat\",\"properties\":{}}}\n\n".to_owned(),
        "data: {\"directory\":\"global\",\"payload\":{\"type\":\"global.disposed\",\"properties\":{},\"id\":\"e\"}}\n\n"
            .to_owned(),
        event("server.instance.disposed", "{\"directory\":\"/workspace\"}"),
        event_in("/elsewhere", "server.instance.disposed", "{\"directory\":\"/elsewhere\"}"),
    ];
    let server = Scripted::events([chunk(body.concat()), Step::End]).await;
    let events: Vec<_> =
        drain(&server.url, generous()).await.into_iter().map(|e| e.expect("no error")).collect();
    assert!(
        matches!(
            &events[..],
            [
                AgentEvent::Connected,
                AgentEvent::Status { status: SessionStatus::Busy, .. },
                AgentEvent::Other(kind),
                AgentEvent::Heartbeat,
                AgentEvent::Disposed,
                AgentEvent::Disposed,
            ] if kind == "project.updated"
        ),
        "{events:#?}"
    );
}

#[tokio::test]
async fn text_that_looks_like_a_duplicate_is_delivered() {
    let lure = "\"payload\":{\"type\":\"sync\",";
    let tool = "{\"part\":{\"id\":\"prt_1\",\"messageID\":\"msg_1\",\"sessionID\":\"ses_1\",\"type\":\"tool\",\"tool\":\"x\",\
                \"callID\":\"c\",\"state\":{\"status\":\"running\",\"input\":{\"payload\":{\"type\":\"sync\",\"a\":1}}}}}";
    let server =
        Scripted::events([chunk(delta(lure)), chunk(event("message.part.updated", tool)), Step::End]).await;
    let events = drain(&server.url, generous()).await;
    assert_eq!(texts(&events), [lure]);
    assert!(matches!(events[2], Ok(AgentEvent::Part { .. })), "{events:?}");
}

#[tokio::test]
async fn the_order_of_keys_does_not_matter() {
    let late = "data: {\"payload\":{\"properties\":{\"delta\":\"x\",\"field\":\"text\",\"partID\":\"p\",\"messageID\":\"m\",\
                \"sessionID\":\"s\"},\"type\":\"message.part.delta\",\"id\":\"e\"},\"directory\":\"/workspace\"}\n\n";
    let server = Scripted::events([chunk(late), Step::End]).await;
    assert_eq!(texts(&drain(&server.url, generous()).await), ["x"]);
}

#[tokio::test]
async fn what_cannot_be_read_does_not_end_the_stream() {
    let odd = [
        event("message.part.delta", "{\"sessionID\":7}"),
        event("message.updated", "null"),
        event("session.status", "{\"sessionID\":\"../x\",\"status\":{\"type\":\"busy\"}}"),
        event("permission.updated", "{\"new\":[{}]}"),
        event("message.updated", "{\"info\":{\"id\":\"m\",\"sessionID\":\"s\",\"role\":\"oracle\"}}"),
        "data: {\"directory\":\"/workspace\",\"payload\":{\"type\":\"session.idle\"}}\n\n".to_owned(),
        "data: not JSON\n\n".to_owned(),
        "data: {}\n\n".to_owned(),
        "data: [[[[[[[[\n\n".to_owned(),
        format!("data: {}\n\n", "[".repeat(100_000)),
    ];
    let count = odd.len();
    let server = Scripted::events([chunk(odd.concat()), chunk(delta("after")), Step::End]).await;
    let events = drain(&server.url, generous()).await;
    assert_eq!(texts(&events), ["after"]);
    let other = |e: &&Result<AgentEvent, Error>| matches!(e, Ok(AgentEvent::Other(_)));
    assert_eq!(events.iter().filter(other).count(), count, "{events:?}");
}

#[tokio::test]
async fn an_unknown_kind_of_part_is_named_whatever_it_holds() {
    let part = "{\"part\":{\"id\":\"prt_1\",\"messageID\":\"msg_1\",\"sessionID\":\"ses_1\",\"type\":\"hologram\",\
                \"text\":[7],\"state\":\"x\"}}";
    let server = Scripted::events([chunk(event("message.part.updated", part)), Step::End]).await;
    let events = drain(&server.url, generous()).await;
    assert!(format!("{:?}", events[1]).contains("Other(\"hologram\")"), "{events:?}");
}

#[tokio::test]
async fn bytes_that_are_no_text_end_the_stream_with_an_error() {
    let server = Scripted::events([chunk(b"data: \xff\xfe\n\n"), chunk(delta("a")), Step::Hold]).await;
    let events = drain(&server.url, generous()).await;
    assert_eq!(events.last().expect("one").as_ref().expect_err("no text").kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn failures_are_told_without_stack_traces_and_bodies() {
    let errors = "{\"sessionID\":\"ses_1\",\"error\":{\"name\":\"APIError\",\"data\":{\"message\":\"no\\u001b key\\n    at x\",\
                  \"statusCode\":401,\"responseBody\":\"sk-SECRET\",\"responseHeaders\":{\"x\":\"sk-SECRET\"}}}}";
    let aborted = "{\"sessionID\":\"ses_1\",\"error\":{\"name\":\"MessageAbortedError\",\"data\":{\"message\":\"Aborted\"}}}";
    let overflow = "{\"error\":{\"name\":\"ContextOverflowError\",\"data\":{\"message\":\"too long\"}}}";
    let frames = [errors, aborted, overflow, "{}"].map(|e| event("session.error", e)).concat();
    let server = Scripted::events([chunk(frames), Step::End]).await;
    let events = drain(&server.url, generous()).await;
    assert!(!format!("{events:?}").contains("SECRET"));
    let failures: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            Ok(AgentEvent::Failure { session, failure: f }) => Some((
                session.is_some(),
                f.name.as_str(),
                f.message.as_str(),
                f.status,
                f.aborted,
                f.recoverable,
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        failures,
        [
            (true, "APIError", "no  key", Some(401), false, false),
            (true, "MessageAbortedError", "Aborted", None, true, false),
            (false, "ContextOverflowError", "too long", None, false, true),
            (false, "UnknownError", "", None, false, false),
        ]
    );
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_server_back() {
    let flood = delta(&"x".repeat(60_000));
    let server = Scripted::events((0..2000).map(|_| chunk(&flood)).chain([Step::Hold])).await;
    let mut events = client(&server.url, generous()).await.events().await.expect("open");
    events.next().await.expect("connected").expect("connected");
    let mut before = usize::MAX;
    // Until the server cannot send any more.
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = server.sent.load(Ordering::SeqCst);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 60 << 20, "{before} of 120 MB went into buffers, which is more than the kernel's");
    let read = events.take(2000).collect::<Vec<_>>().await;
    assert_eq!(texts(&read).len(), 2000, "and nothing was lost");
}

#[tokio::test]
async fn dropping_the_stream_closes_its_connection() {
    let server = Scripted::events([Step::Hold]).await;
    let events = client(&server.url, generous()).await.events().await.expect("open");
    drop(events);
    for _ in 0..100 {
        if server.closed.load(Ordering::SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the connection is still open");
}

#[tokio::test]
async fn a_recorded_turn_is_the_same_in_any_pieces() {
    let recorded = fixture("recorded/tool-turn.sse");
    let mut first: Option<String> = None;
    for size in [1, 5, 97, 4096, recorded.len()] {
        let steps = recorded.as_bytes().chunks(size).map(chunk);
        let server =
            Scripted::start([Step::Stream].into_iter().chain(steps).chain([Step::End]).collect()).await;
        let events = format!("{:?}", drain(&server.url, generous()).await);
        let first = first.get_or_insert_with(|| events.clone());
        assert_eq!(*first, events, "pieces of {size}");
    }
}

/// A server that says "connected" before it listens: the first `deaf` echoes are on no stream.
async fn late_listener(deaf: usize) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (shown, _) = tokio::sync::broadcast::channel::<String>(16);
    let echoes = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let task = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (shown, echoes) = (shown.clone(), echoes.clone());
            tokio::spawn(async move {
                let mut live = shown.subscribe();
                let mut buffer = vec![0; 4096];
                while let Ok(n @ 1..) = socket.read(&mut buffer).await {
                    let head = String::from_utf8_lossy(&buffer[..n]).into_owned();
                    if let Some(rest) = head.strip_prefix("POST /session/") {
                        let session = rest.split('/').next().unwrap_or_default();
                        if echoes.fetch_add(1, Ordering::SeqCst) >= deaf {
                            let before = delta("held");
                            let idle = event(
                                "session.status",
                                &format!("{{\"sessionID\":\"{session}\",\"status\":{{\"type\":\"idle\"}}}}"),
                            );
                            let late = event(
                                "session.status",
                                &format!("{{\"sessionID\":\"{session}\",\"status\":{{\"type\":\"idle\"}}}}"),
                            );
                            drop(shown.send(format!("{before}{idle}{late}{}", delta("after"))));
                        }
                        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue";
                        if socket.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    let head =
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
                    drop(socket.write_all(format!("{head}{CONNECTED}").as_bytes()).await);
                    if let Ok(frames) = live.recv().await {
                        drop(socket.write_all(frames.as_bytes()).await);
                    }
                    return;
                }
            });
        }
    });
    (url, task)
}

#[tokio::test]
async fn a_stream_is_given_out_once_it_has_shown_an_event_that_was_made_for_it() {
    for deaf in [0, 1, 3] {
        let (url, server) = late_listener(deaf).await;
        let config = OpenCodeConfig { prove_events: true, ..generous() };
        let events = drain(&url, config).await;
        assert!(matches!(events[0], Ok(AgentEvent::Connected)), "{events:?}");
        assert_eq!(texts(&events), ["held", "after"], "deaf to {deaf}: nothing is lost, in order");
        assert_eq!(events.len(), 3, "the echoes themselves are not shown: {events:?}");
        server.abort();
    }
}

#[tokio::test]
async fn a_stream_that_never_shows_its_event_is_not_given_out() {
    let (url, server) = late_listener(usize::MAX).await;
    let limits = TimeLimits { open_events: SHORT, ..TimeLimits::default() };
    let config = OpenCodeConfig { prove_events: true, limits, ..generous() };
    let refused = client(&url, config).await.events().await;
    let error = refused.err().expect("an unproved stream is no stream");
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary), "{error}");
    server.abort();
}

#[tokio::test]
async fn a_stream_may_end_with_its_length_or_with_its_connection() {
    let body = format!("{CONNECTED}{}", delta("a"));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n";
    let length = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let cut = format!("{head}content-length: {}\r\n\r\n{body}", body.len() + 1);
    for (answer, held, cut) in [
        (format!("{head}\r\n{body}"), false, false),
        (length.clone(), false, false),
        (length, true, false),
        (cut, false, true),
    ] {
        let mut script = vec![Step::Raw(answer.clone().into_bytes())];
        script.extend(held.then_some(Step::Hold));
        let server = Scripted::start(script).await;
        let events = drain(&server.url, generous()).await;
        assert_eq!(texts(&events), ["a"], "{answer}");
        assert_eq!(events.len(), if cut { 3 } else { 2 }, "{answer}");
        assert_eq!(events.last().expect("one").is_err(), cut, "{answer}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_no_stream() {
    let stream = |rest: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{rest}");
    for (answer, kind) in [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), ErrorKind::Connection),
        ("HTTP/1.1 2".to_owned(), ErrorKind::Connection),
        (stream("Transfer-Encoding: gzip\r\n\r\n"), ErrorKind::Connection),
        (stream("Transfer-Encoding: chunked\r\n\r\nzz\r\n"), ErrorKind::Connection),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), ErrorKind::Protocol),
        ("HTTP/1.1 503 x\r\nContent-Length: 900\r\n\r\ncut".to_owned(), ErrorKind::Connection),
    ] {
        let server = Scripted::start(vec![Step::Raw(answer.clone().into_bytes())]).await;
        let error = client(&server.url, generous()).await.events().await.err().expect("no stream");
        assert_eq!(error.kind(), kind, "{answer}: {error:?}");
        assert!(!format!("{error:?} {}", error.chain()).contains(PASSWORD), "{error:?}");
    }
}
