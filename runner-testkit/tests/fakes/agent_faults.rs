//! Readiness, streams, prompts, aborts and death.

use std::time::Duration;

use futures::StreamExt;
use runner_core::session::SessionStatus;
use runner_core::{AgentApi, AgentConnector, Error, ErrorKind, Retry};
use runner_testkit::fake_agent::{FakeAgent, FakeConnector, Op, TurnScript};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::talk::{SECOND, gist, message, say, session, word, words};

#[tokio::test(start_paused = true)]
async fn a_server_becomes_ready_after_probes_or_time() {
    let agent = FakeAgent::new();
    agent.not_ready_for_probes(2);
    for probe in 1..=2 {
        let early = agent.health().await.unwrap_err();
        assert_eq!((early.kind(), early.retry()), (ErrorKind::Connection, Retry::Temporary));
        assert_eq!(agent.warm_up().await.is_err(), probe < 2, "only probes count");
    }
    agent.health().await.unwrap();

    let agent = FakeAgent::new();
    agent.not_ready_for(SECOND);
    sleep(5 * SECOND).await;
    assert!(agent.health().await.is_err(), "the time begins with the first call");
    sleep(SECOND).await;
    agent.health().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_and_versions_are_permanent() {
    let agent = FakeAgent::new();
    agent.wrong_version("2.0.0");
    let error = agent.health().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::UnsupportedVersion, Retry::Permanent));
    assert!(error.message().contains("2.0.0"));
    agent.unauthorized();
    assert_eq!(agent.health().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(agent.events().await.err().unwrap().kind(), ErrorKind::Unauthorized);
}

#[tokio::test(start_paused = true)]
async fn prompts_are_refused_stuck_or_accepted_in_silence() {
    let agent = FakeAgent::new();
    let session = session(&agent).await;
    agent.fail_prompt(Error::new(ErrorKind::Protocol, "prompt", "500"));
    let refused = agent.prompt(&session, &message(&agent, "a")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Protocol);
    agent.stall_prompt();
    timeout(SECOND, agent.prompt(&session, &message(&agent, "b"))).await.unwrap_err();
    agent.unstall(Op::Prompt);
    assert!(agent.transcript(&session).is_empty());

    agent.accept_but_lose_reply();
    let lost = agent.prompt(&session, &message(&agent, "c")).await;
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Connection);
    sleep(SECOND).await;
    assert_eq!(agent.messages(&session).await.unwrap()[1].text(), "ok: c");
}

#[tokio::test(start_paused = true)]
async fn a_cut_stream_ends_after_so_many_events() {
    let agent = FakeAgent::new();
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    agent.cut_stream_after(2);
    say(&agent, &session, "hi").await;
    let seen: Vec<_> = events.by_ref().map(|event| word(&event)).collect().await;
    assert_eq!(seen, ["connected", "user", "text \"hi\""]);
    assert_eq!(agent.open_streams(), 0);
    let _again = agent.events().await.unwrap();
    assert_eq!(agent.open_streams(), 1);
}

