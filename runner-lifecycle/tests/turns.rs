//! Turns on a fake agent: what is told, how it ends, and that it always ends. Time is paused.

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
use runner_core::session::{Finish, ToolState};
use runner_core::{Error, ErrorKind, Outcome, Retry, Runner, RunnerExt, RunnerStatus};
use runner_testkit::fake_agent::{Op, TurnScript, failure, provider_error};
use serde_json::json;
use support::{World, ended, run, say, streamed};
use tokio::time::{Instant, timeout};

fn error_of(outcome: &Outcome) -> &Error {
    match outcome {
        Outcome::Failed(error) => error,
        other => panic!("it should have failed and is {}", other.name()),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_ordinary_turn_streams_its_text_and_tools_and_completes() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(
        TurnScript::new()
            .reasoning("hm")
            .text("I look. ")
            .tool("bash", json!({"command": "ls"}), "a b")
            .text_deltas(["There ", "are ", "two."]),
    );
    let (kinds, result) = run(&runner, "what is there?").await;
    assert!(result.is_completed(), "{result:?}");
    assert_eq!(result.text, "There are two.", "the answer is the last message");
    assert_eq!(streamed(&kinds), "I look. There are two.");
    let thought = kinds.iter().any(|k| matches!(k, RunEventKind::Reasoning { delta, .. } if delta == "hm"));
    assert!(thought, "{kinds:?}");
    let states: Vec<_> = kinds
        .iter()
        .filter_map(|k| match k {
            RunEventKind::Tool { tool, state, .. } if tool == "bash" => Some(state.clone()),
            _ => None,
        })
        .collect();
    assert!(
        matches!(states.last(), Some(ToolState::Completed { output, .. }) if output == "a b"),
        "{states:?}"
    );
    assert_eq!(result.usage.output_tokens, 10, "two model calls");
    assert_eq!(runner.status(), RunnerStatus::Ready);
}

#[tokio::test(start_paused = true)]
async fn numbers_go_on_over_turns_and_the_conversation_is_one() {
    let world = World::new();
    let runner = world.ready().await;
    let first: Vec<_> = runner.run(say("one")).await.unwrap().collect().await;
    let second: Vec<_> = runner.run(say("two")).await.unwrap().collect().await;
    assert_eq!(second[0].seq, first.last().unwrap().seq + 1);
    assert_eq!(world.agent.sessions().len(), 1);
    let prompts: Vec<_> = world.agent.prompts().into_iter().map(|(_, prompt)| prompt.text).collect();
    assert_eq!(prompts, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn the_users_own_text_is_never_the_agents() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::answer("yes"));
    let (kinds, _) = run(&runner, "SECRET WORD").await;
    assert!(!streamed(&kinds).contains("SECRET"), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_not_an_answer_is_a_success() {
    let cases = [
        ("empty", TurnScript::empty(), ErrorKind::EmptyAnswer),
        ("cut", TurnScript::answer("and then").finish(Finish::Length), ErrorKind::Agent),
        ("withheld", TurnScript::new().text("x").finish(Finish::ContentFilter), ErrorKind::Agent),
        ("refused tool", TurnScript::new().text("x").finish(Finish::ToolCalls), ErrorKind::Agent),
        ("odd", TurnScript::new().text("x").finish(Finish::Other("unknown".into())), ErrorKind::Protocol),
        ("no finish", TurnScript::new().text("x").no_finish(), ErrorKind::Protocol),
        ("provider", TurnScript::new().fail(provider_error(401, "bad key")), ErrorKind::Agent),
        (
            "stored late",
            TurnScript::new().fail_and_store_after(provider_error(500, "down"), Duration::from_millis(80)),
            ErrorKind::Agent,
        ),
        (
            "model",
            TurnScript::new().refuse_model(failure("UnknownError", "Model not found")),
            ErrorKind::Agent,
        ),
        ("agent", TurnScript::new().refuse_agent(failure("UnknownError", "no such agent")), ErrorKind::Agent),
    ];
    for (name, script, kind) in cases {
        let world = World::new();
        let runner = world.ready().await;
        world.agent.script(script);
        let began = Instant::now();
        let (_, result) = run(&runner, "go").await;
        let error = error_of(&result.outcome);
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(began.elapsed() < 15 * SECOND, "{name} took {:?}", began.elapsed());
        // The runner is none the worse for it.
        let (_, next) = run(&runner, "again").await;
        assert!(next.is_completed(), "after {name}: {next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_its_message_and_whether_to_retry() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().text("half an ans").fail(provider_error(429, "slow down")));
    let (_, result) = run(&runner, "go").await;
    let error = error_of(&result.outcome);
    assert_eq!(error.retry(), Retry::Temporary);
    assert!(error.to_string().contains("slow down"), "{error}");
    assert_eq!(result.text, "half an ans", "what was written is kept");
}

#[tokio::test(start_paused = true)]
async fn a_retry_and_a_sub_agents_end_do_not_end_the_turn() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(
        TurnScript::new()
            .retry(1, "overloaded", 4 * SECOND)
            .sub_agent(TurnScript::answer("from the child"))
            .text("from the parent"),
    );
    let (kinds, result) = run(&runner, "go").await;
    assert!(result.is_completed(), "{result:?}");
    assert_eq!(result.text, "from the parent");
    assert!(!streamed(&kinds).contains("child"));
    assert!(kinds.iter().any(|k| matches!(k, RunEventKind::Retry { attempt: 1, .. })), "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn one_turn_at_a_time() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().hold().text("done"));
    let turn = runner.run(say("one")).await.unwrap();
    assert_eq!(runner.status(), RunnerStatus::Running);
    let busy = runner.run(say("two")).await.unwrap_err();
    assert_eq!((busy.kind(), busy.retry()), (ErrorKind::Busy, Retry::Temporary));
    world.agent.resume();
    assert!(ended(turn).await.1.is_completed());
    assert_eq!(world.agent.prompts().len(), 1, "the refused prompt was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_canceled_turn_ends_as_canceled_and_keeps_its_text() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().text("let me").never_ends());
    let turn = runner.run(say("go")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    runner.cancel().await.unwrap();
    let (_, result) = ended(turn).await;
    assert!(matches!(result.outcome, Outcome::Canceled), "{result:?}");
    assert_eq!(result.text, "let me");
    assert_eq!(world.agent.count(Op::Abort), 1);
    runner.cancel().await.unwrap();
    assert!(run(&runner, "again").await.1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_end_is_timed_out_and_aborted() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().never_ends());
    let began = Instant::now();
    let result = runner.run_to_end(say("go").with_timeout(60 * SECOND)).await.unwrap();
    assert!(matches!(result.outcome, Outcome::TimedOut), "{result:?}");
    assert!(began.elapsed() < 62 * SECOND, "{:?}", began.elapsed());
    assert_eq!(world.agent.count(Op::Abort), 1);
    assert!(run(&runner, "again").await.1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_is_ignored_stops_the_container() {
    for failing in [false, true] {
        let world = World::new();
        let runner = world.ready().await;
        world.agent.ignore_aborts(true);
        if failing {
            let broken = Error::new(ErrorKind::Connection, "abort", "reset").temporary();
            world.agent.fail_always(Op::Abort, broken);
        }
        world.agent.script(TurnScript::new().text("ha").never_ends());
        let turn = runner.run(say("go")).await.unwrap();
        runner.cancel().await.unwrap();
        let (_, result) = ended(turn).await;
        assert!(matches!(result.outcome, Outcome::Canceled), "{result:?}");
        runner.stop().await.unwrap();
        assert_eq!(runner.status(), RunnerStatus::Failed);
        assert_eq!(runner.failure().unwrap().kind(), ErrorKind::Timeout);
        world.assert_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_loop_of_empty_steps_is_cut() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().endless_steps(Duration::from_millis(120)));
    let began = Instant::now();
    let (_, result) = run(&runner, "go").await;
    let error = error_of(&result.outcome);
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
    assert_eq!(world.agent.count(Op::Abort), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_stream_loses_no_text_and_says_that_it_was_cut() {
    for after in 0..24 {
        let world = World::new();
        let runner = world.ready().await;
        world.agent.script(
            TurnScript::new()
                .pace(Duration::from_millis(10))
                .text("one ")
                .tool("bash", json!({}), "out")
                .text_deltas(["two ", "three ", "four"]),
        );
        world.agent.cut_stream_after(after);
        let (kinds, result) = run(&runner, "go").await;
        assert!(result.is_completed(), "cut after {after}: {result:?}");
        assert_eq!(result.text, "two three four", "cut after {after}");
        assert_eq!(streamed(&kinds), "one two three four", "cut after {after}: nothing lost, nothing twice");
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_no_stream_ever_shows_are_read_back() {
    for from in 0..20 {
        let world = World::new();
        let runner = world.ready().await;
        world.agent.script(
            TurnScript::new().pace(Duration::from_millis(10)).text("one ").text_deltas(["two ", "three"]),
        );
        world.agent.lose_events(from..from + 6);
        let (kinds, result) = run(&runner, "go").await;
        assert!(result.is_completed(), "lost from {from}: {result:?}");
        assert_eq!(result.text, "one two three", "lost from {from}");
        assert_eq!(streamed(&kinds), "one two three", "lost from {from}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_shows_nothing_does_not_hide_the_end() {
    type Fault = fn(&World);
    let faults: [(&str, Fault); 2] =
        [("mute", |w| w.agent.mute(true)), ("silent", |w| w.agent.silence(true))];
    for (name, fault) in faults {
        let world = World::new();
        let runner = world.ready().await;
        world.agent.script(TurnScript::answer("here it is"));
        fault(&world);
        let (_, result) = timeout(60 * SECOND, run(&runner, "go")).await.expect(name);
        assert!(result.is_completed(), "{name}: {result:?}");
        assert_eq!(result.text, "here it is", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_stays_busy_does_not_hold_the_turn_open() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::answer("done").stays_busy());
    let (_, result) = timeout(60 * SECOND, run(&runner, "go")).await.expect("it ends");
    assert!(result.is_completed(), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_is_refused_is_an_error_and_the_runner_stays_ready() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.fail_prompt(Error::new(ErrorKind::InvalidInput, "send the prompt", "no"));
    let error = runner.run(say("go")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(runner.status(), RunnerStatus::Ready);
    assert!(run(&runner, "again").await.1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_prompt_whose_answer_was_lost_is_found_and_never_sent_twice() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().wait(SECOND).text("got it"));
    world.agent.accept_but_lose_reply();
    let (_, result) = run(&runner, "go").await;
    assert!(result.is_completed(), "{result:?}");
    assert_eq!(result.text, "got it");
    assert_eq!(world.agent.prompts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_never_arrived_is_a_temporary_error() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.fail_prompt(Error::new(ErrorKind::Connection, "send the prompt", "reset"));
    let error = runner.run(say("go")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Connection, Retry::Temporary), "{error}");
    assert_eq!(world.agent.prompts().len(), 0);
    assert!(run(&runner, "again").await.1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_before_it_began_leaves_no_turn_behind() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().never_ends());
    world.agent.delay_reply(Op::Prompt, SECOND);
    assert!(timeout(SECOND / 2, runner.run(say("go"))).await.is_err());
    world.agent.heal(Op::Prompt);
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(world.agent.running_turns(), 0);
    assert!(run(&runner, "again").await.1.is_completed());
}

#[tokio::test(start_paused = true)]
async fn a_container_that_dies_fails_the_turn_with_its_last_words() {
    let world = World::new();
    let runner = world.ready().await;
    world.engine.log_line(runner.container(), "bun: segmentation fault");
    world.agent.script(TurnScript::new().text("let me").never_ends());
    let turn = runner.run(say("go")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    world.engine.crash(runner.container(), runner_testkit::fake_runtime::out_of_memory());
    let (_, result) = ended(turn).await;
    let error = error_of(&result.outcome);
    assert_eq!(error.kind(), ErrorKind::ContainerExited, "{error}");
    let known = error.start_failure().unwrap();
    assert!(known.exit.as_ref().unwrap().oom_killed);
    assert_eq!(known.log_tail, ["bun: segmentation fault"]);
    assert_eq!(result.text, "let me");
    runner.stop().await.unwrap();
    assert_eq!(runner.status(), RunnerStatus::Failed);
    assert_eq!(runner.run(say("x")).await.unwrap_err().kind(), ErrorKind::NotReady);
    world.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_lost_in_a_living_container_fails_the_turn_in_time() {
    let world = World::new();
    let runner = world.ready().await;
    world.agent.script(TurnScript::new().never_ends());
    let turn = runner.run(say("go")).await.unwrap();
    tokio::time::sleep(SECOND).await;
    world.agent.die();
    let began = Instant::now();
    let (_, result) = ended(turn).await;
    assert_eq!(error_of(&result.outcome).kind(), ErrorKind::Connection, "{result:?}");
    assert!(began.elapsed() <= 40 * SECOND, "{:?}", began.elapsed());
    runner.stop().await.unwrap();
    world.assert_nothing_left();
}
