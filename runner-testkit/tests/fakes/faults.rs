//! What all fakes share: faults and the log of calls.

use std::time::Duration;

use runner_core::workspace_provider::WorkspaceRequest;
use runner_core::{AgentId, AgentSettings, Error, ErrorKind, Retry, TaskId, WorkspaceProvider};
use runner_testkit::fake_workspace::{FakeWorkspace, Op};
use runner_testkit::faults::CallResult;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

fn request() -> WorkspaceRequest {
    WorkspaceRequest {
        agent: AgentId::new("a").unwrap(),
        task: TaskId::new("t").unwrap(),
        settings: AgentSettings::default(),
    }
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "prepare", "on request")
}

#[tokio::test(start_paused = true)]
async fn failures_come_in_order_and_have_no_effect() {
    let disk = FakeWorkspace::new();
    disk.fail_next(Op::Prepare, error(ErrorKind::Workspace));
    disk.fail_times(Op::Prepare, 2, error(ErrorKind::HostResources));
    for kind in [ErrorKind::Workspace, ErrorKind::HostResources, ErrorKind::HostResources] {
        assert_eq!(disk.prepare(&request()).await.unwrap_err().kind(), kind);
    }
    assert!(!disk.holds_secrets());
    disk.prepare(&request()).await.unwrap();
    disk.fail_always(Op::Prepare, error(ErrorKind::Workspace));
    for _ in 0..5 {
        disk.prepare(&request()).await.unwrap_err();
    }
    disk.heal(Op::Prepare);
    disk.prepare(&request()).await.unwrap();
    assert_eq!(disk.count(Op::Prepare), 10);
    assert_eq!(disk.prepared().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_call_goes_on_when_released_and_may_be_dropped() {
    let disk = FakeWorkspace::new();
    disk.stall(Op::Prepare);
    timeout(SECOND, disk.prepare(&request())).await.unwrap_err();
    assert!(!disk.holds_secrets(), "a dropped call has no effect");

    let (task, request) = (disk.clone(), request());
    let stalled = tokio::spawn(async move { task.prepare(&request).await });
    tokio::time::sleep(SECOND).await;
    assert!(!stalled.is_finished());
    disk.unstall(Op::Prepare);
    stalled.await.unwrap().unwrap();
    let results: Vec<_> = disk.calls().iter().map(|call| (call.result, call.took())).collect();
    assert_eq!(results, [(CallResult::Dropped, Some(SECOND)), (CallResult::Done, Some(SECOND))]);
}

#[tokio::test(start_paused = true)]
async fn only_the_next_call_stalls_if_asked_so() {
    let disk = FakeWorkspace::new();
    disk.stall_next(Op::Prepare);
    timeout(SECOND, disk.prepare(&request())).await.unwrap_err();
    timeout(SECOND, disk.prepare(&request())).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn replies_can_be_late_stuck_or_lost_after_the_effect() {
    let disk = FakeWorkspace::new();
    disk.delay_reply(Op::Prepare, SECOND);
    timeout(SECOND / 2, disk.prepare(&request())).await.unwrap_err();
    assert!(disk.holds_secrets(), "it had its effect before the reply");

    let disk = FakeWorkspace::new();
    disk.stall_reply(Op::Prepare);
    timeout(SECOND, disk.prepare(&request())).await.unwrap_err();
    assert!(disk.holds_secrets());

    let disk = FakeWorkspace::new();
    disk.lose_reply(Op::Prepare);
    let lost = disk.prepare(&request()).await.unwrap_err();
    assert_eq!((lost.kind(), lost.retry()), (ErrorKind::Connection, Retry::Temporary));
    assert!(disk.holds_secrets());
}

#[tokio::test(start_paused = true)]
async fn calls_are_logged_with_their_times_and_subjects() {
    let disk = FakeWorkspace::new();
    let began = Instant::now();
    disk.delay(Op::Prepare, SECOND);
    disk.prepare(&request()).await.unwrap();
    disk.release(&request().task).await.unwrap();
    let calls = disk.calls();
    assert_eq!(disk.ops(), [Op::Prepare, Op::Release]);
    assert_eq!((calls[0].about.as_str(), calls[0].took()), ("t", Some(SECOND)));
    assert_eq!(calls[1].began - began, SECOND);
    disk.forget_calls();
    assert!(disk.calls().is_empty());
    disk.release(&request().task).await.unwrap();
    assert_eq!(disk.calls()[0].result, CallResult::Done, "a log that was emptied goes on");
}