#[tokio::test(start_paused = true)]
async fn lost_events_are_seen_on_no_stream() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().wait(SECOND).text("x").wait(5 * SECOND));
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    // After the three of our message: all up to the answer's text, whole.
    agent.lose_events(3..12);
    say(&agent, &session, "hi").await;
    assert_eq!(words(&mut events).await.len(), 1 + 3);
    let mut again = agent.events().await.unwrap();
    sleep(2 * SECOND).await;
    assert_eq!(words(&mut again).await, ["connected"]);
    sleep(3 * SECOND).await;
    assert_eq!(gist(&mut again).await[..2], ["answer Stop", "answer done Stop"]);
    assert_eq!(agent.messages(&session).await.unwrap()[1].text(), "x", "what was lost is there to be read");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_the_stream_with_an_error_and_a_mute_one_does_not() {
    let agent = FakeAgent::new();
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    agent.mute(true);
    say(&agent, &session, "hi").await;
    let seen: Vec<_> = events.by_ref().take(3).map(|event| word(&event)).collect().await;
    assert_eq!(seen, ["connected", "heartbeat", "heartbeat"]);

    agent.silence(true);
    let began = Instant::now();
    assert_eq!(word(&events.next().await.unwrap()), "error Timeout");
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn streams_break_with_the_error_of_the_test() {
    let agent = FakeAgent::new();
    let mut events = agent.events().await.unwrap();
    agent.break_streams(&Error::new(ErrorKind::Protocol, "read", "bad frame"));
    assert_eq!(words(&mut events).await, ["connected", "error Protocol"]);
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_text_as_an_error_and_keeps_what_was_written() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().text_deltas(["a", "b"]).pace(SECOND / 2).never_ends());
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    say(&agent, &session, "go").await;
    sleep(SECOND * 3 / 4).await;
    agent.abort(&session).await.unwrap();
    let seen = gist(&mut events).await;
    let end = ["failure MessageAbortedError", "idle", "session.idle", "answer MessageAbortedError", "idle"];
    assert!(seen.windows(end.len()).any(|window| window == end), "{seen:?}");
    assert_eq!(agent.transcript(&session)[1].text(), "a");
    assert_eq!(agent.running_turns(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_abort_during_a_tool_or_a_retry_reports_no_failure() {
    let in_tool = TurnScript::new().tool_begins("bash", json!({})).never_ends();
    let in_retry = TurnScript::new().retry(1, "overloaded", 3600 * SECOND);
    let in_child = TurnScript::new().sub_agent(TurnScript::new().tool_begins("bash", json!({})).never_ends());
    let endless = TurnScript::new().endless_steps(SECOND / 2);
    for (script, failures, last) in [
        (in_tool, 0, "answer MessageAbortedError"),
        (in_retry, 0, "answer done"),
        (in_child, 0, "answer MessageAbortedError"),
        (endless, 1, "answer done Other(\"unknown\")"),
    ] {
        let agent = FakeAgent::new();
        agent.script(script);
        let session = session(&agent).await;
        let mut events = agent.events().await.unwrap();
        say(&agent, &session, "go").await;
        sleep(5 * SECOND).await;
        assert_eq!(agent.running_turns(), 1);
        agent.abort(&session).await.unwrap();
        let seen = gist(&mut events).await;
        let count = seen.iter().filter(|word| word.starts_with("failure")).count();
        assert_eq!(count, failures, "{seen:?}");
        assert_eq!(seen.iter().rfind(|word| word.starts_with("answer")).unwrap(), last, "{seen:?}");
        assert_eq!(agent.session_status(&session).await.unwrap(), SessionStatus::Idle);
        assert_eq!(agent.running_turns(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_can_be_ignored() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().never_ends());
    let session = session(&agent).await;
    say(&agent, &session, "go").await;
    agent.ignore_aborts(true);
    agent.abort(&session).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(agent.session_status(&session).await.unwrap(), SessionStatus::Busy);
    agent.ignore_aborts(false);
    agent.abort(&session).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(agent.running_turns(), 0);
}

#[tokio::test(start_paused = true)]
async fn death_ends_everything_but_the_conversation() {
    let agent = FakeAgent::new();
    agent.script(TurnScript::new().text("half").never_ends());
    let session = session(&agent).await;
    let mut events = agent.events().await.unwrap();
    say(&agent, &session, "go").await;
    sleep(SECOND).await;
    agent.stall(Op::Messages);
    let die = async {
        sleep(SECOND).await;
        agent.die();
    };
    let (stalled, ()) = tokio::join!(agent.messages(&session), die);
    assert_eq!(stalled.unwrap_err().kind(), ErrorKind::Connection, "a call under way breaks");
    assert_eq!(gist(&mut events).await.last().unwrap(), "error Connection");
    assert!(events.next().await.is_none());
    assert_eq!(agent.health().await.unwrap_err().kind(), ErrorKind::Connection);
    assert!(!agent.is_alive());

    agent.restart();
    agent.heal(Op::Messages);
    agent.health().await.unwrap();
    assert_eq!(agent.session_status(&session).await.unwrap(), SessionStatus::Idle);
    let messages = agent.messages(&session).await.unwrap();
    assert_eq!((messages[1].text().as_str(), messages[1].info.completed), ("half", false));
    say(&agent, &session, "again").await;
    sleep(SECOND).await;
    assert_eq!(agent.messages(&session).await.unwrap()[3].text(), "ok: again");
}

#[tokio::test(start_paused = true)]
async fn a_connector_refuses_what_is_no_address_and_can_make_an_agent_each_time() {
    use runner_core::endpoint::{Credentials, Endpoint};
    let endpoint = |url: &str| Endpoint {
        base_url: url.into(),
        credentials: Credentials { username: "u".into(), password: runner_core::Secret::new("p") },
        directory: "/workspace".into(),
    };
    let connector = FakeConnector::with_factory(|_| FakeAgent::new());
    for bad in ["", "127.0.0.1:1", "http://", "ftp://a", "http://a/b"] {
        let error = connector.connect(endpoint(bad)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
    }
    let one = connector.connect(endpoint("http://127.0.0.1:1")).await.unwrap();
    connector.connect(endpoint("http://127.0.0.1:2")).await.unwrap();
    connector.agents()[1].die();
    one.health().await.unwrap();
    assert_eq!(connector.endpoints()[1].base_url, "http://127.0.0.1:2");
}
