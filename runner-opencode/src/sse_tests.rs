use futures::FutureExt;
use futures::stream::{self, StreamExt};
use proptest::prelude::*;
use proptest::sample::Index;
use sse_stream::SseByteStream;

use super::*;
use crate::recordings::split;

/// All that the standard allows in one text, and what it must come to.
const BODY: &str = "\u{feff}data: a\n\n: comment\n\ndata:b\r\n\r\ndata: c\rdata:\rdata:  d\r\revent: e\nid: 7\n\
                    retry: 1\nnonsense\ndata: \u{e9}\n\ndata\n\nevent: only\n\ndata:{\"x\":\ndata:1}\n\ndata: unfinished";
const FRAMES: [&str; 5] = ["a", "b", "c\n\n d", "\u{e9}", "{\"x\":\n1}"];

/// The frames, and whether an error ended them.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max_frame: usize) -> (Vec<Vec<u8>>, bool) {
    let mut framing = Framing::new(max_frame);
    let mut frames = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            match framing.read(piece, |data| Some(data.to_owned())) {
                Ok((read, frame)) => {
                    assert!(
                        read > 0 && (frame.is_some() || read == piece.len()),
                        "{read} of {}",
                        piece.len()
                    );
                    frames.extend(frame);
                    piece = &piece[read..];
                }
                Err(failure) => {
                    assert!(matches!(failure, Failure::FrameTooLarge(max) if max == max_frame));
                    return (frames, true);
                }
            }
            assert!(framing.line.len() + framing.data.len() <= max_frame, "more is held than may be");
        }
    }
    (frames, false)
}

fn expected() -> (Vec<Vec<u8>>, bool) {
    (FRAMES.iter().map(|frame| frame.as_bytes().to_owned()).collect(), false)
}

#[test]
fn any_two_splits_give_the_same_frames() {
    let bytes = BODY.as_bytes();
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            assert_eq!(read(pieces, 1000), expected(), "split at {first} and {second}");
        }
    }
    assert_eq!(read(bytes.chunks(1), 1000), expected(), "byte by byte");
}

#[test]
fn a_frame_at_the_limit_is_read_and_one_beyond_is_an_error() {
    let frame = |size: usize| format!("data: {}\n\n", "x".repeat(size));
    for (size, fits) in [(900, true), (992, true), (993, false), (5000, false)] {
        let text = frame(10) + &frame(size) + &frame(20);
        for pieces in [1, 7, text.len()] {
            let (frames, failed) = read(text.as_bytes().chunks(pieces), 1000);
            assert_eq!(
                (frames.len(), failed),
                if fits { (3, false) } else { (1, true) },
                "{size} by {pieces}"
            );
        }
    }
}

#[test]
fn comments_and_frames_without_data_count_like_others() {
    assert_eq!(read([":\n\n".repeat(1000).as_bytes()], 10), (vec![], false), "each is small");
    assert_eq!(read([":\n".repeat(1000).as_bytes()], 10), (vec![], true), "all are one");
}

#[test]
fn a_large_frames_room_is_given_back() {
    let mut framing = Framing::new(10 * KEPT);
    let text = format!("data: {}\n", "x".repeat(5 * KEPT));
    for piece in text.as_bytes().chunks(1000).chain([&b"\n"[..]]) {
        assert!(framing.read(piece, |_| None::<()>).is_ok());
    }
    assert!(framing.line.capacity() <= KEPT && framing.data.capacity() <= KEPT);
}

/// What streams are made of, and what may be taken for it.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "data:", "data: ", "data"]),
        2 => prop::sample::select(vec![":", " ", "event: x", "id: 1", "retry: 2", "\u{feff}", "\u{e9}", "x", "dat", "ta:"]),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_text_gives_what_another_implementation_makes_of_it(text in text()) {
        let whole = stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(text.clone()))]);
        let frames = SseByteStream::new(whole).filter_map(async |frame| frame.unwrap().data);
        let frames: Vec<String> = frames.filter(|data| std::future::ready(!data.is_empty())).collect().now_or_never().unwrap();
        let ours = read([text.as_bytes()], usize::MAX).0;
        prop_assert_eq!(ours, frames.into_iter().map(String::into_bytes).collect::<Vec<_>>());
    }

    #[test]
    fn any_split_gives_the_same_frames_and_the_same_error(
        text in text(),
        at in prop::collection::vec(any::<Index>(), 0..9),
        max_frame in prop_oneof![Just(usize::MAX), 1..40_usize],
    ) {
        let bytes = text.as_bytes();
        prop_assert_eq!(read(split(bytes, &at), max_frame), read([bytes], max_frame));
        prop_assert_eq!(read(bytes.chunks(1), max_frame), read([bytes], max_frame));
    }

    #[test]
    fn any_bytes_are_read_within_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..500),
        at in prop::collection::vec(any::<Index>(), 0..9),
        max_frame in 1..100_usize,
    ) {
        prop_assert_eq!(read(split(&bytes, &at), max_frame), read([&bytes[..]], max_frame));
    }
}
