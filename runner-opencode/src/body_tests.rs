use proptest::prelude::*;
use proptest::sample::Index;
use tokio::io::AsyncReadExt;

use super::*;
use crate::recordings::{input, split};

/// The body, and the kind of the error that ended it.
fn read(pieces: &[&[u8]], coding: Coding) -> (Vec<u8>, Option<ErrorKind>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut body = Body::new(Buffered::new(input(pieces, None)), coding);
    let mut read = Vec::new();
    let ended = runtime.block_on(body.read_to_end(&mut read));
    (read, ended.err().map(|error| error.kind()))
}

/// The chunks, each with a size line of its own kind.
fn chunked(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    for (kind, chunk) in chunks.iter().filter(|chunk| !chunk.is_empty()).enumerate() {
        let line = match kind % 4 {
            0 => format!("{:x}\r\n", chunk.len()),
            1 => format!("{:X};name=value\r\n", chunk.len()),
            2 => format!("000{:x}\r\n", chunk.len()),
            _ => format!("{:x} \r\n", chunk.len()),
        };
        text.extend_from_slice(line.as_bytes());
        text.extend_from_slice(chunk);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"0\r\n");
    text
}

#[test]
fn a_body_ends_where_it_says() {
    for (text, coding, expected) in [
        ("5\r\nhello\r\n0\r\n\r\nmore", Coding::Chunked, "hello"),
        ("0\r\nTrailer: x\r\n\r\n", Coding::Chunked, ""),
        ("hello, more", Coding::Length(5), "hello"),
        ("more", Coding::Length(0), ""),
        ("hello", Coding::Close, "hello"),
        ("", Coding::Close, ""),
    ] {
        assert_eq!(read(&[text.as_bytes()], coding), (expected.as_bytes().to_owned(), None), "{text}");
    }
}

#[test]
fn a_body_that_is_cut_or_no_body_is_an_error() {
    let endless = format!("5;{}", "x".repeat(2 * MAX_SIZE_LINE));
    for (text, coding, kind) in [
        ("", Coding::Chunked, ErrorKind::UnexpectedEof),
        ("5", Coding::Chunked, ErrorKind::UnexpectedEof),
        ("5\r\nhel", Coding::Chunked, ErrorKind::UnexpectedEof),
        ("5\r\nhello", Coding::Chunked, ErrorKind::UnexpectedEof),
        ("5\r\nhello\r", Coding::Chunked, ErrorKind::UnexpectedEof),
        ("5\r\nhello\r\n", Coding::Chunked, ErrorKind::UnexpectedEof),
        ("hel", Coding::Length(5), ErrorKind::UnexpectedEof),
        ("5\r\nhello, more", Coding::Chunked, ErrorKind::InvalidData),
        ("five\r\nhello", Coding::Chunked, ErrorKind::InvalidData),
        ("-5\r\nhello", Coding::Chunked, ErrorKind::InvalidData),
        ("fffffffffffffffff\r\nhello", Coding::Chunked, ErrorKind::InvalidData),
        ("\r\nhello", Coding::Chunked, ErrorKind::InvalidData),
        (&endless, Coding::Chunked, ErrorKind::InvalidData),
    ] {
        assert_eq!(read(&[text.as_bytes()], coding).1, Some(kind), "{}", &text[..text.len().min(40)]);
    }
}

proptest! {
    #[test]
    fn any_split_of_any_chunks_gives_the_same_bytes(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        at in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let text = chunked(&chunks);
        prop_assert_eq!(read(&split(&text, &at), Coding::Chunked), (chunks.concat(), None));
    }

    #[test]
    fn a_body_larger_than_the_buffer_is_read_whole(size in 0..4 * BUFFER, chunk in 1..2 * BUFFER) {
        let bytes: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[0]).collect();
        let chunks: Vec<_> = bytes.chunks(chunk).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(read(&[&chunked(&chunks)], Coding::Chunked), (bytes, None));
    }

    #[test]
    fn a_cut_anywhere_is_no_end(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..5),
        at in any::<Index>(),
    ) {
        let text = chunked(&chunks);
        let (read, error) = read(&[&text[..at.index(text.len())]], Coding::Chunked);
        prop_assert_eq!(error, Some(ErrorKind::UnexpectedEof));
        prop_assert!(chunks.concat().starts_with(&read));
    }

    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0..400_u64) {
        for coding in [Coding::Chunked, Coding::Length(length), Coding::Close] {
            prop_assert!(read(&[&bytes], coding).0.len() <= bytes.len());
        }
    }
}
