//! Framed bytes of a log → the text of its two streams, each byte once, whatever happens to the connection. No I/O.
//!
//! Every frame is one entry of the log and begins with its moment (the engine is asked for it). The moment is taken
//! off and remembered, so that reading can be resumed. Where an engine writes none, everything is text and nothing
//! can be resumed.

use runner_core::logs::LogSource;

use crate::frames::{FrameReader, NotFrames, Piece};
use crate::position::Position;
use crate::stamp::{MAX_STAMP, Stamp};

/// Bytes kept of an engine's words about a failure of its own.
const MAX_TROUBLE: usize = 4096;

/// Reads one log.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    frames: FrameReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    position: Position,
    entry: Option<Entry>,
    trouble: Vec<u8>,
    unstamped: bool,
}

/// The entry that is being read.
#[derive(Debug)]
struct Entry {
    source: LogSource,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Its moment is not complete.
    Head(Vec<u8>),
    /// It was read before.
    Known,
    /// Its text: bytes still to skip, and bytes that have come in all.
    Text { stamp: Option<Stamp>, skip: usize, come: usize },
}

impl Entries {
    /// Takes the next bytes; text that is new goes to `text`.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        mut text: impl FnMut(LogSource, &[u8]),
    ) -> Result<(), NotFrames> {
        let state = &mut self.state;
        self.frames.feed(bytes, |piece| match piece {
            Piece::Begin(source) => {
                state.entry = Some(Entry { source, stage: Stage::Head(Vec::new()) });
            }
            Piece::Bytes(bytes) => state.bytes(bytes, &mut text),
            Piece::End => state.end(&mut text),
            Piece::Trouble(bytes) => {
                let room = MAX_TROUBLE.saturating_sub(state.trouble.len()).min(bytes.len());
                state.trouble.extend_from_slice(bytes.get(..room).unwrap_or_default());
            }
        })
    }

    /// Whether the bytes so far end with a whole frame.
    pub(crate) fn is_whole(&self) -> bool {
        self.frames.is_whole()
    }

    /// What the engine said about a failure of its own, once it is complete.
    pub(crate) fn trouble(&self) -> Option<&[u8]> {
        (self.is_whole() && !self.state.trouble.is_empty()).then_some(&self.state.trouble)
    }

    /// Whether nothing has been read yet.
    pub(crate) fn is_start(&self) -> bool {
        self.state.position.is_start() && !self.state.unstamped
    }

    /// Whether reading can go on over another connection.
    pub(crate) fn can_resume(&self) -> bool {
        !self.state.unstamped
    }

    /// The connection is over and another one follows; the moment to ask for. `None`: from the start.
    pub(crate) fn resume(&mut self) -> Option<Stamp> {
        self.frames = FrameReader::default();
        if let Some(Entry { source, stage: Stage::Text { stamp: Some(stamp), skip, come } }) =
            self.state.entry.take()
        {
            // What was still to be skipped has been delivered, too.
            self.state.position.interrupted(source, stamp, come + skip);
        }
        self.state.position.resume()
    }
}

