//! The events that are sent: whole frames of the recordings, one recording after the other, again and again.

use std::path::Path;

use crate::Failure;

pub(crate) struct Recorded {
    /// Whole frames, each with its empty line.
    pub(crate) text: String,
    /// Frames in it.
    pub(crate) count: u32,
    /// Those of them that our client delivers: it leaves out what repeats another one.
    pub(crate) delivered: u32,
}

impl Recorded {
    pub(crate) fn events(count: u32) -> Result<Self, Failure> {
        let frames = frames()?;
        let mut recorded = Self { text: String::new(), count, delivered: 0 };
        for ((frame, repeats), at) in frames.iter().cycle().zip(0..count) {
            recorded.text.push_str(frame);
            // The first one says that the stream is open, and is delivered as such.
            recorded.delivered += u32::from(at == 0 || !repeats);
        }
        Ok(recorded)
    }

    pub(crate) fn description(&self) -> String {
        let bytes = self.text.len() / usize::try_from(self.count).unwrap_or(1);
        format!("{} events of {bytes} bytes, {} of them for the reader", self.count, self.delivered)
    }
}

/// All frames of all recordings in order, and whether each repeats another one. What stands behind the last empty line
/// of a recording was cut off, and is left out.
fn frames() -> Result<Vec<(String, bool)>, Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded");
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sse") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut frames = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(path)?;
        for frame in text.split_inclusive("\n\n").filter(|frame| frame.ends_with("\n\n")) {
            let json = frame.strip_prefix("data:").ok_or("a recorded frame does not begin with data")?;
            let value: serde_json::Value = serde_json::from_str(json)?;
            let repeats = value.pointer("/payload/type").is_some_and(|kind| kind == "sync");
            frames.push((frame.to_owned(), repeats));
        }
    }
    if frames.is_empty() {
        return Err("there are no recordings".into());
    }
    Ok(frames)
}
