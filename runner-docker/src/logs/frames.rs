//! The engine's framing of container output: a header of eight bytes (stream, three zeros, length), then as many
//! bytes. No I/O, and nothing is kept but a broken header: what a frame claims as its length costs no memory.

use runner_core::logs::LogSource;

/// What a frame holds, in the order it was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// An entry of the container's output begins.
    Begin(LogSource),
    /// Bytes of the entry that began last.
    Bytes(&'a [u8]),
    /// The entry is complete.
    End,
    /// The engine's own words about a failure to read the log.
    Trouble(&'a [u8]),
}

/// What arrives is not framed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotFrames;

/// Reads frames from bytes that arrive in any pieces.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    header: Vec<u8>,
    trouble: bool,
    left: usize,
}

const HEADER: usize = 8;

impl FrameReader {
    /// Takes the next bytes and hands out what they hold.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Piece<'_>),
    ) -> Result<(), NotFrames> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let wanted = HEADER - self.header.len();
                let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.header.extend_from_slice(part);
                bytes = rest;
                if self.header.len() == HEADER {
                    self.begin(&mut take)?;
                }
                continue;
            }
            let (part, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= part.len();
            bytes = rest;
            if self.trouble {
                take(Piece::Trouble(part));
                continue;
            }
            take(Piece::Bytes(part));
            if self.left == 0 {
                take(Piece::End);
            }
        }
        Ok(())
    }

    /// Whether the bytes so far end with a whole frame.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0 && self.header.is_empty()
    }

    fn begin(&mut self, take: &mut impl FnMut(Piece<'_>)) -> Result<(), NotFrames> {
        let [kind, 0, 0, 0, a, b, c, d] = *self.header.as_slice() else { return Err(NotFrames) };
        let source = match kind {
            // 0 is what was typed in, which the engine copies to the output.
            0 | 1 => Some(LogSource::Stdout),
            2 => Some(LogSource::Stderr),
            3 => None,
            _ => return Err(NotFrames),
        };
        self.header.clear();
        self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| NotFrames)?;
        self.trouble = source.is_none();
        if let Some(source) = source {
            take(Piece::Begin(source));
            if self.left == 0 {
                take(Piece::End);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], length.as_slice(), payload].concat()
    }

    /// Joined output per kind, fed in pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> Result<(String, String, String, bool), NotFrames> {
        let mut reader = FrameReader::default();
        let (mut out, mut err, mut trouble) = (Vec::new(), Vec::new(), Vec::new());
        let mut current = None;
        for part in bytes.chunks(size) {
            reader.feed(part, |piece| match (piece, current) {
                (Piece::Begin(source), None) => current = Some(source),
                (Piece::Bytes(bytes), Some(LogSource::Stdout)) => out.extend_from_slice(bytes),
                (Piece::Bytes(bytes), Some(LogSource::Stderr)) => err.extend_from_slice(bytes),
                (Piece::End, Some(_)) => current = None,
                (Piece::Trouble(bytes), None) => trouble.extend_from_slice(bytes),
                (piece, current) => panic!("{piece:?} after {current:?}"),
            })?;
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(out), text(err), text(trouble), reader.is_whole()))
    }

    #[test]
    fn frames_are_read_whatever_pieces_they_arrive_in() {
        let bytes = [
            frame(1, "aé".as_bytes()),
            frame(2, b"x\n"),
            frame(1, b""),
            frame(0, b"typed"),
            frame(3, b"trouble"),
            frame(1, b"b\n"),
        ]
        .concat();
        for size in 1..=bytes.len() {
            let got = read(&bytes, size).unwrap();
            assert_eq!(got, ("aétypedb\n".into(), "x\n".into(), "trouble".into(), true), "pieces of {size}");
        }
    }

    #[test]
    fn a_cut_frame_is_noticed_and_its_bytes_are_kept() {
        let bytes = frame(1, b"whole");
        for cut in 1..bytes.len() {
            let (out, _, _, whole) = read(&bytes[..cut], 3).unwrap();
            assert!(!whole, "cut at {cut}");
            assert_eq!(out, "whole"[..cut.saturating_sub(8)]);
        }
    }

    #[test]
    fn a_claimed_length_costs_nothing() {
        let mut reader = FrameReader::default();
        reader.feed(&[1, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, b'a'], |_| {}).unwrap();
        assert!(reader.header.capacity() <= 64 && !reader.is_whole());
    }

    #[test]
    fn terminal_output_is_not_mistaken_for_frames() {
        for bytes in [&b"plain text\n"[..], &[4, 0, 0, 0, 0, 0, 0, 1, b'a'], &[1, 1, 0, 0, 0, 0, 0, 1, b'a']]
        {
            assert_eq!(read(bytes, 100), Err(NotFrames), "{bytes:?}");
        }
    }
}
