//! Every call against the replies of a real server, and against servers that misbehave.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, and the helpers beside them, say what they expect by unwrapping"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use runner_core::attachment::Attachment;
use runner_core::session::{NewSession, PartBody, Prompt, Role, SessionStatus, ToolState};
use runner_core::{AgentApi, AgentConnector, Error, ErrorKind, Retry, SessionId};
use runner_opencode::{OpenCodeConfig, OpenCodeConnector};
use serde_json::json;
use support::{
    DIRECTORY, PASSWORD, SHORT, Scripted, Step, client, endpoint, fixture, generous, hasty, recordings,
};
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// `opencode:pw-SECRET` in base 64.
const AUTHORIZATION: &str = "Basic b3BlbmNvZGU6cHctU0VDUkVU";

fn ok_json(fixture_name: &str) -> ResponseTemplate {
    reply(200, fixture_name)
}

fn reply(status: u16, name: &str) -> ResponseTemplate {
    let media_type = if name == "page.html" { "text/html" } else { "application/json" };
    ResponseTemplate::new(status).set_body_raw(fixture(&format!("replies/{name}")), media_type)
}

async fn answering(reply: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(header("authorization", AUTHORIZATION))
        .and(query_param("directory", DIRECTORY))
        .respond_with(reply)
        .mount(&server)
        .await;
    server
}

fn session() -> SessionId {
    SessionId::new("ses_def368c80ffeaIOORIEW1n72tP").expect("an id")
}

fn prompt(api: &dyn AgentApi) -> Prompt {
    Prompt::new(api.next_message_id(), "say \"hi\"\n")
}

/// One of each kind of call, with its name.
async fn call_all(api: &dyn AgentApi) -> Vec<(&'static str, Error)> {
    let new = NewSession { title: "t".to_owned() };
    let results = [
        ("health", api.health().await.map(drop)),
        ("create_session", api.create_session(&new).await.map(drop)),
        ("prompt", api.prompt(&session(), &prompt(api)).await),
        ("abort", api.abort(&session()).await),
        ("messages", api.messages(&session()).await.map(drop)),
        ("session_status", api.session_status(&session()).await.map(drop)),
        ("events", api.events().await.map(drop)),
    ];
    results.into_iter().map(|(name, result)| (name, result.expect_err(name))).collect()
}

#[tokio::test]
async fn health_is_a_version() {
    let server = answering(ok_json("health.json")).await;
    let health = client(server.uri(), generous()).await.health().await.expect("healthy");
    assert_eq!(health.version, "1.18.33");
    let requests = server.received_requests().await.expect("recorded");
    assert_eq!(requests[0].url.path(), "/global/health");
}

