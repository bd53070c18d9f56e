//! Events of an engine that misbehaves by script.
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
use runner_core::container::Labels;
use runner_core::runtime_event::{ContainerEventKind, RuntimeEvent, RuntimeEventStream};
use runner_core::{ContainerRuntime, Error, ErrorKind, Retry};
use support::{Call, Fake, Reply, Then, fail, ok};
use tokio::time::timeout;

const EVENTS: &str = "GET /events";

/// When the fake engine's clock stands still: 1767225600.
const NOW: &str = "2026-01-01T00:00:00.000000000Z";
const NOW_SECONDS: i64 = 1_767_225_600;

/// An engine with a clock.
fn engine(script: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::bare(move |call| match call.what.as_str() {
        "GET /version" => ok(r#"{"Version":"99.0-fake","ApiVersion":"1.99"}"#),
        "GET /info" => ok(format!(r#"{{"DockerRootDir":"/nonexistent/data","SystemTime":"{NOW}"}}"#)),
        _ => script(call),
    })
}

fn labels() -> Labels {
    Labels::from([("run".to_owned(), "1".to_owned())])
}

/// A line of an event so many milliseconds after the engine's now.
fn line(action: &str, milliseconds: i64) -> String {
    line_of(action, milliseconds, r#""run":"1""#)
}

fn line_of(action: &str, milliseconds: i64, attributes: &str) -> String {
    let nanos = NOW_SECONDS * 1_000_000_000 + milliseconds * 1_000_000;
    format!(
        r#"{{"status":"{action}","id":"abc","Type":"container","Action":"{action}","Actor":{{"ID":"abc","Attributes":{{{attributes},"name":"n","image":"i"}}}},"scope":"local","time":{NOW_SECONDS},"timeNano":{nanos}}}"#
    ) + "\n"
}

fn lines(lines: &[String]) -> Vec<Vec<u8>> {
    vec![lines.concat().into_bytes()]
}

/// What came, in short.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Connected,
    Reconnected,
    Event(String),
    Failed(ErrorKind, Retry),
    End,
}

fn event(text: &str) -> Got {
    Got::Event(text.to_owned())
}

fn short(item: Option<Result<RuntimeEvent, Error>>) -> Got {
    match item {
        None => Got::End,
        Some(Err(e)) => Got::Failed(e.kind(), e.retry()),
        Some(Ok(RuntimeEvent::Connected)) => Got::Connected,
        Some(Ok(RuntimeEvent::Reconnected)) => Got::Reconnected,
        Some(Ok(RuntimeEvent::Container(event))) => Got::Event(match event.kind {
            ContainerEventKind::Created => "create".to_owned(),
            ContainerEventKind::Started => "start".to_owned(),
            ContainerEventKind::Died { .. } => "die".to_owned(),
            ContainerEventKind::Removed => "destroy".to_owned(),
            ContainerEventKind::Other(other) => other,
            other => format!("{other:?}"),
        }),
        Some(Ok(other)) => panic!("{other:?}"),
    }
}

async fn take(stream: &mut RuntimeEventStream, count: usize) -> Vec<Got> {
    let mut got = Vec::new();
    for _ in 0..count {
        let item = timeout(Duration::from_secs(10), stream.next()).await;
        got.push(short(item.unwrap_or_else(|_| panic!("nothing comes after {got:?}"))));
    }
    got
}

#[tokio::test]
async fn unknown_words_and_garbage_end_nothing_whatever_pieces_they_arrive_in() {
    let all = [
        line("start", 1),
        r#"{"Type":"surprise","Action":"x","Actor":{"ID":"abc","Attributes":{"run":"1"}}}"#.to_owned() + "\n",
        line("levitate", 2),
        "garbage\n\n{\"half\":\n".to_owned(),
        // The engine's filter lies.
        line_of("start", 3, r#""run":"11""#),
        line_of("start", 3, r#""other":"1""#),
        line("exec_create: echo secret", 4),
        line("health_status: healthy", 5),
        line("die", 6),
    ]
    .concat()
    .into_bytes();
    for size in [1, 3, 100, 10_000] {
        let pieces: Vec<Vec<u8>> = all.chunks(size).map(<[u8]>::to_vec).collect();
        let fake = engine(move |_| Reply::Stream(pieces.clone(), Then::Stall));
        let mut stream = fake.connect().await.events(&labels()).await.unwrap();
        let got = take(&mut stream, 6).await;
        let want = [
            Got::Connected,
            event("start"),
            event("levitate"),
            event("exec_create"),
            event("health_status: healthy"),
            event("die"),
        ];
        assert_eq!(got, want, "pieces of {size}");
        let query = &fake.calls(EVENTS)[0].query;
        assert!(query.starts_with("since=1767225600.000000000&filters="), "{query}");
        assert!(query.contains("%22run%3D1%22") && query.contains("container"), "{query}");
        drop(stream);
        fake.quiet().await;
    }
}

#[tokio::test]
async fn what_is_older_than_the_call_is_not_told() {
    let fake = engine(|_| {
        Reply::Stream(
            lines(&[line("die", -5), line("start", 0), line("die", 1), line("stop", -1)]),
            Then::Stall,
        )
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    // The last is not: its clock was set back.
    let want = [Got::Connected, event("start"), event("die"), Got::Event("Stopped".to_owned())];
    assert_eq!(take(&mut stream, 4).await, want);
}

#[tokio::test]
async fn a_cut_stream_goes_on_without_loss_or_repetition() {
    let all = [
        line("create", 10),
        line("start", 20),
        // Two at one moment, one of them told before the cut.
        line("kill", 30),
        line("die", 30),
        line("stop", 40),
        line("destroy", 50),
    ];
    let fake = engine(move |call| match call.nth {
        0 => {
            // Cut within the fourth.
            let text = all[..4].concat();
            Reply::Stream(vec![text[..text.len() - 20].into()], Then::Cut)
        }
        // An engine that answers with a failure, one that closes, one that has nothing new and closes.
        1 => fail(503, "starting"),
        2 => Reply::Hangup,
        3 => Reply::Stream(lines(&all[..3]), Then::End),
        _ => Reply::Stream(lines(&all), Then::Stall),
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    let got = take(&mut stream, 9).await;
    let want = [
        Got::Connected,
        event("create"),
        event("start"),
        event("Signaled { signal: None }"),
        Got::Reconnected,
        Got::Reconnected,
        event("die"),
        event("Stopped"),
        event("destroy"),
    ];
    assert_eq!(got, want);
    let last = &fake.calls(EVENTS).pop().unwrap().query;
    assert!(
        last.starts_with("since=1767225600.000000000&"),
        "a little before, never before the call: {last}"
    );
    drop(stream);
    fake.quiet().await;
}

#[tokio::test]
async fn a_restart_of_the_engine_is_survived_and_shown() {
    let fake = engine(|call| match call.nth {
        0 => Reply::Stream(lines(&[line("start", 5_000)]), Then::Stall),
        _ => Reply::Stream(lines(&[line("start", 5_000), line("die", 6_000)]), Then::Stall),
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    assert_eq!(take(&mut stream, 2).await, [Got::Connected, event("start")]);
    fake.away().await;
    let back = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        fake.back();
    };
    let (got, ()) = tokio::join!(take(&mut stream, 2), back);
    assert_eq!(got, [Got::Reconnected, event("die")]);
    let last = &fake.calls(EVENTS).pop().unwrap().query;
    assert!(last.starts_with("since=1767225604.000000000&"), "{last}");
}

#[tokio::test]
async fn an_engine_that_stays_away_is_one_error_and_the_end() {
    let fake = engine(|_| Reply::Stream(lines(&[line("start", 1)]), Then::Stall));
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    assert_eq!(take(&mut stream, 2).await, [Got::Connected, event("start")]);
    fake.away().await;
    let got = take(&mut stream, 3).await;
    assert_eq!(got, [Got::Failed(ErrorKind::EngineUnavailable, Retry::Temporary), Got::End, Got::End]);

    // Nor is one there that takes every subscription and closes it.
    let fake = engine(|_| Reply::Stream(lines(&[line("start", 1)]), Then::Cut));
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    let mut got = take(&mut stream, 3).await;
    while got.last() == Some(&Got::Reconnected) {
        got = take(&mut stream, 1).await;
    }
    assert_eq!(got, [Got::Failed(ErrorKind::Connection, Retry::Temporary)]);
    assert_eq!(take(&mut stream, 1).await, [Got::End]);

    // One that refuses is not asked again.
    let fake = engine(|call| match call.nth {
        0 => Reply::Stream(Vec::new(), Then::Cut),
        _ => fail(404, "page not found"),
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    let got = take(&mut stream, 3).await;
    assert_eq!(got, [Got::Connected, Got::Failed(ErrorKind::Unsupported, Retry::Permanent), Got::End]);
    assert_eq!(fake.count(EVENTS), 2);
}

/// The time is for one absence of the engine and not for the stream as a whole.
#[tokio::test]
async fn every_absence_of_the_engine_gets_the_whole_time() {
    let fake = engine(|call| {
        let n = i64::try_from(call.nth).unwrap();
        Reply::Stream(lines(&[line(&format!("event {n}"), 10 * n)]), Then::Cut)
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    assert_eq!(take(&mut stream, 1).await, [Got::Connected]);
    // Each costs a pause of 50 ms or more: together far more than the budget for one.
    for n in 0..20 {
        let want = [event(&format!("event {n}")), Got::Reconnected];
        assert_eq!(take(&mut stream, 2).await, want);
    }
}

#[tokio::test]
async fn silence_is_looked_into_and_endured() {
    // Nothing for three times as long as is waited for, then something, on the connection that lives.
    let fake = engine(|call| match call.nth {
        0 => Reply::Stream(lines(&[line("start", 1)]), Then::Stall),
        3 => Reply::Stream(lines(&[line("start", 1), line("die", 2)]), Then::Stall),
        _ => Reply::Stream(Vec::new(), Then::Stall),
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    let got = take(&mut stream, 3).await;
    assert_eq!(got, [Got::Connected, event("start"), event("die")], "no mark: nothing was lost");
    drop(stream);
    fake.quiet().await;

    // Silence of an engine that hangs, and comes back.
    let fake = engine(|call| match call.nth {
        0 => Reply::Stream(Vec::new(), Then::Stall),
        1 => Reply::Silence,
        _ => Reply::Stream(lines(&[line("die", 2)]), Then::Stall),
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    assert_eq!(take(&mut stream, 3).await, [Got::Connected, Got::Reconnected, event("die")]);

    // And of one that does not.
    let fake = engine(|call| match call.nth {
        0 => Reply::Stream(Vec::new(), Then::Stall),
        _ => Reply::Silence,
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    let got = take(&mut stream, 3).await;
    assert_eq!(got, [Got::Connected, Got::Failed(ErrorKind::Timeout, Retry::Temporary), Got::End]);
    fake.quiet().await;
}

#[tokio::test]
async fn a_line_without_end_is_an_error_after_what_came_before_it() {
    let fake = engine(|_| {
        let mut pieces = lines(&[line("start", 1)]);
        pieces.extend(std::iter::repeat_n(vec![b'x'; 100_000], 30));
        Reply::Stream(pieces, Then::Stall)
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    let got = take(&mut stream, 4).await;
    let failed = Got::Failed(ErrorKind::Protocol, Retry::Permanent);
    assert_eq!(got, [Got::Connected, event("start"), failed, Got::End]);
    fake.quiet().await;
}

/// What does not fit in the queue is asked for again; the gap is shown.
#[tokio::test]
async fn a_slow_reader_is_told_and_loses_nothing_that_the_engine_remembers() {
    const ALL: i64 = 3000;
    let numbered = |n: i64| line(&format!("event {n}"), n);
    let fake = engine(move |call| {
        let since = call.query.strip_prefix("since=").and_then(|rest| rest.split('.').next());
        let since: i64 = since.unwrap().parse().unwrap();
        let first = (since - NOW_SECONDS) * 1000;
        let wanted: Vec<String> = (first.max(1)..=ALL).map(numbered).collect();
        Reply::Stream(lines(&wanted), Then::Stall)
    });
    let mut stream = fake.connect().await.events(&labels()).await.unwrap();
    // The task has given up its first subscription before anything is read.
    fake.quiet().await;
    // However long the reader takes: that is not an absence of the engine.
    tokio::time::sleep(fake.config().budgets.reconnect * 2).await;
    assert_eq!(take(&mut stream, 1).await, [Got::Connected]);
    let (mut expected, mut gaps) = (1, 0);
    while expected <= ALL {
        match take(&mut stream, 1).await.remove(0) {
            Got::Reconnected => gaps += 1,
            got => {
                assert_eq!(got, event(&format!("event {expected}")));
                expected += 1;
            }
        }
    }
    assert!(gaps >= 1);
    drop(stream);
    fake.quiet().await;
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let fake = engine(|_| Reply::Stream(Vec::new(), Then::Stall));
    let runtime = fake.connect().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(runtime.events(&labels()).await.unwrap());
    }
    drop(streams);
    fake.quiet().await;
}

#[tokio::test]
async fn failures_that_are_known_at_once_belong_to_the_call() {
    for (reply, kind) in [
        (fail(400, "Invalid filter"), ErrorKind::InvalidInput),
        (fail(404, "page not found"), ErrorKind::Unsupported),
        (Reply::Silence, ErrorKind::Timeout),
        (Reply::Hangup, ErrorKind::Connection),
    ] {
        let fake = engine(move |_| reply.clone());
        let error = fake.connect().await.events(&labels()).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let fake = engine(|_| Reply::Silence);
    let unseen = Labels::from([("image".to_owned(), "x".to_owned())]);
    let error = fake.connect().await.events(&unseen).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(fake.count(EVENTS), 0);
}

/// An engine that does not tell its time is asked for what comes from now on, and believed.
#[tokio::test]
async fn an_engine_without_a_clock_is_listened_to() {
    let fake = Fake::engine(|_| Reply::Stream(lines(&[line("start", -5_000)]), Then::Stall));
    let mut stream = fake.connect().await.events(&Labels::new()).await.unwrap();
    assert_eq!(take(&mut stream, 2).await, [Got::Connected, event("start")]);
    let query = &fake.calls(EVENTS)[0].query;
    assert!(query.starts_with("filters="), "{query}");
}
