//! Logs that an engine rotates under its reader.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use runner_core::logs::LogOptions;
use runner_core::{ContainerId, ContainerRuntime, ErrorKind, Retry};
use runner_docker::DockerRuntime;
use support::{Fake, Reply, Then, entry, frame, ok, unexpected};

const LOGS: &str = "GET /containers/abc/logs";
const INSPECT: &str = "GET /containers/abc/json";

/// The second 0 of `entry`.
const BEGIN: u64 = 1_767_225_600;

fn id() -> ContainerId {
    ContainerId::new("abc").unwrap()
}

fn container(status: &str) -> Reply {
    ok(format!(r#"{{"Id":"abc","State":{{"Status":"{status}"}}}}"#))
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN + second)
}

fn following() -> LogOptions {
    LogOptions { follow: true, ..LogOptions::default() }
}

/// Lines with the second in which they began, and errors.
async fn read(runtime: &DockerRuntime, options: LogOptions) -> Vec<Result<(String, u64), ErrorKind>> {
    let stream = runtime.logs(&id(), options).await.unwrap();
    let items = stream.map(|item| match item {
        Ok(line) => {
            let at = line.at.unwrap().duration_since(at(0)).unwrap().as_secs();
            Ok((line.text, at))
        }
        Err(e) => {
            assert!(e.container() == Some(&id()), "{e}");
            Err(e.kind())
        }
    });
    items.collect().await
}

#[expect(clippy::unnecessary_wraps, reason = "what is compared with it may be an error")]
fn line(text: &str, second: u64) -> Result<(String, u64), ErrorKind> {
    Ok((text.to_owned(), second))
}

fn numbered(seconds: std::ops::RangeInclusive<u32>) -> Vec<u8> {
    seconds.flat_map(|second| entry(1, second, &format!("line {second}\n"))).collect()
}

/// What an engine says when it has lost the file that it follows.
fn trouble() -> Vec<u8> {
    frame(3, b"Error grabbing logs: no such file or directory\n")
}

#[tokio::test]
async fn lines_have_the_moment_at_which_they_began() {
    let fake = Fake::engine(|_| {
        let entries =
            [entry(1, 1, "one\n"), entry(1, 2, "begun"), entry(2, 3, "a problem\n"), entry(1, 4, " ended\n")];
        Reply::Stream(entries.into(), Then::End)
    });
    let items = read(&fake.connect().await, LogOptions::default()).await;
    assert_eq!(items, [line("one", 1), line("a problem", 3), line("begun ended", 2)]);
    // Without moments, there are none.
    let fake = Fake::engine(|_| Reply::Stream(vec![frame(1, b"plain\n")], Then::End));
    let mut stream = fake.connect().await.logs(&id(), LogOptions::default()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().at, None);
}

#[tokio::test]
async fn what_is_before_a_moment_is_left_out_together_with_the_tail() {
    let fake = Fake::engine(|call| match call.what.as_str() {
        // An engine that rounds.
        LOGS => Reply::Stream(vec![numbered(1..=5)], Then::End),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let since = Some(at(3) + Duration::from_nanos(7));
    let options = LogOptions { since, tail: Some(4), follow: false };
    assert_eq!(read(&runtime, options).await, [line("line 4", 4), line("line 5", 5)]);
    let query = &fake.calls(LOGS)[0].query;
    assert!(query.contains("tail=4") && query.contains(&format!("since={}.000000000", BEGIN + 3)), "{query}");
    read(&runtime, LogOptions { tail: None, ..options }).await;
    let query = &fake.calls(LOGS)[1].query;
    assert!(query.contains("tail=all") && query.contains("since="), "{query}");

    // Over an interruption: from where reading stopped, and never from before.
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (LOGS, 0) => Reply::Stream(vec![numbered(1..=2)], Then::Cut),
        (LOGS, 1) => Reply::Stream(vec![numbered(1..=4)], Then::Cut),
        (LOGS, _) => Reply::Stream(vec![numbered(1..=5)], Then::End),
        (INSPECT, 0 | 1) => container("running"),
        _ => container("exited"),
    });
    let options = LogOptions { since: Some(at(3)), tail: Some(10), follow: true };
    let items = read(&fake.connect().await, options).await;
    assert_eq!(items, [line("line 3", 3), line("line 4", 4), line("line 5", 5)]);
    let calls = fake.calls(LOGS);
    assert!(calls[1].query.contains("tail=10") && calls[1].query.contains("since="), "nothing was read yet");
    assert!(!calls[2].query.contains("tail"), "{}", calls[2].query);
}

/// As engine 20.10.24 does at every rotation of a log that it follows: the new file's first lines come twice.
#[tokio::test]
async fn what_is_repeated_at_a_rotation_is_read_once() {
    let bytes = [
        numbered(1..=3),
        // One line in the new file so far.
        numbered(3..=3),
        numbered(4..=8),
        // Several; then all of them again.
        numbered(6..=9),
        numbered(4..=9),
        numbered(10..=10),
    ]
    .concat();
    for size in [1, 50, 10_000] {
        let pieces: Vec<Vec<u8>> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
        let fake = Fake::engine(move |call| match call.what.as_str() {
            LOGS if call.query.contains("follow=true") => Reply::Stream(pieces.clone(), Then::End),
            LOGS => Reply::Stream(vec![numbered(8..=11)], Then::End),
            _ => container("exited"),
        });
        let items = read(&fake.connect().await, following()).await;
        let want: Vec<_> = (1..=11).map(|n| line(&format!("line {n}"), n)).collect();
        assert_eq!(items, want, "pieces of {size}");
    }
}

#[tokio::test]
async fn lines_that_were_rotated_away_are_said_to_be_lost_and_reading_goes_on() {
    // Cut within a line; what follows stands after a gap.
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (LOGS, 0) => {
            let mut bytes = numbered(1..=4);
            bytes.truncate(bytes.len() - 3);
            Reply::Stream(vec![bytes], Then::Cut)
        }
        (LOGS, 1) => Reply::Stream(vec![numbered(20..=21)], Then::Cut),
        // No gap this time.
        (LOGS, 2) => Reply::Stream(vec![numbered(21..=22)], Then::Cut),
        (LOGS, _) => Reply::Stream(vec![numbered(40..=41)], Then::End),
        (INSPECT, 0..=2) => container("running"),
        _ => container("exited"),
    });
    let items = read(&fake.connect().await, following()).await;
    let lost = || Err(ErrorKind::Capacity);
    let want = [
        line("line 1", 1),
        line("line 2", 2),
        line("line 3", 3),
        line("line", 4),
        lost(),
        line("line 20", 20),
        line("line 21", 21),
        line("line 22", 22),
        lost(),
        line("line 40", 40),
        line("line 41", 41),
    ];
    assert_eq!(items, want);
    // The container that has ended is read to its end: nothing new there is nothing lost.
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (LOGS, 0) => Reply::Stream(vec![numbered(1..=2)], Then::End),
        (LOGS, _) => Reply::Stream(Vec::new(), Then::End),
        _ => container("exited"),
    });
    assert_eq!(read(&fake.connect().await, following()).await, [line("line 1", 1), line("line 2", 2)]);
}

