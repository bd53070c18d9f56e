//! Whether an entry of a log is the one before it once more. No I/O.
//!
//! When an engine begins a new log file twice and has written one entry to it so far, that entry comes twice in
//! succession, and its moment does not go back. Its text must be the same as well: engines that stamp what they read
//! at once, as Podman does, give several lines one moment. Once that has been seen, nothing is taken for a repetition.

use runner_core::logs::LogSource;

use crate::stamp::Stamp;

/// Longest entry that is compared: Docker's own fragments of a line. Longer ones are never taken for repetitions.
const MAX_TEXT: usize = 16 * 1024;

/// The last entry of each stream.
#[derive(Debug, Default)]
pub(crate) struct LastEntry {
    out: Last,
    err: Last,
    /// Lines share moments here.
    shared: bool,
}

#[derive(Debug, Default)]
struct Last {
    stamp: Option<Stamp>,
    text: Vec<u8>,
    too_long: bool,
    matched: usize,
}

/// The result of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same so far, or to the end.
    Same,
    /// Another entry, whose text began with this.
    Other { held: Vec<u8> },
}

impl LastEntry {
    /// An entry begins that is not a repetition.
    pub(crate) fn begin(&mut self, source: LogSource, stamp: Stamp) {
        let last = self.last(source);
        last.stamp = Some(stamp);
        last.text.clear();
        last.too_long = false;
    }

    /// Text of the entry that began.
    pub(crate) fn text(&mut self, source: LogSource, bytes: &[u8]) {
        let last = self.last(source);
        last.too_long |= last.text.len() + bytes.len() > MAX_TEXT;
        if !last.too_long {
            last.text.extend_from_slice(bytes);
        }
    }

    /// Whether an entry of this moment may be the last one once more: that one was the end of a line. If so, its
    /// text is to be compared.
    pub(crate) fn may_be(&mut self, source: LogSource, stamp: Stamp) -> bool {
        let shared = self.shared;
        let last = self.last(source);
        last.matched = 0;
        !shared && last.stamp == Some(stamp) && !last.too_long && last.text.ends_with(b"\n")
    }

    /// The next bytes of the entry's text.
    pub(crate) fn compare(&mut self, source: LogSource, bytes: &[u8]) -> Verdict {
        let last = self.last(source);
        if last.text.get(last.matched..).is_some_and(|rest| rest.starts_with(bytes)) {
            last.matched += bytes.len();
            return Verdict::Same;
        }
        self.other(source)
    }

    /// The entry is complete.
    pub(crate) fn end_of_comparison(&mut self, source: LogSource) -> Verdict {
        let last = self.last(source);
        if last.matched == last.text.len() { Verdict::Same } else { self.other(source) }
    }

    fn other(&mut self, source: LogSource) -> Verdict {
        self.shared = true;
        let last = self.last(source);
        Verdict::Other { held: last.text.get(..last.matched).unwrap_or_default().to_vec() }
    }

    fn last(&mut self, source: LogSource) -> &mut Last {
        match source {
            LogSource::Stdout => &mut self.out,
            LogSource::Stderr => &mut self.err,
        }
    }
}
