//! The main job on a real engine with a real OpenCode; only the language model is a stub.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use futures::StreamExt;
use runner_core::attachment::Attachment;
use runner_core::event::RunEventKind;
use runner_core::input::{AnsweredBy, InputAnswer};
use runner_core::logs::LogOptions;
use runner_core::session::ToolState;
use runner_core::{AgentId, ErrorKind, Outcome, RunRequest, Runner, RunnerExt, RunnerStatus};
use serde_json::{Value, json};
use support::{Live, PLANTED_KEY, run, streamed};

#[tokio::test]
async fn two_turns_write_a_file_remember_the_conversation_and_leave_nothing() {
    let live = Live::new().await;
    let runner = live.start("two-turns").await.unwrap();

    let (kinds, first) =
        run(&runner, "[[run: printf 'written by the agent' > note.txt && cat note.txt]]").await;
    assert!(first.is_completed(), "{first:?}");
    let tool = kinds.iter().rev().find_map(|k| match k {
        RunEventKind::Tool { tool, state, .. } => Some((tool.clone(), state.clone())),
        _ => None,
    });
    let Some((tool, ToolState::Completed { output, .. })) = tool else { panic!("the tool ends: {kinds:?}") };
    assert_eq!(tool, "bash");
    assert!(output.contains("written by the agent"), "{output}");
    assert!(first.text.contains("written by the agent"), "the answer quotes the tool: {}", first.text);

    let workspace = live.stack.workspaces().workspace_path(&AgentId::new("writer").unwrap());
    let note = workspace.join("note.txt");
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "written by the agent");
    let (file, owner) = (std::fs::metadata(&note).unwrap(), std::fs::metadata(&workspace).unwrap());
    assert_eq!((file.uid(), file.gid()), (owner.uid(), owner.gid()), "the file is the workspace owner's");
    assert_ne!(file.uid(), 0, "and not root's");

    let (kinds, second) = run(&runner, "[[recall]]").await;
    assert!(second.is_completed(), "{second:?}");
    assert_eq!(second.session, first.session);
    assert!(second.text.contains("note.txt"), "the model sees the first prompt again: {}", second.text);
    assert_eq!(streamed(&kinds).trim(), second.text.trim(), "what was streamed is the answer");
    assert!(second.usage.output_tokens > 0, "{:?}", second.usage);

    let container = runner.container().to_string();
    runner.stop().await.unwrap();
    assert_eq!(runner.status(), RunnerStatus::Stopped);
    let (status, _) = live.engine.call("GET", &format!("/containers/{container}/json"), None).await;
    assert_eq!(status, 404, "the container is gone");
    live.end().await;
}