/// A follow may skip a file that is still there. A reading without following does not, and is asked for what a follow
/// has brought much of.
#[tokio::test]
async fn a_flood_is_read_without_following() {
    // Follow, until much has come; what is there, as long as that is much; follow again.
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (LOGS, 0) => Reply::Stream(vec![numbered(1..=20), numbered(40..=41)], Then::Stall),
        (LOGS, 1) => Reply::Stream(vec![numbered(20..=40)], Then::End),
        (LOGS, 2) => Reply::Stream(vec![numbered(40..=41)], Then::End),
        (LOGS, 3) => Reply::Stream(vec![numbered(41..=43)], Then::End),
        (LOGS, _) => Reply::Stream(vec![numbered(43..=44)], Then::End),
        _ => container("exited"),
    });
    let mut config = fake.config();
    config.logs.file_bytes = 8 * 1000;
    let runtime = DockerRuntime::connect(config).await.unwrap();
    let items = read(&runtime, following()).await;
    let want: Vec<_> = (1..=44).map(|n| line(&format!("line {n}"), n)).collect();
    assert_eq!(items, want);
    let followed: Vec<bool> =
        fake.calls(LOGS).iter().map(|call| call.query.contains("follow=true")).collect();
    assert_eq!(followed, [true, false, false, true, false]);
    fake.quiet().await;

    // An engine that hangs in it, or is away, is waited for as ever.
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (LOGS, 0) => Reply::Stream(vec![numbered(1..=20)], Then::Stall),
        (LOGS, 1) => Reply::Hangup,
        (LOGS, 2) => Reply::Stream(vec![numbered(20..=22)], Then::Stall),
        (LOGS, _) => Reply::Stream(vec![numbered(22..=23)], Then::End),
        (INSPECT, 0..=2) => container("running"),
        _ => container("exited"),
    });
    let mut config = fake.config();
    config.logs.file_bytes = 8 * 1000;
    let runtime = DockerRuntime::connect(config).await.unwrap();
    let items = read(&runtime, following()).await;
    let want: Vec<_> = (1..=23).map(|n| line(&format!("line {n}"), n)).collect();
    assert_eq!(items, want);
}

#[tokio::test]
async fn an_engine_that_loses_its_place_is_asked_again() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (LOGS, 0) => Reply::Stream(vec![numbered(1..=2), trouble()], Then::End),
        (LOGS, 1) => Reply::Stream(vec![numbered(2..=3), trouble()], Then::Stall),
        (LOGS, _) => Reply::Stream(vec![numbered(3..=4)], Then::End),
        (INSPECT, 0 | 1) => container("running"),
        _ => container("exited"),
    });
    let items = read(&fake.connect().await, following()).await;
    let want: Vec<_> = (1..=4).map(|n| line(&format!("line {n}"), n)).collect();
    assert_eq!(items, want);
    fake.quiet().await;

    // But not for ever, and not where only what is there was asked for.
    let fake = Fake::engine(|call| match call.what.as_str() {
        LOGS => Reply::Stream(vec![numbered(1..=2), trouble()], Then::End),
        _ => container("running"),
    });
    let runtime = fake.connect().await;
    let mut stream = runtime.logs(&id(), following()).await.unwrap();
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Engine, Retry::Permanent), "{error}");
    assert!(error.message().contains("no such file"), "{error}");
    assert!(stream.next().await.is_none() && stream.next().await.is_none());
    assert!(fake.count(LOGS) > 2);
    let items = read(&runtime, LogOptions::default()).await;
    assert_eq!(items.last(), Some(&Err(ErrorKind::Engine)));
}
