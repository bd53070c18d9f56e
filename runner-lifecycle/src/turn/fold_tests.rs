//! The corners of the fold that whole turns on a fake do not reach, each one seen on the real server.

#![allow(clippy::needless_pass_by_value, reason = "cases read better without references")]

use runner_core::event::RunEventKind;
use runner_core::session::{
    AgentEvent, AgentFailure, Finish, Message, MessageInfo, Part, PartBody, Role, SessionStatus, ToolState,
    Usage,
};
use runner_core::{MessageId, SessionId};

use super::fold::TurnFold;
use super::verdict::{TurnFailure, Verdict};

fn session() -> SessionId {
    SessionId::new("ses_1").unwrap()
}

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn message(name: &str, parent: Option<&str>, finish: Option<Finish>) -> MessageInfo {
    MessageInfo {
        id: id(name),
        session: session(),
        role: if parent.is_some() { Role::Assistant } else { Role::User },
        parent: parent.map(id),
        completed: finish.is_some(),
        finish,
        error: None,
        summary: false,
        usage: Usage::default(),
    }
}

fn text_part(part: &str, of: &str, text: &str) -> Part {
    Part { id: part.into(), message: id(of), body: PartBody::Text(text.into()) }
}

struct Case {
    fold: TurnFold,
    out: Vec<RunEventKind>,
}

impl Case {
    fn new(earlier: &[&str]) -> Self {
        let earlier = earlier.iter().map(|e| id(e)).collect();
        Self { fold: TurnFold::new(session(), id("msg_u"), earlier, &[]), out: Vec::new() }
    }

    fn see(&mut self, event: AgentEvent) -> &mut Self {
        self.fold.on_event(&event, &mut self.out);
        self
    }

    fn prompt(&mut self) -> &mut Self {
        self.see(AgentEvent::Message(Box::new(message("msg_u", None, None))))
    }

    fn message(&mut self, name: &str, parent: Option<&str>, finish: Option<Finish>) -> &mut Self {
        self.see(AgentEvent::Message(Box::new(message(name, parent, finish))))
    }

    fn part(&mut self, part: &str, of: &str, text: &str) -> &mut Self {
        self.see(AgentEvent::Part { session: session(), part: Box::new(text_part(part, of, text)) })
    }

    fn delta(&mut self, part: &str, text: &str) -> &mut Self {
        let message = id("msg_a");
        self.see(AgentEvent::Delta { session: session(), message, part: part.into(), text: text.into() })
    }

    fn status(&mut self, status: SessionStatus) -> &mut Self {
        self.see(AgentEvent::Status { session: session(), status })
    }

