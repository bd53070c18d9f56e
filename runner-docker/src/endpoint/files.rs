//! Docker's own files, read with bounds and with errors that name them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use runner_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

use super::FIND;

/// Largest file that is read; Docker's are a thousandth of it.
const MAX_FILE: u64 = 4 << 20;

/// A JSON file; `None` where there is none.
///
/// The parser's own words are not passed on, since they quote what they stumble over, and `config.json` holds
/// registries' passwords.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text)) {
        Ok(_) if u64::try_from(text.len()).is_ok_and(|length| length <= MAX_FILE) => {}
        Ok(_) => return Err(bad(path, "is far too large")),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(unreadable(path, e)),
    }
    // A list would be taken for an object's fields in their order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad(path, "is not what Docker writes (no JSON object)"));
    }
    serde_json::from_slice(&text).map(Some).map_err(|e| {
        bad(path, &format!("is not what Docker writes (line {}, column {})", e.line(), e.column()))
    })
}

/// Whether there is a file. What cannot be looked at is an error: it might be there.
pub(super) fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let message = format!("{} may not be read by this user", path.display());
        return Error::new(ErrorKind::PermissionDenied, FIND, message)
            .with_hint("let this user read it, or name the engine by DOCKER_HOST")
            .with_source(error);
    }
    bad(path, "cannot be read").with_source(error)
}

/// A file that cannot be used.
pub(super) fn bad(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, FIND, format!("{} {why}", path.display()))
        .with_hint("correct it, or name the engine by DOCKER_HOST")
}