#[tokio::test]
async fn other_versions_are_refused_by_name() {
    for version in ["2.0.5", "1.17.18", "1.180.0", "1.18", "", "\u{1b}[31mx"] {
        let body = json!({"healthy": true, "version": version});
        let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
        let e = client(server.uri(), generous()).await.health().await.expect_err(version);
        assert_eq!((e.kind(), e.retry()), (ErrorKind::UnsupportedVersion, Retry::Permanent), "{version}");
        assert!(e.message().contains("1.18.x") && e.hint().is_some(), "{e}");
        assert!(!e.to_string().contains(char::is_control), "{e:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_healthy_yet_is_probed_again() {
    let body = json!({"healthy": false, "version": "1.18.33"});
    let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
    let e = client(server.uri(), generous()).await.health().await.expect_err("unhealthy");
    assert_eq!((e.kind(), e.retry()), (ErrorKind::Connection, Retry::Temporary));
}

#[tokio::test]
async fn wrong_credentials_are_permanent_for_every_call() {
    // As the server sends it: no body at all.
    let server = answering(ResponseTemplate::new(401).insert_header("www-authenticate", "Basic")).await;
    let api = client(server.uri(), generous()).await;
    for (name, e) in call_all(&*api).await {
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Unauthorized, Retry::Permanent), "{name}");
    }
    let warm = api.warm_up().await.expect_err("unauthorized");
    assert_eq!(warm.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_page_with_status_200_is_an_error_for_every_call() {
    let server = answering(reply(200, "page.html")).await;
    for (name, e) in call_all(&*client(server.uri(), generous()).await).await {
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Protocol, Retry::Permanent), "{name}");
        assert!(e.message().contains("text/html"), "{name}: {e}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = MockServer::start().await;
    let redirect = ResponseTemplate::new(302).insert_header("location", target.uri());
    let server = answering(redirect).await;
    for (name, e) in call_all(&*client(server.uri(), generous()).await).await {
        assert_eq!(e.kind(), ErrorKind::Protocol, "{name}");
    }
    assert!(target.received_requests().await.expect("recorded").is_empty());
}

#[tokio::test]
async fn the_servers_errors_are_told_in_one_safe_line() {
    for (status, name, kind) in [
        (404, "not-found.json", ErrorKind::NotFound),
        (400, "bad-request.json", ErrorKind::Protocol),
        (400, "config-invalid.json", ErrorKind::InvalidInput),
        (500, "unknown-error.json", ErrorKind::Agent),
        (500, "page.html", ErrorKind::Agent),
        (403, "page.html", ErrorKind::PermissionDenied),
    ] {
        let server = answering(reply(status, name)).await;
        for (call, e) in call_all(&*client(server.uri(), generous()).await).await {
            assert_eq!((e.kind(), e.retry()), (kind, Retry::Permanent), "{call} {name}");
            let all = format!("{e:?} {}", e.chain());
            assert!(!all.contains("SECRET") && !all.contains('\n'), "{call} {name}: {all}");
        }
    }
}

#[tokio::test]
async fn a_slow_answer_is_a_timeout_for_every_call() {
    let server = answering(ok_json("health.json").set_delay(SHORT * 20)).await;
    for (name, e) in call_all(&*client(server.uri(), hasty()).await).await {
        let expected = if name == "prompt" { Retry::Permanent } else { Retry::Temporary };
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Timeout, expected), "{name}");
        assert!(e.message().contains("300ms"), "{name}: {e}");
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_too() {
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"he".to_vec();
    let server = Scripted::start(vec![Step::Raw(head), Step::Hold]).await;
    let e = client(&server.url, hasty()).await.health().await.expect_err("stalled");
    assert_eq!((e.kind(), e.retry()), (ErrorKind::Timeout, Retry::Temporary));
}

#[tokio::test]
async fn a_server_that_is_not_there_or_leaves_is_a_connection_error() {
    let unused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let half_answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{".to_vec();
    let leaves = Scripted::start(vec![]).await;
    let cuts_head = Scripted::start(vec![Step::Raw(b"HTTP/1.1 2".to_vec())]).await;
    let cuts_body = Scripted::start(vec![Step::Raw(half_answer)]).await;
    let servers = [
        ("refuses", format!("http://{unused}")),
        ("leaves", leaves.url.clone()),
        ("cuts the head", cuts_head.url.clone()),
        ("cuts the body", cuts_body.url.clone()),
    ];
    for (what, url) in servers {
        let e = client(url, generous()).await.health().await.expect_err(what);
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Connection, Retry::Temporary), "{what}: {e:?}");
        let text = e.chain();
        assert!(!text.contains("directory=") && !text.contains(PASSWORD), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    let server = Scripted::start(vec![Step::Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec())]).await;
    let e = client(&server.url, generous()).await.health().await.expect_err("ssh");
    assert!(matches!(e.kind(), ErrorKind::Connection | ErrorKind::Protocol), "{e:?}");
}

#[tokio::test]
async fn an_answer_that_is_cut_or_unknown_is_not_repeated() {
    for body in ["", "{\"healthy\":true,\"vers", "[]", "{\"version\":[\"sk-SECRET\"]}", "\u{feff}{}"] {
        let reply = ResponseTemplate::new(200).set_body_raw(body, "application/json");
        let server = answering(reply).await;
        let e = client(server.uri(), generous()).await.health().await.expect_err(body);
        assert_eq!((e.kind(), e.retry()), (ErrorKind::Protocol, Retry::Permanent), "{body}");
        assert!(!format!("{e:?}").contains("SECRET"));
    }
    let server =
        answering(ResponseTemplate::new(200).set_body_raw(b"\xff\xfe".to_vec(), "application/json")).await;
    let e = client(server.uri(), generous()).await.health().await.expect_err("no text");
    assert_eq!(e.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn an_answer_may_only_be_so_large() {
    let config = || OpenCodeConfig { max_body_bytes: 1000, ..generous() };
    let server =
        answering(ResponseTemplate::new(200).set_body_raw(vec![b' '; 1001], "application/json")).await;
    let e = client(server.uri(), config()).await.messages(&session()).await.expect_err("announced");
    assert_eq!((e.kind(), e.retry()), (ErrorKind::Protocol, Retry::Permanent));
    assert!(e.message().contains("1000"), "{e}");

    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let endless = std::iter::repeat_n(support::chunk([b' '; 100]), 1000);
    let script = std::iter::once(Step::Raw(head)).chain(endless).collect();
    let server = Scripted::start(script).await;
    let e = client(&server.url, config()).await.messages(&session()).await.expect_err("not announced");
    assert_eq!(e.kind(), ErrorKind::Protocol, "{e:?}");
}

#[tokio::test]
async fn a_session_is_made_with_its_title() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/session"))
        .and(query_param("directory", DIRECTORY))
        .and(header("authorization", AUTHORIZATION))
        .and(body_json(json!({"title": "a \"title\""})))
        .respond_with(ok_json("session.json"))
        .expect(1)
        .mount(&server)
        .await;
    let new = NewSession { title: "a \"title\"".to_owned() };
    let id = client(server.uri(), generous()).await.create_session(&new).await.expect("made");
    assert_eq!(id.as_str(), "ses_def37d3b0ffenHrHZXYXpw4Lcs");
}

#[tokio::test]
async fn a_session_elsewhere_or_with_a_hostile_id_is_refused() {
    for (body, what) in [
        (json!({"id": "ses_1", "directory": "/"}), "works in"),
        (json!({"id": "../../x", "directory": DIRECTORY}), "an id"),
    ] {
        let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
        let new = NewSession { title: "t".to_owned() };
        let e = client(server.uri(), generous()).await.create_session(&new).await.expect_err(what);
        assert_eq!(e.kind(), ErrorKind::Protocol);
        assert!(e.message().contains(what), "{e}");
    }
}

#[tokio::test]
async fn each_call_accepts_one_type_of_answer() {
    let server = answering(reply(404, "not-found.json")).await;
    call_all(&*client(server.uri(), generous()).await).await;
    for request in server.received_requests().await.expect("recorded") {
        let accepted: Vec<_> = request.headers.get_all("accept").iter().collect();
        let stream = request.url.path() == "/global/event";
        assert_eq!(accepted, [if stream { "text/event-stream" } else { "application/json" }], "{request:?}");
    }
}

#[tokio::test]
async fn directories_are_encoded_and_nothing_else_reaches_the_address() {
    let server = MockServer::start().await;
    Mock::given(query_param("directory", "/a b&c=d/é+%2F"))
        .respond_with(ok_json("health.json"))
        .expect(1)
        .mount(&server)
        .await;
    let mut there = endpoint(server.uri());
    there.directory = "/a b&c=d/é+%2F".to_owned();
    let api = OpenCodeConnector::new(generous()).expect("a client").connect(there).await.expect("usable");
    api.health().await.expect("healthy");
}

#[tokio::test]
async fn a_prompt_is_sent_with_our_id_and_only_what_was_asked_for() {
    let server = MockServer::start().await;
    let api = client(server.uri(), generous()).await;
    let mut full = prompt(&*api);
    full.model = Some("stub/a/m1".parse().expect("a model"));
    full.system = Some("be brief".to_owned());
    full.mode = Some("plan".to_owned());
    full.attachments = vec![Attachment::new("a.txt", "text/plain", "file body").expect("a file")];
    let plain = prompt(&*api);
    let text = json!([{"type": "text", "text": "say \"hi\"\n"}]);
    for body in [
        json!({
            "messageID": full.message, "model": {"providerID": "stub", "modelID": "a/m1"},
            "system": "be brief", "agent": "plan",
            "parts": [text[0], {"type": "file", "mime": "text/plain", "filename": "a.txt",
                "url": "data:text/plain;base64,ZmlsZSBib2R5"}],
        }),
        json!({"messageID": plain.message, "parts": text}),
    ] {
        Mock::given(method("POST"))
            .and(path(format!("/session/{}/prompt_async", session())))
            .and(query_param("directory", DIRECTORY))
            .and(body_json(body))
            .respond_with(ResponseTemplate::new(204))
            .expect(1)
            .mount(&server)
            .await;
    }
    api.prompt(&session(), &full).await.expect("accepted");
    api.prompt(&session(), &plain).await.expect("accepted");
}

#[tokio::test]
async fn a_prompt_is_accepted_by_204_alone() {
    let busy = json!({"_tag": "SessionBusyError", "message": "Session is busy"});
    for (reply, kind) in [
        (ResponseTemplate::new(409).set_body_json(busy), ErrorKind::Busy),
        (reply(404, "not-found.json"), ErrorKind::NotFound),
        (ResponseTemplate::new(200), ErrorKind::Protocol),
        (ok_json("session.json"), ErrorKind::Protocol),
        (reply(200, "page.html"), ErrorKind::Protocol),
    ] {
        let server = answering(reply).await;
        let api = client(server.uri(), generous()).await;
        let e = api.prompt(&session(), &prompt(&*api)).await.expect_err("not accepted");
        assert_eq!((e.kind(), e.session()), (kind, Some(&session())), "{e:?}");
    }
}

#[tokio::test]
async fn a_prompt_whose_fate_is_unknown_is_never_sent_again() {
    let server = Scripted::start(vec![]).await;
    let api = client(&server.url, generous()).await;
    let e = api.prompt(&session(), &prompt(&*api)).await.expect_err("dropped");
    assert_eq!((e.kind(), e.retry()), (ErrorKind::Connection, Retry::Permanent), "{e:?}");
    assert!(e.hint().is_some_and(|hint| hint.contains("unknown")), "{e}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_prompt_that_was_never_sent_may_be_sent_again() {
    let unused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let api = client(format!("http://{unused}"), generous()).await;
    let e = api.prompt(&session(), &prompt(&*api)).await.expect_err("refused");
    assert_eq!((e.kind(), e.retry()), (ErrorKind::Connection, Retry::Temporary));
}

#[tokio::test]
async fn an_abort_names_the_session_and_the_directory() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path(format!("/session/{}/abort", session())))
        .and(query_param("directory", DIRECTORY))
        .respond_with(ResponseTemplate::new(200).set_body_raw("true", "application/json"))
        .expect(1)
        .mount(&server)
        .await;
    client(server.uri(), generous()).await.abort(&session()).await.expect("asked");
}

#[tokio::test]
async fn a_status_that_is_absent_is_idle_and_an_unknown_one_is_work() {
    let server = answering(ok_json("status.json")).await;
    let api = client(server.uri(), generous()).await;
    let of = |id: &str| SessionId::new(id).expect("an id");
    assert_eq!(api.session_status(&session()).await.expect("read"), SessionStatus::Busy);
    assert_eq!(api.session_status(&of("ses_other")).await.expect("read"), SessionStatus::Idle);
    let retry = SessionStatus::Retry {
        attempt: 1,
        message: "stub says 429 RA".to_owned(),
        next_at_ms: Some(1_795_581_577_625),
    };
    assert_eq!(api.session_status(&of("ses_def36662affepi4Axol1MkdQUv")).await.expect("read"), retry);

    let odd = json!({"ses_a": {"type": "dreaming"}, "ses_b": 7, "ses_c": {"type": "idle"}});
    let server = answering(ResponseTemplate::new(200).set_body_json(odd)).await;
    let api = client(server.uri(), generous()).await;
    assert_eq!(api.session_status(&of("ses_a")).await.expect("read"), SessionStatus::Busy);
    assert_eq!(api.session_status(&of("ses_b")).await.expect_err("odd").kind(), ErrorKind::Protocol);
    assert_eq!(api.session_status(&of("ses_c")).await.expect("read"), SessionStatus::Idle);
}

#[tokio::test]
async fn every_recorded_session_is_read_whole() {
    let recorded = recordings(".messages.json");
    assert!(recorded.len() >= 20, "where are the recordings?");
    for (name, body) in recorded {
        let server =
            answering(ResponseTemplate::new(200).set_body_raw(body.clone(), "application/json")).await;
        let messages = client(server.uri(), generous()).await.messages(&session()).await.expect(&name);
        let raw: Vec<serde_json::Value> = serde_json::from_str(&body).expect("JSON");
        assert_eq!(messages.len(), raw.len(), "{name}");
        for (message, raw) in messages.iter().zip(&raw) {
            let parts = raw["parts"].as_array().expect("parts");
            assert_eq!(message.parts.len(), parts.len(), "{name}");
            let text: String =
                parts.iter().filter(|p| p["type"] == "text").filter_map(|p| p["text"].as_str()).collect();
            assert_eq!(message.text(), text, "{name}");
            assert_eq!(message.info.role == Role::Assistant, raw["info"]["role"] == "assistant");
            assert_eq!(message.info.error.is_some(), !raw["info"]["error"].is_null(), "{name}");
            assert_eq!(message.info.parent.is_some(), !raw["info"]["parentID"].is_null(), "{name}");
        }
    }
}

#[tokio::test]
async fn what_the_server_may_add_to_a_message_does_no_harm() {
    let info = json!({"id": "msg_1", "sessionID": "ses_1", "role": "assistant", "new": {"a": [1]}, "finish": "tired",
        "cost": null, "tokens": {"input": 1.0, "output": null}, "time": {}, "summary": {"diffs": []},
        "error": {"name": "NewError", "data": "?"}});
    let ids = |kind: &str| json!({"id": "prt_1", "messageID": "msg_1", "sessionID": "ses_1", "type": kind});
    let mut odd = ids("hologram");
    odd["text"] = json!({"not": "text"});
    odd["state"] = json!(7);
    let mut tool = ids("tool");
    tool["tool"] = json!("bash");
    tool["state"] = json!({"status": "levitating"});
    let other_role = json!({"info": {"id": "msg_2", "sessionID": "ses_1", "role": "oracle"}, "parts": []});
    let body = json!([{"info": info, "parts": [odd, tool, ids("text")]}, other_role]);
    let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
    let messages = client(server.uri(), generous()).await.messages(&session()).await.expect("read");
    assert_eq!(messages.len(), 1, "a role that we do not know says nothing to us");
    let message = &messages[0];
    assert_eq!(format!("{:?}", message.info.finish), "Some(Other(\"tired\"))");
    assert_eq!(message.info.error.as_ref().map(|e| e.name.as_str()), Some("NewError"));
    assert!(!message.info.completed && !message.info.summary);
    let bodies: Vec<_> = message.parts.iter().map(|p| &p.body).collect();
    assert!(matches!(bodies[0], PartBody::Other(kind) if kind == "hologram"));
    assert!(matches!(bodies[1], PartBody::Other(kind) if kind == "tool"));
    assert!(matches!(bodies[2], PartBody::Text(text) if text.is_empty()));
}

#[tokio::test]
async fn an_answer_of_the_agent_that_cannot_be_read_is_not_left_out() {
    let part = json!({"id": "prt_1", "messageID": "msg_1", "sessionID": "ses_1", "type": "text", "text": 7});
    let body = json!([{"info": {"id": "msg_1", "sessionID": "ses_1", "role": "assistant"}, "parts": [part]}]);
    let server = answering(ResponseTemplate::new(200).set_body_json(body)).await;
    let e = client(server.uri(), generous()).await.messages(&session()).await.expect_err("unreadable");
    assert_eq!(e.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn tool_calls_keep_their_input_and_output() {
    let server = answering(
        ResponseTemplate::new(200)
            .set_body_raw(fixture("recorded/tool-turn.messages.json"), "application/json"),
    )
    .await;
    let messages = client(server.uri(), generous()).await.messages(&session()).await.expect("read");
    let calls: Vec<_> = messages
        .iter()
        .flat_map(|m| &m.parts)
        .filter_map(|p| match &p.body {
            PartBody::Tool { tool, state: ToolState::Completed { input, output }, .. } => {
                Some((tool.as_str(), input["command"].as_str(), output.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(calls, [("bash", Some("echo hi > hello.txt; cat hello.txt"), "hi\n")]);
}

#[tokio::test]
async fn the_warm_up_asks_for_several_things_at_once() {
    let server = answering(ok_json("status.json").set_delay(SHORT)).await;
    let begun = std::time::Instant::now();
    client(server.uri(), generous()).await.warm_up().await.expect("warm");
    let took = begun.elapsed();
    let requests = server.received_requests().await.expect("recorded");
    assert!(requests.len() > 3);
    let one_by_one = SHORT * u32::try_from(requests.len()).expect("a few");
    assert!(took < one_by_one, "{took:?}");
    assert!(requests.iter().any(|r| r.url.path() == "/config/providers"), "this one is what helps most");
}

#[tokio::test]
async fn a_warm_up_fails_only_where_no_turn_would_work() {
    for harmless in
        [reply(404, "not-found.json"), reply(200, "page.html"), ok_json("status.json").set_delay(SHORT * 9)]
    {
        let server = answering(harmless).await;
        client(server.uri(), hasty()).await.warm_up().await.expect("no more than slower");
    }
    for (fatal, kind) in [
        (reply(400, "config-invalid.json"), ErrorKind::InvalidInput),
        (reply(500, "unknown-error.json"), ErrorKind::Agent),
    ] {
        let server = answering(fatal).await;
        let e = client(server.uri(), generous()).await.warm_up().await.expect_err("broken");
        assert_eq!(e.kind(), kind);
    }
    let leaves = Scripted::start(vec![]).await;
    let e = client(&leaves.url, generous()).await.warm_up().await.expect_err("gone");
    assert_eq!((e.kind(), e.retry()), (ErrorKind::Connection, Retry::Temporary));
}

#[tokio::test]
async fn addresses_and_credentials_that_cannot_be_used_are_refused_before_anything_is_sent() {
    let connector = OpenCodeConnector::new(generous()).expect("a client");
    let mut colon = endpoint("http://127.0.0.1:1");
    colon.credentials.username = "a:b".to_owned();
    let mut relative = endpoint("http://127.0.0.1:1");
    relative.directory = "workspace".to_owned();
    for bad in
        [endpoint("https://127.0.0.1"), endpoint("nonsense"), endpoint("http://u:p@x"), colon, relative]
    {
        let e = connector.connect(bad).await.expect_err("unusable");
        assert_eq!((e.kind(), e.retry()), (ErrorKind::InvalidInput, Retry::Permanent));
    }
}

#[tokio::test]
async fn what_is_printed_of_a_client_holds_no_secret() {
    let connector = OpenCodeConnector::new(generous()).expect("a client");
    let api = connector.connect(endpoint("http://127.0.0.1:4096")).await.expect("usable");
    assert_eq!(format!("{api:?}"), "OpenCodeClient { base_url: \"http://127.0.0.1:4096/\", .. }");
    assert!(!format!("{connector:?}").contains("SECRET"));
}

#[test]
fn a_server_is_started_closed_and_quiet() {
    let needs = OpenCodeConnector::new(generous()).expect("a client").requirements();
    assert_eq!((needs.port, needs.username.as_str()), (4096, "opencode"));
    assert_eq!(needs.heartbeat, Duration::from_secs(10));
    for name in [
        "OPENCODE_PURE",
        "OPENCODE_DISABLE_PROJECT_CONFIG",
        "OPENCODE_DISABLE_AUTOUPDATE",
        "OPENCODE_DISABLE_MODELS_FETCH",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_SHARE",
    ] {
        assert_eq!(needs.env.get(name).map(String::as_str), Some("1"), "{name}");
    }
}