#[tokio::test]
async fn the_container_is_hardened_and_shows_no_secret() {
    let live = Live::new().await;
    let runner = live.start("hardened").await.unwrap();
    let (_, turn) = run(&runner, "hello").await;
    assert!(turn.is_completed(), "{turn:?}");

    let container = live.engine.inspect(runner.container().as_str()).await;
    let host = &container["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["CapAdd"], Value::Null);
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    assert_eq!(host["PidsLimit"], 256);
    assert_eq!(host["Memory"], 1024 * 1024 * 1024);
    assert_eq!(host["MemorySwap"], host["Memory"], "no swap");
    assert_eq!(host["NanoCpus"], 1_000_000_000);
    assert_eq!(host["Init"], true);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert_eq!(host["Binds"], Value::Null);
    assert!(
        !container["Config"]["User"].as_str().unwrap().starts_with('0'),
        "{}",
        container["Config"]["User"]
    );
    let ports = container["NetworkSettings"]["Ports"].as_object().unwrap();
    assert_eq!(ports.keys().collect::<Vec<_>>(), ["4096/tcp"]);
    for binding in ports["4096/tcp"].as_array().unwrap() {
        assert_eq!(binding["HostIp"], "127.0.0.1");
    }

    let run_dir = live.dir.path().join("data/.run/hardened");
    let password = std::fs::read_to_string(run_dir.join("password")).unwrap();
    let shown = container.to_string();
    assert!(!shown.contains(&password), "docker inspect shows the password");
    assert!(!shown.contains(PLANTED_KEY), "docker inspect shows the key");
    let logs = runner.logs(LogOptions::default()).await.unwrap();
    let logs: Vec<_> = logs.map(|line| line.unwrap().text).collect().await;
    assert!(!logs.is_empty(), "the server says where it listens");
    assert!(!logs.iter().any(|l| l.contains(&password) || l.contains(PLANTED_KEY)), "{logs:?}");

    // The key got to the provider all the same.
    assert!(live.stub.requests().iter().all(|r| r.authorised), "the stub was called with its key");
    live.end().await;
}

#[tokio::test]
async fn a_question_to_nobody_does_not_hang_the_turn() {
    let live = Live::new().await;
    let runner = live.start("question").await.unwrap();
    let question = r#"[[tool: question {"questions":[{"question":"Which?","header":"Which","options":[{"label":"a","description":"a"},{"label":"b","description":"b"}]}]}]]"#;
    let turn = tokio::time::timeout(Duration::from_mins(1), run(&runner, question)).await;
    let (kinds, _) = turn.expect("a denied question ends the wait");
    assert!(!kinds.iter().any(|k| matches!(k, RunEventKind::InputNeeded { .. })), "{kinds:?}");
    live.end().await;
}

#[tokio::test]
async fn a_canceled_turn_stops_the_tool_and_the_next_turn_works() {
    let live = Live::new().await;
    let runner = live.start("cancel").await.unwrap();
    let mut turn = runner.run(RunRequest::new("[[run: sleep 300]]").unwrap()).await.unwrap();
    while let Some(event) = turn.next().await {
        if matches!(event.kind, RunEventKind::Tool { state: ToolState::Running { .. }, .. }) {
            break;
        }
    }
    runner.cancel().await.unwrap();
    let kinds: Vec<_> = turn.map(|e| e.kind).collect().await;
    let Some(RunEventKind::Finished(result)) = kinds.last() else { panic!("no outcome: {kinds:?}") };
    assert!(matches!(result.outcome, Outcome::Canceled), "{result:?}");
    // The pattern does not match itself; `grep -c` says 0 where nothing is left.
    let look = "[[run: cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '[s]leep 300' || true]]";
    let (kinds, after) = run(&runner, look).await;
    assert!(after.is_completed(), "{after:?}");
    let output = kinds.iter().find_map(|k| match k {
        RunEventKind::Tool { state: ToolState::Completed { output, .. }, .. } => {
            Some(output.trim().to_owned())
        }
        _ => None,
    });
    assert_eq!(output.as_deref(), Some("0"), "the tool's process is gone");
    live.end().await;
}

#[tokio::test]
async fn failures_of_the_provider_are_failures_of_the_turn() {
    let live = Live::new().await;
    let runner = live.start("provider").await.unwrap();
    let (_, refused) = run(&runner, "[[status: 401 message=\"bad key\"]]").await;
    let Outcome::Failed(error) = &refused.outcome else { panic!("{refused:?}") };
    assert_eq!(error.kind(), ErrorKind::Agent, "{error}");
    assert!(error.to_string().contains("401"), "{error}");
    assert!(!error.chain().contains(PLANTED_KEY), "{error:?}");

    let (_, empty) = run(&runner, "[[empty]]").await;
    let Outcome::Failed(error) = &empty.outcome else { panic!("an empty answer is no success: {empty:?}") };
    assert_eq!(error.kind(), ErrorKind::EmptyAnswer);

    let (kinds, retried) = run(&runner, "[[status: 429 retry-after=1 times=1]] [[say: at last]]").await;
    assert!(retried.is_completed(), "{retried:?}");
    assert!(kinds.iter().any(|k| matches!(k, RunEventKind::Retry { .. })), "{kinds:?}");

    // A page in place of the API: OpenCode alone would ask again for ever.
    let (_, page) = run(&runner, "[[malformed: html]]").await;
    let Outcome::Failed(error) = &page.outcome else { panic!("{page:?}") };
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");

    let (_, after) = run(&runner, "[[say: still here]]").await;
    assert_eq!(after.text.trim(), "still here");
    live.end().await;
}

#[tokio::test]
async fn a_killed_container_fails_the_turn_and_is_taken_away() {
    let live = Live::new().await;
    let runner = live.start("killed").await.unwrap();
    let mut turn = runner.run(RunRequest::new("[[hang: stream]]").unwrap()).await.unwrap();
    assert!(turn.next().await.is_some());
    let kill = format!("/containers/{}/kill", runner.container());
    assert_eq!(live.engine.call("POST", &kill, None).await.0, 204);
    let kinds: Vec<_> = turn.map(|e| e.kind).collect().await;
    let Some(RunEventKind::Finished(result)) = kinds.last() else { panic!("no outcome: {kinds:?}") };
    let Outcome::Failed(error) = &result.outcome else { panic!("{result:?}") };
    assert_eq!(error.kind(), ErrorKind::ContainerExited, "{error}");
    assert_eq!(error.start_failure().unwrap().exit.as_ref().unwrap().code, 137);
    runner.stop().await.unwrap();
    assert_eq!(runner.status(), RunnerStatus::Failed);
    live.end().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_leaves_nothing() {
    // The settings are wrong in type: OpenCode refuses every request for a directory.
    let live = Live::with(|config| {
        config.agent.config.insert("mcp".to_owned(), json!("not an object"));
    })
    .await;
    let error = live.start("bad-settings").await.unwrap_err();
    assert_eq!(error.task().unwrap().as_str(), "bad-settings");
    assert!(error.start_failure().is_some());
    assert!(!error.chain().contains(PLANTED_KEY), "{error:?}");
    assert_eq!(live.engine.count(&live.label).await, 0);
    live.end().await;
}

#[tokio::test]
async fn an_image_that_is_not_there_is_an_error_with_a_way_out() {
    let live = Live::with(|config| {
        config.lifecycle.image = "cnap-no-such-image:1".parse().unwrap();
        config.lifecycle.pull = runner_core::image::PullPolicy::Never;
    })
    .await;
    let error = live.start("no-image").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageUnavailable, "{error}");
    assert!(error.to_string().contains("cnap-no-such-image:1") && error.hint().is_some(), "{error}");
    live.end().await;
}

#[tokio::test]
async fn a_start_that_is_dropped_half_way_leaves_nothing() {
    let live = Live::new().await;
    for ms in [20, 150, 400, 900] {
        let task = format!("dropped-{ms}");
        let given_up = tokio::time::timeout(Duration::from_millis(ms), live.start(&task)).await;
        assert!(given_up.is_err(), "a start takes longer than {ms} ms");
    }
    // The undoing goes on by itself; a shutdown waits for it.
    live.end().await;
}

/// A permission is asked, answered, and the agent goes on; so is a sub-agent's.
#[tokio::test]
async fn a_permission_that_is_asked_is_answered_and_the_agent_goes_on() {
    let live = Live::with(|config| {
        let permission = json!({ "*": "allow", "question": "allow", "bash": "ask" });
        config.agent.config.insert("permission".to_owned(), permission);
    })
    .await;
    let runner = live.start("permission").await.unwrap();
    let child = r#"[[tool: task {"description":"list","prompt":"[[run: echo from the child]]","subagent_type":"general"}]] [[say: the helper is done]]"#;
    let question = r#"[[tool: question {"questions":[{"question":"Which?","header":"Which","options":[{"label":"Red","description":"r"},{"label":"Blue","description":"b"}]}]}]] [[output]]"#;
    for (prompt, name, give, wanted) in [
        ("[[run: echo allowed]] [[output]]", "bash", InputAnswer::Allow, "allowed"),
        (
            "[[run: echo allowed]] [[output]]",
            "bash",
            InputAnswer::Deny { message: Some("use another way".to_owned()) },
            "use another way",
        ),
        (child, "bash", InputAnswer::Allow, "the helper is done"),
        (question, "question", InputAnswer::Answers(vec![vec!["Blue".to_owned()]]), "Blue"),
    ] {
        let mut turn = runner.run(RunRequest::new(prompt).unwrap()).await.unwrap();
        let (mut asked, mut settled) = (0, 0);
        let ended = tokio::time::timeout(Duration::from_mins(1), async {
            loop {
                match turn.next().await.expect("an outcome").kind {
                    RunEventKind::InputNeeded { request, .. } => {
                        assert_eq!(request.name(), name, "{request:?}");
                        asked += 1;
                        runner.answer(&request.id, give.clone()).await.unwrap();
                    }
                    RunEventKind::InputSettled { by, .. } => {
                        assert_eq!(by, AnsweredBy::Caller);
                        settled += 1;
                    }
                    RunEventKind::Finished(result) => return result,
                    _ => {}
                }
            }
        });
        let result = ended.await.expect("no hang");
        assert_eq!((asked, settled), (1, 1), "{prompt}");
        assert!(result.is_completed() && result.text.contains(wanted), "{prompt}: {result:?}");
    }
    live.end().await;
}

/// Nobody answers: the agent is told so and goes on, long before the turn's own time is over.
#[tokio::test]
async fn a_permission_that_nobody_answers_does_not_hang_the_turn() {
    let live = Live::with(|config| {
        config.agent.config.insert("permission".to_owned(), json!({ "*": "allow", "bash": "ask" }));
        config.lifecycle.turn.input.deadline = Duration::from_secs(2);
    })
    .await;
    let runner = live.start("nobody").await.unwrap();
    let turn = run(&runner, "[[run: echo never]] [[output]]");
    let (kinds, result) = tokio::time::timeout(Duration::from_mins(1), turn).await.expect("no hang");
    let by = kinds.iter().find_map(|kind| match kind {
        RunEventKind::InputSettled { by, .. } => Some(*by),
        _ => None,
    });
    assert_eq!(by, Some(AnsweredBy::Deadline), "{kinds:?}");
    assert!(result.is_completed() && result.text.contains("Nobody was there"), "{result:?}");
    live.end().await;
}

/// A cancel while a permission is asked ends the turn once, and the next turn is clean.
#[tokio::test]
async fn a_cancel_while_the_agent_waits_for_a_permission_leaves_a_clean_session() {
    let live = Live::with(|config| {
        config.agent.config.insert("permission".to_owned(), json!({ "*": "allow", "bash": "ask" }));
    })
    .await;
    let runner = live.start("cancel-ask").await.unwrap();
    let mut turn = runner.run(RunRequest::new("[[run: echo never]]").unwrap()).await.unwrap();
    while !matches!(turn.next().await.expect("a request").kind, RunEventKind::InputNeeded { .. }) {}
    runner.cancel().await.unwrap();
    let rest: Vec<_> = turn.map(|event| event.kind).collect().await;
    let Some(RunEventKind::Finished(result)) = rest.last() else { panic!("{rest:?}") };
    assert!(matches!(result.outcome, Outcome::Canceled), "{result:?}");
    let (kinds, result) = run(&runner, "[[say: clean]] [[slow: 500ms x 14]]").await;
    assert!(result.is_completed(), "{result:?}");
    assert!(!kinds.iter().any(|k| matches!(k, RunEventKind::InputNeeded { .. })), "{kinds:?}");
    live.end().await;
}

/// The model sees an attached file as it sees a file.
#[tokio::test]
async fn an_attached_file_reaches_the_model() {
    let live = Live::new().await;
    let runner = live.start("attached").await.unwrap();
    let file = Attachment::new("notes.txt", "text/plain", "the milk is in the fridge").unwrap();
    let request = RunRequest::new("look at this").unwrap().with_attachment(file);
    let result = runner.run_to_end(request).await.unwrap();
    assert!(result.is_completed(), "{result:?}");
    let seen = live
        .stub
        .requests()
        .iter()
        .any(|request| request.last_user_text.contains("the milk is in the fridge"));
    assert!(seen, "the file is in the request to the model");
    live.end().await;
}
