//! Files that go with a prompt.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// Largest file that goes with a prompt. It is sent as text, a third larger, stored by the server with the message
/// and read back with it: a few megabytes are an image, more is a file that belongs into the workspace.
pub const MAX_ATTACHMENT: usize = 8 << 20;

/// A file or an image that goes with a prompt: its bytes, which the model sees as it sees a file of that type. A file
/// that is in the workspace already is better named in the prompt, for the agent to read.
///
/// ```
/// use runner_core::attachment::Attachment;
/// let notes = Attachment::new("notes.txt", "text/plain", "remember the milk")?;
/// assert_eq!(notes.name(), "notes.txt");
/// assert!(Attachment::new("../notes.txt", "text/plain", "x").is_err());
/// # Ok::<(), runner_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    name: String,
    media_type: String,
    bytes: Arc<[u8]>,
}

impl Attachment {
    /// A file with its name, its media type (such as `image/png`) and its bytes; at most [`MAX_ATTACHMENT`] of them.
    pub fn new(
        name: impl Into<String>,
        media_type: impl Into<String>,
        bytes: impl AsRef<[u8]>,
    ) -> Result<Self> {
        let (name, media_type, bytes) = (name.into(), media_type.into(), bytes.as_ref());
        let refuse = |message: String, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "attach a file", message).with_hint(hint))
        };
        let plain = |c: char| !c.is_control() && c != '/' && c != '\\';
        if name.is_empty() || name.len() > 255 || name == "." || name == ".." || !name.chars().all(plain) {
            return refuse(format!("{name:?} is not a file's name"), "give a name without directories");
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b);
        let is_part = |part: &str| !part.is_empty() && part.len() <= 127 && part.bytes().all(legal);
        if !media_type.split_once('/').is_some_and(|(kind, of)| is_part(kind) && is_part(of)) {
            return refuse(
                format!("{media_type:?} is not a media type"),
                "write it as text/plain or image/png",
            );
        }
        if bytes.is_empty() || bytes.len() > MAX_ATTACHMENT {
            return refuse(
                format!("{name} has {} bytes", bytes.len()),
                "attach up to 8 MiB; put larger files into the workspace and name them in the prompt",
            );
        }
        Ok(Self { name, media_type, bytes: bytes.into() })
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Without the bytes.
impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attachment({}, {}, {} bytes)", self.name, self.media_type, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_with_a_way_out() {
        Attachment::new("a b é.txt", "application/vnd.api+json", [0_u8, 255]).unwrap();
        let large = vec![0_u8; MAX_ATTACHMENT + 1];
        for (name, media_type, bytes) in [
            ("", "text/plain", &b"x"[..]),
            ("..", "text/plain", b"x"),
            ("a/b", "text/plain", b"x"),
            ("a\nb", "text/plain", b"x"),
            ("a", "text", b"x"),
            ("a", "text/", b"x"),
            ("a", "text/plain;base64,x", b"x"),
            ("a", "text/plain", b""),
            ("a", "text/plain", &large),
        ] {
            let error = Attachment::new(name, media_type, bytes).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.hint().is_some());
        }
    }
}
