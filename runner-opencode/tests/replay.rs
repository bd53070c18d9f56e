//! Every recorded event stream, through the whole client.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, and the helpers beside them, say what they expect by unwrapping"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use runner_core::session::{
    AgentEvent, Finish, Message, MessageInfo, PartBody, Role, SessionStatus, ToolState,
};
use runner_core::{MessageId, SessionId};
use support::{Scripted, Step, chunk, client, generous, recordings};

/// The types of events that mean something to us. None of them may come out as `Other`.
const KNOWN: [&str; 15] = [
    "permission.replied",
    "question.replied",
    "question.rejected",
    "message.part.delta",
    "message.part.updated",
    "message.updated",
    "permission.asked",
    "question.asked",
    "server.connected",
    "server.heartbeat",
    "server.instance.disposed",
    "session.created",
    "session.error",
    "session.idle",
    "session.status",
];

async fn replay(text: &str) -> Vec<AgentEvent> {
    let steps = [Step::Stream, chunk(text), Step::End];
    let server = Scripted::start(steps.to_vec()).await;
    let events = client(&server.url, generous()).await.events().await.expect("open");
    events.map(|e| e.expect("no error")).collect().await
}

/// The recording with the name, played.
async fn play(name: &str) -> Vec<AgentEvent> {
    let text = support::fixture(&format!("recorded/{name}.sse"));
    replay(&text).await
}

/// What the recording's session holds, read as the client reads it.
async fn messages(body: &str) -> Vec<Message> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let server = Scripted::start(vec![Step::Raw(head.into_bytes()), Step::Hold]).await;
    let session = SessionId::new("ses_1").expect("an id");
    client(&server.url, generous()).await.messages(&session).await.expect("read")
}

/// The type of each event that is ours and no duplicate, straight from the recording.
fn kinds(text: &str) -> Vec<String> {
    let (whole, _unfinished) = text.rsplit_once("\n\n").expect("frames");
    whole
        .split("\n\n")
        .map(|frame| frame.strip_prefix("data: ").expect("a frame"))
        .map(|json| serde_json::from_str::<serde_json::Value>(json).expect("JSON"))
        .map(|frame| frame["payload"]["type"].as_str().expect("a type").to_owned())
        .filter(|kind| kind != "sync")
        .collect()
}

/// An event in a word, or `None` where it is one of the many that repeat.
fn word(event: &AgentEvent) -> Option<String> {
    Some(match event {
        AgentEvent::Status { status: SessionStatus::Busy, .. } => "busy".to_owned(),
        AgentEvent::Status { status: SessionStatus::Idle, .. } => "idle".to_owned(),
        AgentEvent::Status { status: SessionStatus::Retry { attempt, .. }, .. } => format!("retry {attempt}"),
        AgentEvent::Part { part, .. } => match &part.body {
            PartBody::Tool { tool, state, .. } => {
                let state = match state {
                    ToolState::Pending => "pending",
                    ToolState::Running { .. } => "running",
                    ToolState::Completed { .. } => "completed",
                    ToolState::Failed { .. } => "failed",
                };
                format!("{tool} {state}")
            }
            PartBody::StepFinish { .. } => "step".to_owned(),
            _ => return None,
        },
        AgentEvent::Message(info) => match &**info {
            MessageInfo { role: Role::Assistant, finish: Some(finish), completed: true, .. } => {
                format!("finish {finish:?}")
            }
            _ => return None,
        },
        AgentEvent::Failure { failure, .. } => format!("failure {}", failure.name),
        AgentEvent::InputNeeded(request) => format!("asks {}", request.name()),
        AgentEvent::InputSettled { .. } => "settled".to_owned(),
        AgentEvent::Disposed => "disposed".to_owned(),
        AgentEvent::SessionCreated { parent: Some(_), .. } => "child".to_owned(),
        _ => return None,
    })
}

/// The words of a recording, repeats in a row left out.
async fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = play(name).await.iter().filter_map(word).collect();
    words.dedup();
    words
}

#[tokio::test]
async fn every_event_that_we_claim_to_know_is_read() {
    let recorded = recordings(".sse");
    assert!(recorded.len() >= 20, "where are the recordings?");
    let mut seen = BTreeSet::new();
    for (name, text) in recorded {
        let kinds = kinds(&text);
        let events = replay(&text).await;
        assert_eq!(events.len(), kinds.len(), "{name}: each event once");
        for (event, kind) in events.iter().zip(&kinds) {
            let other = matches!(event, AgentEvent::Other(of) if of == kind);
            assert_eq!(other, !KNOWN.contains(&kind.as_str()), "{name}: {kind} is {event:?}");
        }
        seen.extend(kinds);
    }
    for kind in KNOWN {
        assert!(seen.contains(kind), "no recording has {kind}");
    }
}

#[tokio::test]
async fn the_deltas_of_a_part_are_its_text() {
    let mut compared = 0;
    for (name, text) in recordings(".sse") {
        let mut written: BTreeMap<Arc<str>, String> = BTreeMap::new();
        let mut last: BTreeMap<Arc<str>, String> = BTreeMap::new();
        for event in replay(&text).await {
            match event {
                AgentEvent::Delta { part, text, .. } => written.entry(part).or_default().push_str(&text),
                AgentEvent::Part { part, .. } => {
                    if let PartBody::Text(text) | PartBody::Reasoning(text) = part.body {
                        last.insert(part.id, text);
                    }
                }
                _ => {}
            }
        }
        for (part, text) in written {
            // The server trims a text once it is whole.
            let whole = last.get(&part).map(String::as_str).unwrap_or_default();
            assert!(
                whole.trim() == text.trim() || whole.is_empty(),
                "{name}: {part} is {whole:?}, written as {text:?}"
            );
            compared += usize::from(!whole.is_empty());
        }
    }
    assert!(compared > 20, "only {compared} parts were compared");
}

