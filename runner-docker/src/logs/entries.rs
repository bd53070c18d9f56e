//! Framed bytes of a log → the text of its two streams, each byte once, whatever happens to the connection. No I/O.
//!
//! Every frame is one entry of the log and begins with its moment (the engine is asked for it). The moment is taken
//! off and remembered, so that reading can be resumed. Where an engine writes none, everything is text and nothing
//! can be resumed.

use runner_core::logs::LogSource;

use crate::logs::frames::{FrameReader, NotFrames, Piece};
use crate::logs::position::{Arrival, Position};
use crate::logs::repeat::{LastEntry, Verdict};
use crate::stamp::{MAX_STAMP, Stamp};

/// Bytes kept of an engine's words about a failure of its own.
const MAX_TROUBLE: usize = 4096;

/// What comes out of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<'a> {
    /// Text, and the moment of its entry.
    Text { source: LogSource, at: Option<Stamp>, bytes: &'a [u8] },
    /// What stood here is lost.
    Lost,
}

/// Reads one log.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    frames: FrameReader,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// New entries so far.
    count: usize,
    position: Position,
    last: LastEntry,
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
    /// Its text, as long as it is that of the entry before.
    Same { stamp: Stamp },
}

impl Entries {
    /// A log of which nothing before a moment is wanted.
    pub(crate) fn since(floor: Option<Stamp>) -> Self {
        let state = State { position: Position::since(floor), ..State::default() };
        Self { state, ..Self::default() }
    }

