//! Scripted turns: the order of events, and what can be read at the same moments.

use runner_core::AgentApi;
use runner_core::session::{Finish, SessionStatus};
use runner_testkit::fake_agent::{FakeAgent, TurnScript, failure, provider_error};
use serde_json::json;
use tokio::time::sleep;

use crate::talk::{SECOND, gist, message, say, session, words};

/// The events of one scripted turn, without what merely accompanies it.
async fn gist_of(script: TurnScript) -> Vec<String> {
    let agent = FakeAgent::new();
    agent.script(script);
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    say(&agent, &session, "go").await;
    gist(&mut events).await
}

#[tokio::test(start_paused = true)]
async fn a_plain_turn_comes_in_the_order_of_the_real_server() {
    let agent = FakeAgent::new();
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    let user = say(&agent, &session, "hi").await;
    let expected = [
        "connected",
        "user",
        "text \"hi\"",
        "session.updated",
        "busy",
        "answer",
        "session.updated",
        "session.diff",
        "busy",
        "step-start",
        "text \"\"",
        "+\"ok: \"",
        "+\"hi\"",
        "text \"ok: hi\"",
        "step-finish",
        "answer Stop",
        "answer done Stop",
        "busy",
        "idle",
        "session.idle",
        "session.updated",
        "session.diff",
        "user",
    ];
    assert_eq!(words(&mut events).await, expected);
    let messages = agent.messages(&session).await.unwrap();
    assert_eq!((messages[0].text(), messages[1].text()), ("hi".into(), "ok: hi".into()));
    assert_eq!(messages[1].info.parent, Some(user));
}

#[tokio::test(start_paused = true)]
async fn a_conversation_accumulates_and_the_responder_sees_it() {
    let agent = FakeAgent::new();
    agent.respond(|incoming| {
        let said: Vec<String> = incoming.history.iter().map(runner_core::session::Message::text).collect();
        TurnScript::answer(format!("after {}", said.join(",")))
    });
    let session = session(&agent).await;
    for text in ["one", "two"] {
        say(&agent, &session, text).await;
        sleep(SECOND).await;
    }
    let texts: Vec<_> = agent.transcript(&session).iter().map(runner_core::session::Message::text).collect();
    assert_eq!(texts, ["one", "after ", "two", "after one,after "]);
    assert_eq!((agent.prompts().len(), agent.running_turns()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_tool_call_splits_the_turn_into_messages() {
    let script = TurnScript::new()
        .reasoning("hm")
        .tool_begins("bash", json!({ "command": "ls" }))
        .tool_progress("a")
        .tool_ends("a b")
        .text("two files")
        .finish(Finish::Length);
    let expected = [
        "user",
        "text \"go\"",
        "answer",
        "reasoning \"\"",
        "+\"hm\"",
        "reasoning \"hm\"",
        "tool pending",
        "tool running",
        "tool running",
        "tool \"a b\"",
        "answer ToolCalls",
        "answer done ToolCalls",
        "answer",
        "text \"\"",
        "+\"two files\"",
        "text \"two files\"",
        "answer Length",
        "answer done Length",
        "idle",
        "session.idle",
        "user",
    ];
    assert_eq!(gist_of(script).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_stored_after_the_first_of_two_idles() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().fail_and_store_after(provider_error(401, "no"), SECOND / 2));
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    say(&agent, &session, "go").await;
    sleep(SECOND / 4).await;
    assert_eq!(agent.session_status(&session).await.unwrap(), SessionStatus::Idle);
    let between = agent.messages(&session).await.unwrap().pop().unwrap().info;
    assert!(between.error.is_none() && !between.completed, "idle, and not yet known to have failed");
    let seen = gist(&mut events).await;
    let expected = ["failure APIError", "idle", "session.idle", "answer APIError", "idle", "session.idle"];
    assert_eq!(seen[3..], expected);
    let after = agent.messages(&session).await.unwrap().pop().unwrap().info;
    assert_eq!(after.error.unwrap().status, Some(401));
}

#[tokio::test(start_paused = true)]
async fn refusals_let_nothing_begin() {
    let model = gist_of(TurnScript::new().refuse_model(failure("UnknownError", "Model not found"))).await;
    assert_eq!(model[2..], ["failure UnknownError", "idle", "session.idle", "failure UnknownError"]);
    let agent = gist_of(TurnScript::new().refuse_agent(failure("UnknownError", "no agent"))).await;
    assert_eq!(agent[2..], ["failure UnknownError", "failure UnknownError"]);
}

#[tokio::test(start_paused = true)]
async fn odd_ends_are_as_scripted() {
    let empty = gist_of(TurnScript::empty()).await;
    assert_eq!(empty[2..], ["answer", "answer Stop", "answer done Stop", "idle", "session.idle", "user"]);
    let rejected = gist_of(TurnScript::new().tool("bash", json!({}), "x").finish(Finish::ToolCalls)).await;
    assert_eq!(rejected.iter().filter(|word| *word == "answer").count(), 1, "{rejected:?}");
    let no_finish = gist_of(TurnScript::new().text("x").no_finish()).await;
    assert!(no_finish.contains(&"answer done".to_owned()), "{no_finish:?}");
    let overflow =
        TurnScript::new().reports(failure("ContextOverflowError", "")).summary("so far").text("on");
    let overflow = gist_of(overflow).await;
    assert_eq!(overflow.iter().filter(|word| *word == "answer done Stop").count(), 2, "{overflow:?}");
}

#[tokio::test(start_paused = true)]
async fn a_status_can_stay_busy_after_the_end() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::answer("done").stays_busy());
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    say(&agent, &session, "go").await;
    let seen = gist(&mut events).await;
    assert!(seen.contains(&"answer done Stop".to_owned()) && !seen.contains(&"idle".to_owned()), "{seen:?}");
    assert_eq!(agent.session_status(&session).await.unwrap(), SessionStatus::Busy);
}

#[tokio::test(start_paused = true)]
async fn a_sub_agent_has_a_session_and_an_idle_of_its_own() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().sub_agent(TurnScript::answer("found")).text("it says so"));
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    say(&agent, &session, "go").await;
    let seen = gist(&mut events).await;
    let at = |word: &str| seen.iter().position(|w| w == word).expect(word);
    assert!(at("tool running") < at("child") && at("child") < at("idle"), "{seen:?}");
    assert!(at("idle") < at("tool \"found\""), "the child is idle before the parent goes on: {seen:?}");
    assert_eq!(seen.iter().filter(|word| *word == "idle").count(), 2);
    let sessions = agent.sessions();
    assert_eq!(sessions.len(), 2);
    assert_eq!(agent.transcript(&sessions[1])[1].text(), "found");
}

