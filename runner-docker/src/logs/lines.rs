//! Pieces of output → lines. No I/O.

use std::collections::VecDeque;

use runner_core::Result;
use runner_core::logs::{LogLine, LogSource};

use crate::stamp::Stamp;

/// What is ready to be read: lines, and what is to be said between them.
pub(crate) type Ready = VecDeque<Result<LogLine>>;

/// Joins the pieces of one output stream into lines. Engines cut long lines into fragments, and a fragment may end
/// within a character, so text is made of whole lines only. Keeps at most one line of the limit's length.
#[derive(Debug)]
pub(crate) struct LineJoiner {
    source: LogSource,
    limit: usize,
    line: Vec<u8>,
    /// Whether a line has begun, and when.
    begun: bool,
    began: Option<Stamp>,
    /// The line was too long and has been delivered; its rest is dropped up to the next line break.
    dropping: bool,
}

impl LineJoiner {
    pub(crate) fn new(source: LogSource, limit: usize) -> Self {
        Self { source, limit: limit.max(1), line: Vec::new(), begun: false, began: None, dropping: false }
    }

    /// Takes the next bytes, which were written at a moment; finished lines go to `lines`.
    pub(crate) fn push(&mut self, at: Option<Stamp>, mut bytes: &[u8], lines: &mut Ready) {
        while !bytes.is_empty() {
            if !self.dropping && !self.begun {
                (self.begun, self.began) = (true, at);
            }
            let found = bytes.iter().position(|b| *b == b'\n');
            let (part, rest) = match found {
                Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()),
                None => (bytes, &[][..]),
            };
            bytes = rest;
            self.extend(part, lines);
            if found.is_some() {
                if self.dropping {
                    self.dropping = false;
                } else {
                    lines.push_back(Ok(self.take(false)));
                }
            }
        }
    }

    /// The stream has ended: what is left is a line without a break.
    pub(crate) fn finish(&mut self, lines: &mut Ready) {
        self.dropping = false;
        if !self.line.is_empty() {
            lines.push_back(Ok(self.take(false)));
        }
    }

    fn extend(&mut self, part: &[u8], lines: &mut Ready) {
        if self.dropping {
            return;
        }
        // One byte more than the limit may be the '\r' of a line break.
        let room = self.limit + 1 - self.line.len();
        self.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
        let full = self.line.len() > self.limit;
        let only_break = part.len() <= room && self.line.last() == Some(&b'\r');
        if full && !only_break {
            self.line.truncate(self.limit);
            self.dropping = true;
            let line = self.take(true);
            lines.push_back(Ok(line));
        }
    }

    fn take(&mut self, truncated: bool) -> LogLine {
        let mut bytes = std::mem::take(&mut self.line);
        self.begun = false;
        let at = self.began.and_then(Stamp::time);
        if truncated {
            // Cut where a character begins: the half of one is not part of the text.
            if let Err(e) = std::str::from_utf8(&bytes)
                && e.error_len().is_none()
            {
                bytes.truncate(e.valid_up_to());
            }
        } else if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let text =
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        LogLine { source: self.source, text, truncated, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(limit: usize, pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let mut joiner = LineJoiner::new(LogSource::Stdout, limit);
        let mut lines = VecDeque::new();
        for piece in pieces {
            joiner.push(None, piece, &mut lines);
            assert!(joiner.line.len() <= limit + 1, "memory is bounded");
        }
        joiner.finish(&mut lines);
        lines.into_iter().map(Result::unwrap).map(|l| (l.text, l.truncated)).collect()
    }

    #[test]
    fn pieces_become_lines() {
        type Case = (&'static [&'static [u8]], &'static [(&'static str, bool)]);
        let cases: &[Case] = &[
            (&[], &[]),
            (&[b"a\n"], &[("a", false)]),
            (&[b"\n\n"], &[("", false), ("", false)]),
            (&[b"a", b"b\nc", b"d\n"], &[("ab", false), ("cd", false)]),
            (&[b"last"], &[("last", false)]),
            (&[b"a\r\nb\r", b"\n"], &[("a", false), ("b", false)]),
            (&[b"done 1\rdone 2\n"], &[("done 1\rdone 2", false)]),
            // A character cut by a fragment.
            (&[b"\xc3", b"\xa9\n"], &[("é", false)]),
            (&[b"a\xffb\n"], &[("a\u{fffd}b", false)]),
            // Exactly the limit, with either line break.
            (&[b"0123456789abcdef\n"], &[("0123456789abcdef", false)]),
            (&[b"0123456789abcdef\r\n"], &[("0123456789abcdef", false)]),
            (&[b"0123456789abcdef", b"\r", b"\n"], &[("0123456789abcdef", false)]),
            (&[b"0123456789abcdef"], &[("0123456789abcdef", false)]),
            // Beyond it: delivered at once, the rest dropped, the next line whole.
            (
                &[b"0123456789abcdefX", b"more", b"more\nnext\n"],
                &[("0123456789abcdef", true), ("next", false)],
            ),
            (&[b"0123456789abcdef\rX\nnext"], &[("0123456789abcdef", true), ("next", false)]),
            (&[b"0123456789abcdefX"], &[("0123456789abcdef", true)]),
            // The limit falls into a character.
            (&[b"0123456789abcde\xc3\xa9X\n"], &[("0123456789abcde", true)]),
        ];
        for (pieces, want) in cases {
            let got = join(16, pieces);
            let want: Vec<_> = want.iter().map(|(text, cut)| ((*text).to_owned(), *cut)).collect();
            assert_eq!(got, want, "{pieces:?}");
        }
    }

    #[test]
    fn a_line_is_of_the_moment_at_which_it_began() {
        let mut joiner = LineJoiner::new(LogSource::Stdout, 8);
        let mut lines = VecDeque::new();
        for (second, piece) in [
            (1, "one"),
            (2, "\n"),
            (3, "\n"),
            (4, "too long, its re"),
            (5, "st dropped\nfive"),
            (6, "\n"),
            (7, "a\nb\nc"),
            (8, ""),
            (9, "c"),
        ] {
            joiner.push(Some(Stamp::from_nanos(second * 1_000_000_000)), piece.as_bytes(), &mut lines);
        }
        joiner.finish(&mut lines);
        let seconds = |line: Result<LogLine>| {
            let at = line.unwrap().at.unwrap();
            at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs()
        };
        assert_eq!(lines.into_iter().map(seconds).collect::<Vec<_>>(), [1, 3, 4, 5, 7, 7, 7]);
    }

    #[test]
    fn the_size_of_the_pieces_does_not_matter() {
        let text = "erste Zeile äöü\nzweite €€€€€€€€€€€€€€€€€€€€€ lang\r\n\nletzte".as_bytes();
        let whole = join(32, &[text]);
        for size in 1..text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(join(32, &pieces), whole, "pieces of {size}");
        }
    }

    #[test]
    fn fragments_of_a_long_line_are_one_line() {
        let long = "x".repeat(16 * 1024);
        let got = join(64 * 1024, &[long.as_bytes(), long.as_bytes(), b"end\n"]);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].0.len(), 2 * 16 * 1024 + 3);
    }
}