    /// Takes the next bytes; what is new goes to `out`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut out: impl FnMut(Output<'_>)) -> Result<(), NotFrames> {
        let state = &mut self.state;
        self.frames.feed(bytes, |piece| match piece {
            Piece::Begin(source) => {
                state.entry = Some(Entry { source, stage: Stage::Head(Vec::new()) });
            }
            Piece::Bytes(bytes) => state.bytes(bytes, &mut out),
            Piece::End => state.end(&mut out),
            Piece::Trouble(bytes) => {
                let room = MAX_TROUBLE.saturating_sub(state.trouble.len()).min(bytes.len());
                state.trouble.extend_from_slice(bytes.get(..room).unwrap_or_default());
            }
        })
    }

    /// How many entries have been read, each once.
    pub(crate) fn count(&self) -> usize {
        self.state.count
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
        self.state.trouble.clear();
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
    fn bytes(&mut self, bytes: &[u8], out: &mut impl FnMut(Output<'_>)) {
        let Some(entry) = &mut self.entry else { return };
        match &mut entry.stage {
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                let space = head.iter().position(|b| *b == b' ');
                if space.is_none() && head.len() < MAX_STAMP {
                    return;
                }
                let head = std::mem::take(head);
                self.headed(&head, space, out);
            }
            Stage::Known => {}
            Stage::Text { stamp, skip, come } => {
                *come += bytes.len();
                let skipped = (*skip).min(bytes.len());
                *skip -= skipped;
                if stamp.is_some() {
                    self.last.text(entry.source, bytes);
                }
                let bytes = bytes.get(skipped..).unwrap_or_default();
                out(Output::Text { source: entry.source, at: *stamp, bytes });
            }
            Stage::Same { stamp } => {
                let (source, stamp) = (entry.source, *stamp);
                if let Verdict::Other { held } = self.last.compare(source, bytes) {
                    self.other(source, stamp, &held, out);
                    self.bytes(bytes, out);
                }
            }
        }
    }

    /// The head of an entry is complete: a moment up to a space, then text; or text from the start.
    fn headed(&mut self, head: &[u8], space: Option<usize>, out: &mut impl FnMut(Output<'_>)) {
        let Some(entry) = &mut self.entry else { return };
        let parsed = space.and_then(|at| {
            let (stamp, rest) = head.split_at_checked(at)?;
            Some((Stamp::parse(stamp)?, rest.get(1..)?))
        });
        let (stamp, rest, arrival) = match parsed {
            Some((stamp, rest)) => (Some(stamp), rest, self.position.arrival(entry.source, stamp)),
            None => (None, head, Arrival::New { skip: 0 }),
        };
        self.unstamped |= stamp.is_none();
        if self.position.take_lost() {
            out(Output::Lost);
        }
        entry.stage = match (arrival, stamp) {
            (Arrival::Known, _) => Stage::Known,
            (Arrival::New { skip: 0 }, Some(stamp)) if self.last.may_be(entry.source, stamp) => {
                Stage::Same { stamp }
            }
            (Arrival::New { skip }, stamp) => {
                if let Some(stamp) = stamp {
                    self.last.begin(entry.source, stamp);
                }
                Stage::Text { stamp, skip, come: 0 }
            }
        };
        self.bytes(rest, out);
    }

    /// The entry is not that before it, but was up to here.
    fn other(&mut self, source: LogSource, stamp: Stamp, held: &[u8], out: &mut impl FnMut(Output<'_>)) {
        self.last.begin(source, stamp);
        self.entry = Some(Entry { source, stage: Stage::Text { stamp: Some(stamp), skip: 0, come: 0 } });
        self.bytes(held, out);
    }

    fn end(&mut self, out: &mut impl FnMut(Output<'_>)) {
        if let Some(Entry { stage: Stage::Head(head), .. }) = &mut self.entry {
            // Shorter than a moment.
            let head = std::mem::take(head);
            if !head.is_empty() {
                let space = head.iter().position(|b| *b == b' ');
                self.headed(&head, space, out);
            }
        }
        if let Some(Entry { source, stage: Stage::Same { stamp } }) = self.entry
            && let Verdict::Other { held } = self.last.end_of_comparison(source)
        {
            self.other(source, stamp, &held, out);
        }
        if let Some(Entry { source, stage: Stage::Text { stamp: Some(stamp), .. } }) = self.entry.take() {
            self.position.read(source, stamp);
            self.count += 1;
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
                let text = |output: Output<'_>| match output {
                    Output::Text { source: LogSource::Stdout, bytes, .. } => out.extend_from_slice(bytes),
                    Output::Text { bytes, .. } => err.extend_from_slice(bytes),
                    Output::Lost => panic!("nothing is lost"),
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
            let mut text = |output: Output<'_>| match output {
                Output::Text { source: LogSource::Stdout, bytes, .. } => out.extend_from_slice(bytes),
                Output::Text { .. } => {}
                Output::Lost => panic!("nothing is lost"),
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

    fn read(entries: &mut Entries, bytes: &[u8], size: usize) -> String {
        let mut out = Vec::new();
        for part in bytes.chunks(size) {
            let take = |output: Output<'_>| match output {
                Output::Text { bytes, .. } => out.extend_from_slice(bytes),
                Output::Lost => out.extend_from_slice(b"<lost>"),
            };
            entries.feed(part, take).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_entry_that_comes_twice_is_read_once() {
        let twice = [
            entry(1, 1, "one\n"),
            entry(1, 2, "two\n"),
            entry(1, 2, "two\n"),
            entry(1, 2, "two\n"),
            // The other stream, and a line of which the rest comes.
            entry(2, 2, "two\n"),
            entry(1, 3, "three"),
            entry(1, 3, "three"),
            entry(1, 3, "\n"),
            entry(1, 3, "\n"),
            entry(1, 4, "\n"),
            // Back to the start of a file.
            entry(1, 2, "two\n"),
            entry(2, 2, "two\n"),
            entry(1, 3, "three"),
            entry(1, 3, "three"),
            entry(1, 3, "\n"),
            entry(1, 4, "\n"),
            entry(1, 5, "five\n"),
        ]
        .concat();
        // Engines that give lines one moment: the first shows it.
        let shared = [
            entry(1, 1, "a\n"),
            entry(1, 1, "ab\n"),
            entry(1, 1, "ab\n"),
            entry(1, 1, "\n"),
            entry(1, 1, "\n"),
            entry(1, 2, "abc\n"),
            entry(1, 2, "ab"),
        ]
        .concat();
        for size in [1, 5, 40, 10_000] {
            let mut entries = Entries::default();
            let text = read(&mut entries, &twice, size);
            assert_eq!(text, "one\ntwo\ntwo\nthreethree\n\nfive\n", "pieces of {size}");
            let mut entries = Entries::default();
            assert_eq!(read(&mut entries, &shared, size), "a\nab\nab\n\n\nabc\nab", "pieces of {size}");
        }
    }

    #[test]
    fn what_was_rotated_away_is_said_where_it_stood() {
        let mut entries = Entries::default();
        let whole = [entry(1, 1, "one\n"), entry(1, 2, "two\n")].concat();
        assert_eq!(read(&mut entries, &whole[..whole.len() - 2], 9), "one\ntw");
        assert!(entries.resume().is_some());
        let rest = [entry(2, 7, "seven\n"), entry(1, 8, "eight\n")].concat();
        assert_eq!(read(&mut entries, &rest, 9), "<lost>seven\neight\n");
    }

    #[test]
    fn what_is_too_old_is_left_out() {
        let mut entries = Entries::since(Stamp::parse(b"2026-01-01T00:00:02Z"));
        let all: Vec<u8> = log().into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(read(&mut entries, &all, 9), "fragment\nlast é");
    }

    #[test]
    fn every_text_has_its_moment() {
        let mut stamps = Vec::new();
        let all: Vec<u8> = log().into_iter().flat_map(|(_, bytes)| bytes).collect();
        let take = |output: Output<'_>| {
            if let Output::Text { at, bytes, .. } = output
                && !bytes.is_empty()
            {
                stamps.push(at.map(|at| at.to_string()).unwrap_or_default());
            }
        };
        Entries::default().feed(&all, take).unwrap();
        let seconds: Vec<_> = stamps.iter().map(|stamp| &stamp[9..10]).collect();
        assert_eq!(seconds, ["1", "1", "2", "2", "4"], "{stamps:?}");
    }

    #[test]
    fn without_moments_everything_is_text_and_nothing_is_resumed() {
        let mut entries = Entries::default();
        assert!(entries.is_start() && entries.can_resume());
        let mut out = String::new();
        let long = "x".repeat(100);
        for text in ["a b\n", "c", "\n", "2026-01-01 not a moment\n", &long] {
            out.push_str(&read(&mut entries, &frame(1, text.as_bytes()), 1000));
        }
        assert_eq!(out, format!("a b\nc\n2026-01-01 not a moment\n{long}"));
        assert!(!entries.is_start() && !entries.can_resume());
    }

    #[test]
    fn the_engines_own_words_are_kept_apart() {
        let mut entries = Entries::default();
        let bytes = frame(3, b"disk on fire");
        entries.feed(&bytes[..10], |_| panic!("not output")).unwrap();
        assert_eq!(entries.trouble(), None);
        entries.feed(&bytes[10..], |_| panic!("not output")).unwrap();
        assert_eq!(entries.trouble(), Some(&b"disk on fire"[..]));
        entries.resume();
        assert_eq!(entries.trouble(), None);
    }
}
