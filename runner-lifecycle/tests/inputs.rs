//! Permissions and questions: asked, answered, not answered, asked unseen, and left open.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::time::Duration;

use futures::StreamExt;
use runner_core::event::RunEventKind;
use runner_core::input::{AnsweredBy, InputAnswer, InputKind};
use runner_core::{Error, ErrorKind, Outcome, Runner, RunnerStatus, Turn};
use runner_lifecycle::Unanswered;
use runner_testkit::fake_agent::{Op, TurnScript};
use serde_json::json;
use support::{World, run, say};
use tokio::time::Instant;

const DEADLINE: Duration = Duration::from_mins(1);

fn world(unanswered: Unanswered) -> World {
    World::with(|config| {
        config.turn.input.deadline = DEADLINE;
        config.turn.input.unanswered = unanswered;
    })
}

fn asks() -> TurnScript {
    TurnScript::new()
        .tool_begins("bash", json!({"command": "rm x"}))
        .permission("bash")
        .tool_ends("removed")
        .text("done")
}

/// The request's id, once it is asked.
async fn asked(turn: &mut Turn) -> String {
    loop {
        match turn.next().await.expect("a request").kind {
            RunEventKind::InputNeeded { request, .. } => return request.id.to_string(),
            RunEventKind::Finished(result) => panic!("it ended: {result:?}"),
            _ => {}
        }
    }
}

fn settled(kinds: &[RunEventKind]) -> Vec<(AnsweredBy, Option<InputAnswer>)> {
    let settled = kinds.iter().filter_map(|kind| match kind {
        RunEventKind::InputSettled { by, answer, .. } => Some((*by, answer.clone())),
        _ => None,
    });
    settled.collect()
}