    fn streamed(&self) -> String {
        let texts = self.out.iter().filter_map(|k| match k {
            RunEventKind::Text { delta, .. } => Some(delta.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

#[test]
fn an_idle_of_the_turn_before_does_not_end_this_one() {
    let mut case = Case::new(&["msg_old"]);
    case.status(SessionStatus::Idle);
    assert!(!case.fold.is_idle());
    case.prompt().status(SessionStatus::Busy).message("msg_old", None, None);
    // Late news of the old prompt must not make its answers ours.
    case.message("msg_x", Some("msg_old"), Some(Finish::Stop)).status(SessionStatus::Idle);
    assert_eq!(case.fold.verdict(true), Verdict::Open);
}

#[test]
fn a_text_that_the_server_trims_is_trimmed_in_the_answer() {
    let mut case = Case::new(&[]);
    case.prompt().message("msg_a", Some("msg_u"), None).part("p1", "msg_a", "").delta("p1", "hi \n");
    case.part("p1", "msg_a", "hi").message("msg_a", Some("msg_u"), Some(Finish::Stop));
    assert_eq!((case.streamed().as_str(), case.fold.text().as_str()), ("hi \n", "hi"));
    assert!(case.fold.is_whole());
    assert_eq!(case.fold.verdict(true), Verdict::Completed);
}

#[test]
fn a_part_that_a_broken_provider_stream_left_behind_is_not_part_of_the_answer() {
    let mut case = Case::new(&[]);
    case.prompt().message("msg_a", Some("msg_u"), None).part("p1", "msg_a", "").delta("p1", "half an");
    let retry = SessionStatus::Retry { attempt: 1, message: "cut".into(), next_at_ms: None };
    case.status(retry).status(SessionStatus::Busy);
    case.part("p2", "msg_a", "").delta("p2", "whole").part("p2", "msg_a", "whole");
    case.message("msg_a", Some("msg_u"), Some(Finish::Stop)).status(SessionStatus::Idle);
    assert!(!case.fold.is_whole(), "which part counts is only known by reading");
    let read = Message {
        info: message("msg_a", Some("msg_u"), Some(Finish::Stop)),
        parts: vec![text_part("p1", "msg_a", ""), text_part("p2", "msg_a", "whole")],
    };
    let prompt = Message { info: message("msg_u", None, None), parts: vec![text_part("p0", "msg_u", "go")] };
    case.fold.on_read_back(&[prompt, read], true, &mut case.out);
    case.fold.note_read();
    assert_eq!(case.fold.text(), "whole");
    assert_eq!(case.streamed(), "half anwhole", "what was streamed cannot be taken back");
}

#[test]
fn deltas_after_a_gap_wait_for_their_whole() {
    let mut case = Case::new(&[]);
    case.prompt().message("msg_a", Some("msg_u"), None).part("p1", "msg_a", "").delta("p1", "one ");
    case.fold.note_gap();
    case.delta("p1", "three");
    assert_eq!(case.streamed(), "one ");
    case.part("p1", "msg_a", "one two three");
    assert_eq!(case.streamed(), "one two three");
    // A part that is announced after the gap is streamed as it grows.
    case.part("p2", "msg_a", "").delta("p2", "!");
    assert_eq!(case.streamed(), "one two three!");
}

#[test]
fn a_compaction_goes_on_under_a_prompt_of_the_servers_own() {
    let mut case = Case::new(&[]);
    case.prompt().message("msg_a", Some("msg_u"), Some(Finish::Stop)).part("p1", "msg_a", "big");
    let summary = MessageInfo { summary: true, ..message("msg_s", Some("msg_u"), Some(Finish::Stop)) };
    case.see(AgentEvent::Message(Box::new(summary)));
    assert_eq!(case.fold.verdict(true), Verdict::Open, "a summary is not the end");
    case.message("msg_u2", None, None).message("msg_b", Some("msg_u2"), Some(Finish::Stop));
    case.part("p2", "msg_b", "the end");
    assert_eq!(case.fold.verdict(true), Verdict::Completed);
    assert_eq!(case.fold.text(), "the end");
}

#[test]
fn an_overflow_that_is_compacted_is_no_failure_and_the_first_report_is_kept() {
    let report = |name: &str, recoverable| AgentFailure {
        name: name.into(),
        message: "m".into(),
        status: None,
        aborted: false,
        recoverable,
    };
    let mut case = Case::new(&[]);
    case.prompt();
    for (name, recoverable) in [("ContextOverflowError", true), ("First", false), ("Second", false)] {
        case.see(AgentEvent::Failure { session: Some(session()), failure: report(name, recoverable) });
    }
    assert_eq!(case.fold.failure().map(|f| f.name.as_str()), Some("First"));
    case.message("msg_a", Some("msg_u"), None);
    let ended = MessageInfo { completed: true, ..message("msg_a", Some("msg_u"), None) };
    case.see(AgentEvent::Message(Box::new(ended)));
    assert_eq!(case.fold.verdict(true), Verdict::Failed(TurnFailure::Reported(report("First", false))));
}

#[test]
fn other_sessions_are_nobodys_business() {
    let other = SessionId::new("ses_other").unwrap();
    let mut case = Case::new(&[]);
    case.prompt();
    let ours = case
        .fold
        .on_event(&AgentEvent::Status { session: other.clone(), status: SessionStatus::Idle }, &mut case.out);
    assert!(!ours && !case.fold.is_idle());
    // A sub-agent's session is part of the turn, and its end is not the turn's.
    let child = SessionId::new("ses_child").unwrap();
    case.see(AgentEvent::SessionCreated { session: child.clone(), parent: Some(session()) });
    let ours = case
        .fold
        .on_event(&AgentEvent::Status { session: child, status: SessionStatus::Idle }, &mut case.out);
    assert!(ours && !case.fold.is_idle());
}

#[test]
fn a_model_that_names_its_calls_the_same_in_every_message_hides_none() {
    let tool = |part: &str, of: &str, output: &str| {
        let state = ToolState::Completed { input: serde_json::Value::Null, output: output.into() };
        let body = PartBody::Tool { call_id: "call_0".into(), tool: "bash".into(), state };
        AgentEvent::Part {
            session: session(),
            part: Box::new(Part { id: part.into(), message: id(of), body }),
        }
    };
    let mut case = Case::new(&[]);
    case.prompt().message("msg_a", Some("msg_u"), None).see(tool("p1", "msg_a", "one"));
    case.message("msg_b", Some("msg_u"), None)
        .see(tool("p2", "msg_b", "two"))
        .see(tool("p2", "msg_b", "two"));
    let calls = case.out.iter().filter(|k| matches!(k, RunEventKind::Tool { .. })).count();
    assert_eq!(calls, 2, "{:?}", case.out);
}

#[test]
fn a_late_report_of_the_last_turns_abort_is_not_this_turns_failure() {
    let aborted = AgentFailure {
        name: "MessageAbortedError".into(),
        message: "aborted".into(),
        status: None,
        aborted: true,
        recoverable: false,
    };
    let report = AgentEvent::Failure { session: Some(session()), failure: aborted };
    let mut case = Case::new(&["msg_old"]);
    case.see(report.clone());
    assert_eq!(case.fold.failure(), None);
    case.prompt().see(report);
    assert!(case.fold.failure().is_some(), "an abort after our prompt is ours");
}
