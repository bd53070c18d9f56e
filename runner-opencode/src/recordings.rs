//! What the tests of this crate's inner parts share: the recorded event streams, and input in pieces.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use futures::stream;
use proptest::sample::Index;
use tokio_util::io::StreamReader;

use crate::frames::Input;

/// All of them, by name.
pub(crate) fn streams() -> &'static [(String, String)] {
    static STREAMS: OnceLock<Vec<(String, String)>> = OnceLock::new();
    STREAMS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded");
        let mut streams: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "sse"))
            .map(|path| {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        streams.sort();
        assert!(streams.len() >= 20, "where are the recordings?");
        streams
    })
}

/// The data of all their whole frames.
pub(crate) fn frames() -> &'static [&'static str] {
    static FRAMES: OnceLock<Vec<&str>> = OnceLock::new();
    FRAMES.get_or_init(|| {
        let whole = streams().iter().filter_map(|(_, text)| text.rsplit_once("\n\n")).map(|(whole, _)| whole);
        whole.flat_map(|text| text.split("\n\n")).map(|frame| frame.strip_prefix("data: ").unwrap()).collect()
    })
}

/// The bytes, cut at these places.
pub(crate) fn split<'a>(bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = at.iter().map(|at| at.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    ends.sort_unstable();
    ends.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

/// Changes a byte, puts one in or takes one out.
pub(crate) fn change(bytes: &mut Vec<u8>, at: Index, how: usize, byte: u8) {
    let at = at.index(bytes.len());
    match how % 3 {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        _ => drop(bytes.remove(at)),
    }
}

/// Input that comes in these pieces and then ends, in this error if there is one.
pub(crate) fn input(pieces: &[&[u8]], error: Option<std::io::ErrorKind>) -> impl Input + use<> {
    let pieces = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let pieces: Vec<std::io::Result<Bytes>> = pieces.chain(error.map(|kind| Err(kind.into()))).collect();
    StreamReader::new(stream::iter(pieces))
}