#[tokio::test(start_paused = true)]
async fn the_caller_allows_and_the_turn_goes_on() {
    let world = world(Unanswered::Deny);
    let runner = world.ready().await;
    world.agent.script(asks());
    let mut turn = runner.run(say("x")).await.unwrap();
    let id = asked(&mut turn).await;
    runner.answer(&id, InputAnswer::Allow).await.unwrap();
    let kinds: Vec<_> = turn.map(|e| e.kind).collect().await;
    assert_eq!(settled(&kinds), [(AnsweredBy::Caller, Some(InputAnswer::Allow))]);
    let Some(RunEventKind::Finished(result)) = kinds.last() else { panic!("{kinds:?}") };
    assert!(result.is_completed(), "{result:?}");
    // Settled is settled.
    let late = runner.answer(&id, InputAnswer::Allow).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotFound);
    runner.stop().await.unwrap();
    assert_eq!(runner.answer(&id, InputAnswer::Allow).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_in_words() {
    let world = world(Unanswered::Deny);
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().question("Which colour?", ["Red", "Blue"]));
    let mut turn = runner.run(say("x")).await.unwrap();
    let id = asked(&mut turn).await;
    for wrong in [InputAnswer::Allow, InputAnswer::Answers(Vec::new())] {
        let error = runner.answer(&id, wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    runner.answer(&id, InputAnswer::Answers(vec![vec!["Blue".into()]])).await.unwrap();
    let kinds: Vec<_> = turn.map(|e| e.kind).collect().await;
    let Some(RunEventKind::Finished(result)) = kinds.last() else { panic!("{kinds:?}") };
    assert_eq!(result.text, "Blue");
}

/// Nobody answers. Never a hang, whatever the default is.
#[tokio::test(start_paused = true)]
async fn nobody_answers_and_the_default_is_given_at_the_deadline() {
    for unanswered in [Unanswered::GoOn, Unanswered::Deny, Unanswered::Allow] {
        let world = world(unanswered);
        let runner = world.ready().await;
        world.agent.script(asks());
        let began = Instant::now();
        let (kinds, result) = run(&runner, "x").await;
        let took = began.elapsed();
        assert!(took >= DEADLINE && took < DEADLINE * 2, "{unanswered:?} {took:?}");
        let told = settled(&kinds);
        assert_eq!(told.len(), 1, "{kinds:?}");
        match (unanswered, &told[0]) {
            (Unanswered::GoOn, (AnsweredBy::Deadline, Some(InputAnswer::Deny { message: Some(_) })))
            | (Unanswered::Allow, (AnsweredBy::Deadline, Some(InputAnswer::Allow))) => {
                assert!(result.is_completed(), "{unanswered:?} {result:?}");
            }
            (Unanswered::Deny, (AnsweredBy::Deadline, Some(InputAnswer::Deny { message: None }))) => {
                assert!(matches!(result.outcome, Outcome::Failed(_)), "{result:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(runner.status(), RunnerStatus::Ready, "the runner takes the next turn");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sub_agents_request_is_asked_and_answered_like_any_other() {
    let world = world(Unanswered::Allow);
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().sub_agent(asks()).text("the helper is done"));
    let (kinds, result) = run(&runner, "x").await;
    assert_eq!(settled(&kinds), [(AnsweredBy::Deadline, Some(InputAnswer::Allow))]);
    assert_eq!(result.text, "the helper is done");
}

/// The stream showed neither the sub-agent nor its request: the server's list does.
#[tokio::test(start_paused = true)]
async fn a_request_that_no_stream_showed_is_found_by_asking() {
    let world = world(Unanswered::Deny);
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().text("a").hold().sub_agent(asks()).text("b"));
    let mut turn = runner.run(say("x")).await.unwrap();
    while !matches!(turn.next().await.unwrap().kind, RunEventKind::Text { .. }) {}
    world.agent.mute(true);
    world.agent.resume();
    let id = asked(&mut turn).await;
    world.agent.mute(false);
    runner.answer(&id, InputAnswer::Allow).await.unwrap();
    let (_, result) = rest(turn).await;
    assert!(result.is_completed(), "{result:?}");
    let times = world.agent.calls().iter().filter(|call| call.op == Op::AnswerInput).count();
    assert_eq!(times, 1);
}

async fn rest(turn: Turn) -> (Vec<RunEventKind>, runner_core::RunResult) {
    let kinds: Vec<_> = turn.map(|e| e.kind).collect().await;
    let Some(RunEventKind::Finished(result)) = kinds.last() else { panic!("{kinds:?}") };
    let result = (**result).clone();
    (kinds, result)
}

#[tokio::test(start_paused = true)]
async fn cancel_while_waiting_ends_once_and_the_next_turn_is_not_asked_again() {
    let world = world(Unanswered::Deny);
    let runner = world.ready().await;
    world.agent.script(asks());
    let mut turn = runner.run(say("x")).await.unwrap();
    let id = asked(&mut turn).await;
    let began = Instant::now();
    runner.cancel().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    let (kinds, result) = rest(turn).await;
    assert!(matches!(result.outcome, Outcome::Canceled), "{result:?}");
    assert_eq!(settled(&kinds), [(AnsweredBy::Server, None)]);
    assert_eq!(runner.answer(&id, InputAnswer::Allow).await.unwrap_err().kind(), ErrorKind::NotFound);

    // As on a real server, the aborted turn's request is still on its list.
    assert_eq!(world.agent.waiting_requests(), 1);
    world.agent.script(TurnScript::new().text("slow").wait(Duration::from_secs(30)).text(" turn"));
    let (kinds, result) = run(&runner, "y").await;
    assert!(result.is_completed());
    assert!(!kinds.iter().any(|k| matches!(k, RunEventKind::InputNeeded { .. })), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_arrive_can_be_repeated_and_the_deadline_still_holds() {
    let world = world(Unanswered::Allow);
    let runner = world.ready().await;
    world.agent.script(asks());
    let mut turn = runner.run(say("x")).await.unwrap();
    let id = asked(&mut turn).await;
    let broken = Error::new(ErrorKind::Connection, "answer", "broke").temporary();
    world.agent.fail_next(Op::AnswerInput, broken);
    let error = runner.answer(&id, InputAnswer::deny()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    let (kinds, result) = rest(turn).await;
    assert_eq!(settled(&kinds), [(AnsweredBy::Deadline, Some(InputAnswer::Allow))]);
    assert!(result.is_completed(), "{result:?}");
}

/// The answer arrives and its reply does not; the server says by an event that it is settled.
#[tokio::test(start_paused = true)]
async fn the_turns_end_never_waits_for_an_answer() {
    let world = world(Unanswered::Deny);
    let runner = world.ready().await;
    world.agent.script(asks());
    let mut turn = runner.run(say("x")).await.unwrap();
    let id = asked(&mut turn).await;
    world.agent.lose_reply(Op::AnswerInput);
    drop(runner.answer(&id, InputAnswer::Allow).await);
    let (kinds, result) = rest(turn).await;
    assert!(result.is_completed(), "{result:?}");
    assert!(!settled(&kinds).is_empty(), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn the_requests_kind_and_time_are_told() {
    let world = world(Unanswered::Deny);
    let runner = world.ready().await;
    world.agent.script(asks());
    let mut turn = runner.run(say("x")).await.unwrap();
    while let Some(event) = turn.next().await {
        if let RunEventKind::InputNeeded { request, within } = event.kind {
            assert_eq!(within, DEADLINE);
            assert_eq!(request.to_string(), "bash: bash something");
            assert!(request.call_id.is_some(), "the tool call that waits");
            let InputKind::Permission { always, .. } = request.kind else { panic!("a permission") };
            assert_eq!(always, ["bash *"]);
            world.agent.resume();
        }
    }
}
