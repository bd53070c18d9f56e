use std::io::ErrorKind;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::time::{advance, sleep};

use super::*;
use crate::recordings::input;

const LIMITS: Limits = Limits { max_frame: 1000, silence: Duration::from_secs(30) };

async fn read(input: impl Input) -> Vec<Result<String, String>> {
    let mut frames = Frames::new(input, LIMITS);
    let mut read = Vec::new();
    while let Some(frame) = frames.next().await {
        read.push(frame.map(|data| String::from_utf8(data).unwrap()).map_err(|failure| failure.to_string()));
    }
    assert!(frames.next().await.is_none(), "an end is an end");
    read
}

#[tokio::test]
async fn frames_come_in_any_pieces() {
    let pieces = [&b"data: a\n"[..], b"\ndata: b\n\nda", b"ta: c\n\ndata: unfinished\n"];
    assert_eq!(read(input(&pieces, None)).await, ["a", "b", "c"].map(|data| Ok(data.to_owned())));
}

#[tokio::test]
async fn nothing_follows_an_error() {
    let cut = input(&[b"data: a\n\ndata: b"], Some(ErrorKind::ConnectionReset));
    assert_eq!(read(cut).await, [Ok("a".to_owned()), Err("the connection to the server broke".to_owned())]);
    let large = input(&[b"data: a\n\n", &[b'x'; 1001], b"\n\ndata: c\n\n"], None);
    assert_eq!(read(large).await, [Ok("a".to_owned()), Err(Failure::FrameTooLarge(1000).to_string())]);
}

#[tokio::test]
async fn an_error_of_whoever_reads_is_an_end() {
    let mut frames = Frames::new(input(&[b"data: a\n\ndata: b\n\ndata: c\n\n"], None), LIMITS);
    let refuse_b = |data: &[u8]| Some(if data == b"b" { Err(Failure::NotText) } else { Ok(()) });
    let mut seen = Vec::new();
    while let Some(frame) = poll_fn(|cx| frames.poll(cx, refuse_b)).await {
        seen.push(frame.is_ok());
    }
    assert_eq!(seen, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_byte() {
    let (mut server, client) = tokio::io::duplex(64);
    let begun = Instant::now();
    let server = async {
        for pause in [29, 29, 29, 31] {
            sleep(Duration::from_secs(pause)).await;
            let _ = server.write_all(b":\n").await;
        }
    };
    let (read, ()) = tokio::join!(
        async {
            let read = read(BufReader::new(client)).await;
            assert_eq!(begun.elapsed(), Duration::from_secs(29 * 3 + 30));
            read
        },
        server
    );
    assert!(matches!(&read[..], [Err(text)] if text.contains("silent")), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_is_not_the_servers_silence() {
    let (mut server, client) = tokio::io::duplex(64);
    let mut frames = Frames::new(BufReader::new(client), LIMITS);
    advance(LIMITS.silence * 2).await;
    server.write_all(b"data: a\n\n").await.unwrap();
    assert!(matches!(frames.next().await, Some(Ok(data)) if data == b"a"));
    advance(LIMITS.silence * 2).await;
    let waited = Instant::now();
    assert!(matches!(frames.next().await, Some(Err(Failure::Silent(_)))));
    assert_eq!(waited.elapsed(), LIMITS.silence);
}