#[tokio::test(start_paused = true)]
async fn a_permission_waits_for_the_test() {
    let agent = FakeAgent::new();
    let script =
        TurnScript::new().tool_begins("bash", json!({})).permission("bash").tool_ends("ran").text("ok");
    agent.script(script);
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    say(&agent, &session, "go").await;
    assert_eq!(gist(&mut events).await.last().unwrap(), "asks bash");
    sleep(100 * SECOND).await;
    assert_eq!(agent.running_turns(), 1);
    agent.resume();
    assert!(gist(&mut events).await.contains(&"tool \"ran\"".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_second_prompt_is_queued_and_a_used_id_begins_nothing() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().wait(SECOND).text("first"));
    let session = session(&agent).await;
    let (one, two) = (message(&agent, "1"), message(&agent, "2"));
    agent.prompt(&session, &one).await.unwrap();
    agent.prompt(&session, &two).await.unwrap();
    sleep(2 * SECOND).await;
    agent.script(TurnScript::answer("unused"));
    agent.prompt(&session, &one).await.unwrap();
    sleep(SECOND).await;
    let messages = agent.messages(&session).await.unwrap();
    let texts: Vec<_> = messages.iter().map(runner_core::session::Message::text).collect();
    assert_eq!(texts, ["11", "2", "first", "ok: 2"]);
    assert_eq!(messages[3].info.parent, Some(two.message));
}

#[tokio::test(start_paused = true)]
async fn steps_take_their_time() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().text_deltas(["a", "b", "c"]).pace(SECOND));
    let session = session(&agent).await;
    say(&agent, &session, "go").await;
    sleep(SECOND * 7 / 2).await;
    assert_eq!(agent.transcript(&session)[1].text(), "abc");
    assert_eq!(agent.running_turns(), 1);
    sleep(SECOND).await;
    assert_eq!(agent.running_turns(), 0);
}
