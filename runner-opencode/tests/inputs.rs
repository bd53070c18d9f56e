//! Requests for a person: what the real server lists, and what is sent back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use runner_core::input::{InputAnswer, InputKind, InputRequest};
use runner_core::{ErrorKind, SessionId};
use serde_json::{Value, json};
use support::{client, fixture, hasty};
use wiremock::matchers::{body_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn json_reply(body: impl Into<Vec<u8>>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "application/json")
}

async fn listing(permissions: &str, questions: &str) -> MockServer {
    let server = MockServer::start().await;
    for (at, body) in [("/permission", permissions), ("/question", questions)] {
        Mock::given(method("GET")).and(path(at)).respond_with(json_reply(body)).mount(&server).await;
    }
    server
}

fn request(id: &str, kind: InputKind) -> InputRequest {
    let session = SessionId::new("ses_dee7ada49ffeaXLfCVKw4gpSEK").unwrap();
    InputRequest { id: id.into(), session, kind, call_id: None }
}

fn permission(id: &str) -> InputRequest {
    let kind = InputKind::Permission { permission: "bash".into(), patterns: Vec::new(), always: Vec::new() };
    request(id, kind)
}

#[tokio::test]
async fn both_lists_are_read_as_the_real_server_writes_them() {
    let server = listing(&fixture("replies/permissions.json"), &fixture("replies/questions.json")).await;
    let found = client(server.uri(), hasty()).await.input_requests().await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].to_string(), "bash: echo hi");
    assert_eq!(
        (&*found[0].id, found[0].call_id.as_deref()),
        ("per_211852aef001ErTFsG9QUGnKTf", Some("call_1"))
    );
    let InputKind::Permission { always, .. } = &found[0].kind else { panic!("{found:?}") };
    assert_eq!(always, &["echo *"]);
    assert_eq!(found[1].to_string(), "question: Which colour?");
    let InputKind::Questions(questions) = &found[1].kind else { panic!("{found:?}") };
    assert_eq!((questions[0].options[0].label.as_str(), questions[0].multiple), ("Red", true));
}

#[tokio::test]
async fn one_odd_request_hides_no_other() {
    let good: Value = serde_json::from_str(&fixture("replies/permissions.json")).unwrap();
    let list = json!([{"id": 7}, good[0], {"id": "per_2", "sessionID": "ses_1", "permission": "later", "patterns": null}, 3]);
    let server = listing(&list.to_string(), "[]").await;
    let found = client(server.uri(), hasty()).await.input_requests().await.unwrap();
    assert_eq!(found.iter().map(|r| &*r.id).collect::<Vec<_>>(), ["per_211852aef001ErTFsG9QUGnKTf"]);

    let server = listing("{}", "[]").await;
    let error = client(server.uri(), hasty()).await.input_requests().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "what is no list is no empty list: {error}");
}

#[tokio::test]
async fn every_answer_goes_where_it_belongs() {
    let questions = || {
        let question = runner_core::input::Question {
            header: String::new(),
            text: String::new(),
            options: Vec::new(),
            multiple: false,
        };
        request("que_1", InputKind::Questions(vec![question.clone(), question]))
    };
    let deny = |message: Option<&str>| InputAnswer::Deny { message: message.map(str::to_owned) };
    let answers = InputAnswer::Answers(vec![vec!["Red".into(), "own words".into()], Vec::new()]);
    for (request, answer, at, body) in [
        (permission("per_1"), InputAnswer::Allow, "/permission/per_1/reply", Some(json!({"reply": "once"}))),
        (
            permission("per_1"),
            InputAnswer::AllowAlways,
            "/permission/per_1/reply",
            Some(json!({"reply": "always"})),
        ),
        (permission("per_1"), deny(None), "/permission/per_1/reply", Some(json!({"reply": "reject"}))),
        (
            permission("per_1"),
            deny(Some("no")),
            "/permission/per_1/reply",
            Some(json!({"reply": "reject", "message": "no"})),
        ),
        (questions(), answers, "/question/que_1/reply", Some(json!({"answers": [["Red", "own words"], []]}))),
        (questions(), deny(None), "/question/que_1/reject", None),
    ] {
        let server = MockServer::start().await;
        let mut expected = Mock::given(method("POST")).and(path(at));
        if let Some(body) = body {
            expected = expected.and(body_json(body));
        }
        expected.respond_with(json_reply("true")).expect(1).mount(&server).await;
        client(server.uri(), hasty()).await.answer_input(&request, &answer).await.expect(at);
    }
}

#[tokio::test]
async fn what_cannot_be_an_answer_is_never_sent() {
    let server = MockServer::start().await;
    let api = client(server.uri(), hasty()).await;
    for (request, answer) in [
        (permission("per_1"), InputAnswer::Answers(Vec::new())),
        (request("que_1", InputKind::Questions(Vec::new())), InputAnswer::Allow),
        (permission("../../session"), InputAnswer::Allow),
        (permission(""), InputAnswer::Allow),
    ] {
        let error = api.answer_input(&request, &answer).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_is_settled_is_not_found() {
    let server = MockServer::start().await;
    let gone = ResponseTemplate::new(404)
        .set_body_raw(fixture("replies/permission-not-found.json"), "application/json");
    Mock::given(method("POST")).respond_with(gone).mount(&server).await;
    let api = client(server.uri(), hasty()).await;
    let error = api.answer_input(&permission("per_000"), &InputAnswer::Allow).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.message().contains("not found"), "{error}");
}
