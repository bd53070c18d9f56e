//! Bytes that arrive in any pieces → bounded lines. No I/O.

/// A line is longer than the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Keeps at most one line of the limit's length.
#[derive(Debug)]
pub(crate) struct Splitter {
    limit: usize,
    begun: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, begun: Vec::new() }
    }

    /// Takes the next bytes and hands out the lines that they complete, without their breaks.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) -> Result<(), TooLong> {
        loop {
            let end = bytes.iter().position(|b| *b == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.begun.len() + part.len() > self.limit {
                return Err(TooLong);
            }
            if end.is_none() {
                self.begun.extend_from_slice(part);
                return Ok(());
            }
            if self.begun.is_empty() {
                line(part);
            } else {
                self.begun.extend_from_slice(part);
                line(&self.begun);
                self.begun.clear();
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_pieces_they_arrive_in() {
        let text = "one\n\ntwo é\r\nbegun".as_bytes();
        for size in 1..=text.len() {
            let (mut splitter, mut lines) = (Splitter::new(100), Vec::new());
            for part in text.chunks(size) {
                splitter.feed(part, |line| lines.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
            }
            assert_eq!(lines, ["one", "", "two é\r"], "pieces of {size}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_after_those_before_it() {
        for size in [1, 3, 100] {
            let (mut splitter, mut lines) = (Splitter::new(4), 0);
            let mut fed = Ok(());
            for part in b"1234\n12345\n1\n".chunks(size) {
                fed = fed.and_then(|()| splitter.feed(part, |_| lines += 1));
            }
            assert_eq!((fed, lines), (Err(TooLong), 1), "pieces of {size}");
            assert!(splitter.begun.capacity() < 100);
        }
    }
}