#[tokio::test]
async fn the_stream_and_the_session_say_the_same() {
    let mut compared = 0;
    let sessions: BTreeMap<_, _> = recordings(".messages.json").into_iter().collect();
    for (name, text) in recordings(".sse") {
        let Some(body) = sessions.get(&name) else { continue };
        let mut streamed: BTreeMap<MessageId, Box<MessageInfo>> = BTreeMap::new();
        for event in replay(&text).await {
            if let AgentEvent::Message(info) = event {
                streamed.insert(info.id.clone(), info);
            }
        }
        let read = messages(body).await;
        assert!(!read.is_empty(), "{name}");
        for message in read.iter().filter(|m| m.info.role == Role::Assistant) {
            if let Some(info) = streamed.get(&message.info.id).filter(|info| info.completed) {
                assert_eq!(**info, message.info, "{name}");
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "only {compared} messages were compared");
}

#[tokio::test]
async fn a_plain_turn() {
    assert_eq!(words("plain-turn").await, ["busy", "step", "finish Stop", "busy", "idle"]);
}

#[tokio::test]
async fn a_turn_with_a_tool() {
    assert_eq!(
        words("tool-turn").await,
        [
            "busy",
            "bash pending",
            "bash running",
            "bash completed",
            "step",
            "finish ToolCalls",
            "busy",
            "step",
            "finish Stop",
            "busy",
            "idle"
        ]
    );
}

#[tokio::test]
async fn a_provider_that_refuses() {
    let events = play("provider-401").await;
    let failure = events.iter().find_map(|e| match e {
        AgentEvent::Failure { failure, .. } => Some(failure),
        _ => None,
    });
    let failure = failure.expect("a failure");
    assert_eq!((failure.name.as_str(), failure.status), ("APIError", Some(401)));
    assert!(!failure.aborted && !failure.recoverable);
    let stored = events.iter().find_map(|e| match e {
        AgentEvent::Message(info) => info.error.as_ref(),
        _ => None,
    });
    assert_eq!(stored, Some(failure), "the message stores the same");
}

#[tokio::test]
async fn a_model_that_does_not_exist() {
    let failures: Vec<String> = play("unknown-model")
        .await
        .into_iter()
        .filter_map(|e| match e {
            AgentEvent::Failure { failure, .. } => Some(failure.message),
            _ => None,
        })
        .collect();
    assert_eq!(failures.len(), 2);
    for message in failures {
        assert!(message.contains("Model not found") && !message.contains('\n'), "{message}");
        assert!(!message.contains("    at "), "{message}");
    }
}

#[tokio::test]
async fn requests_for_input() {
    for (name, what) in [
        ("permission-once", "asks bash"),
        ("permission-rejected", "asks bash"),
        ("question-answered", "asks question"),
        ("question-rejected", "asks question"),
    ] {
        assert!(words(name).await.iter().any(|w| w == what), "{name}");
    }
}

#[tokio::test]
async fn a_sub_agent_has_a_parent_and_ends_on_its_own() {
    let events = play("subagent-turn").await;
    let children: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            AgentEvent::SessionCreated { session, parent: Some(parent) } => Some((session, parent)),
            _ => None,
        })
        .collect();
    let [(child, parent)] = children[..] else { panic!("one child: {children:?}") };
    let idle_of = |of: &SessionId| {
        events.iter().position(
            |e| matches!(e, AgentEvent::Status { session, status: SessionStatus::Idle } if session == of),
        )
    };
    assert!(idle_of(child).expect("idle") < idle_of(parent).expect("idle"));
}

#[tokio::test]
async fn retries_aborts_cuts_and_a_disposed_instance() {
    for (name, word) in [
        ("retry-turn", "retry 1"),
        ("abort-mid-stream", "failure MessageAbortedError"),
        ("abort-while-waiting-for-a-retry", "retry 1"),
        ("length-cut", "finish Length"),
        ("content-filter", "finish ContentFilter"),
        ("endless-unknown-finish", "finish Other(\"unknown\")"),
        ("instance-disposed-mid-turn", "disposed"),
    ] {
        let words = words(name).await;
        assert!(words.iter().any(|w| w == word), "{name}: {words:?}");
    }
}

#[tokio::test]
async fn a_compaction_is_marked_as_a_summary() {
    let summary = |e: &AgentEvent| matches!(e, AgentEvent::Message(info) if info.summary);
    assert!(play("compaction-turn").await.iter().any(summary));
    assert!(!play("plain-turn").await.iter().any(summary));
}

#[tokio::test]
async fn an_answer_without_text_is_told_apart_by_its_parts() {
    let events = play("empty-answer").await;
    let stop = |e: &AgentEvent| matches!(e, AgentEvent::Message(info) if info.role == Role::Assistant && info.finish == Some(Finish::Stop));
    assert!(events.iter().any(stop));
    assert!(!events.iter().any(|e| matches!(e, AgentEvent::Delta { .. })));
}