impl State {
    fn bytes(&mut self, bytes: &[u8], text: &mut impl FnMut(LogSource, &[u8])) {
        let Some(entry) = &mut self.entry else { return };
        match &mut entry.stage {
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                let space = head.iter().position(|b| *b == b' ');
                if space.is_none() && head.len() < MAX_STAMP {
                    return;
                }
                let head = std::mem::take(head);
                self.headed(&head, space, text);
            }
            Stage::Known => {}
            Stage::Text { skip, come, .. } => {
                *come += bytes.len();
                let skipped = (*skip).min(bytes.len());
                *skip -= skipped;
                text(entry.source, bytes.get(skipped..).unwrap_or_default());
            }
        }
    }

    /// The head of an entry is complete: a moment up to a space, then text; or text from the start.
    fn headed(&mut self, head: &[u8], space: Option<usize>, text: &mut impl FnMut(LogSource, &[u8])) {
        let Some(entry) = &mut self.entry else { return };
        let parsed = space.and_then(|at| {
            let (stamp, rest) = head.split_at_checked(at)?;
            Some((Stamp::parse(stamp)?, rest.get(1..)?))
        });
        let (stamp, rest, known) = match parsed {
            Some((stamp, rest)) => (Some(stamp), rest, self.position.known(entry.source, stamp)),
            None => (None, head, Some(0)),
        };
        self.unstamped |= stamp.is_none();
        match known {
            Some(skip) => {
                entry.stage = Stage::Text { stamp, skip, come: 0 };
                self.bytes(rest, text);
            }
            None => entry.stage = Stage::Known,
        }
    }

    fn end(&mut self, text: &mut impl FnMut(LogSource, &[u8])) {
        if let Some(Entry { stage: Stage::Head(head), .. }) = &mut self.entry {
            // Shorter than a moment.
            let head = std::mem::take(head);
            if !head.is_empty() {
                let space = head.iter().position(|b| *b == b' ');
                self.headed(&head, space, text);
            }
        }
        if let Some(Entry { source, stage: Stage::Text { stamp: Some(stamp), .. } }) = self.entry.take() {
            self.position.read(source, stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, second: u32, text: &str) -> Vec<u8> {
        frame(kind, format!("2026-01-01T00:00:{second:02}.000000000Z {text}").as_bytes())
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], length.as_slice(), payload].concat()
    }

    fn log() -> Vec<(u32, Vec<u8>)> {
        [(1, 1, "one\n"), (2, 1, "problem\n"), (1, 2, "frag"), (1, 2, "ment\n"), (1, 3, ""), (1, 4, "last é")]
            .map(|(kind, second, text)| (second, entry(kind, second, text)))
            .into()
    }

    #[test]
    fn moments_are_taken_off_whatever_the_pieces() {
        let all: Vec<u8> = log().into_iter().flat_map(|(_, bytes)| bytes).collect();
        for size in 1..all.len() {
            let (mut entries, mut out, mut err) = (Entries::default(), Vec::new(), Vec::new());
            for part in all.chunks(size) {
                let text = |source, bytes: &[u8]| match source {
                    LogSource::Stdout => out.extend_from_slice(bytes),
                    LogSource::Stderr => err.extend_from_slice(bytes),
                };
                entries.feed(part, text).unwrap();
            }
            assert_eq!(String::from_utf8(out).unwrap(), "one\nfragment\nlast é", "pieces of {size}");
            assert_eq!(err, b"problem\n");
        }
    }

    /// Cut anywhere, twice, and every byte comes once.
    #[test]
    fn a_cut_connection_is_resumed_to_the_byte() {
        let since = |since: Option<Stamp>| -> Vec<u8> {
            let wanted = |second: u32| {
                let stamp = Stamp::parse(format!("2026-01-01T00:00:{second:02}Z").as_bytes());
                since.is_none() || stamp >= since
            };
            log().into_iter().filter(|(second, _)| wanted(*second)).flat_map(|(_, bytes)| bytes).collect()
        };
        let all = since(None);
        for (first, second) in (0..=all.len()).flat_map(|a| (0..=all.len()).step_by(7).map(move |b| (a, b))) {
            let (mut entries, mut out) = (Entries::default(), Vec::new());
            let mut text = |source: LogSource, bytes: &[u8]| {
                if source == LogSource::Stdout {
                    out.extend_from_slice(bytes);
                }
            };
            entries.feed(&all[..first], &mut text).unwrap();
            let rest = since(entries.resume());
            entries.feed(&rest[..second.min(rest.len())], &mut text).unwrap();
            let rest = since(entries.resume());
            entries.feed(&rest, &mut text).unwrap();
            assert!(entries.can_resume() && entries.is_whole());
            assert_eq!(
                String::from_utf8(out).unwrap(),
                "one\nfragment\nlast é",
                "cut at {first} and {second}"
            );
        }
    }

    #[test]
    fn without_moments_everything_is_text_and_nothing_is_resumed() {
        let mut entries = Entries::default();
        assert!(entries.is_start() && entries.can_resume());
        let mut out = Vec::new();
        let long = "x".repeat(100);
        for text in ["a b\n", "c", "\n", "2026-01-01 not a moment\n", &long] {
            entries.feed(&frame(1, text.as_bytes()), |_, bytes| out.extend_from_slice(bytes)).unwrap();
        }
        let want = format!("a b\nc\n2026-01-01 not a moment\n{long}");
        assert_eq!(String::from_utf8(out).unwrap(), want);
        assert!(!entries.is_start() && !entries.can_resume());
    }

    #[test]
    fn the_engines_own_words_are_kept_apart() {
        let mut entries = Entries::default();
        let bytes = frame(3, b"disk on fire");
        entries.feed(&bytes[..10], |_, _| panic!("not output")).unwrap();
        assert_eq!(entries.trouble(), None);
        entries.feed(&bytes[10..], |_, _| panic!("not output")).unwrap();
        assert_eq!(entries.trouble(), Some(&b"disk on fire"[..]));
    }
}
