//! What an image is made of, as one short text: an image that carries it needs no second build.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::failure::{During, Failure, Outcome};

/// A file of the build context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) executable: bool,
    pub(super) content: Vec<u8>,
}

/// The files of the build context, by name.
pub(super) fn sources(directory: &Path) -> Outcome<Vec<Source>> {
    let doing = |path: &Path| format!("read {}", path.display());
    let mut sources = Vec::new();
    for entry in fs::read_dir(directory).during(|| doing(directory))? {
        let path = entry.during(|| doing(directory))?.path();
        let metadata = fs::metadata(&path).during(|| doing(&path))?;
        if !metadata.is_file() {
            return Err(Failure::new(format!(
                "{} is not a file; the image is built from files only",
                path.display()
            )));
        }
        sources.push(Source {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            executable: metadata.permissions().mode() & 0o100 != 0,
            content: fs::read(&path).during(|| doing(&path))?,
        });
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(sources)
}

/// Changes with every name, mode bit and byte of the sources.
pub(super) fn digest(sources: &[Source]) -> String {
    let mut hash = Sha256::new();
    for source in sources {
        // Lengths first, so that no two lists of files give the same bytes.
        hash.update(source.name.len().to_le_bytes());
        hash.update(&source.name);
        hash.update([u8::from(source.executable)]);
        hash.update(source.content.len().to_le_bytes());
        hash.update(&source.content);
    }
    hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, content: &str) -> Source {
        Source { name: name.to_owned(), executable: false, content: content.as_bytes().to_vec() }
    }

    #[test]
    fn every_part_counts() {
        let all = [
            digest(&[source("a", "b")]),
            digest(&[source("a", "c")]),
            digest(&[source("ab", "")]),
            digest(&[source("a", "b"), source("c", "")]),
            digest(&[Source { executable: true, ..source("a", "b") }]),
            digest(&[]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert_eq!(one.len(), 32);
            assert!(!all[at + 1..].contains(one), "{all:?}");
        }
        assert_eq!(digest(&[source("a", "b")]), all[0]);
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names() {
        let directory = tempfile::tempdir().expect("directory");
        for name in ["z", "a", "m"] {
            fs::write(directory.path().join(name), name).expect("write");
        }
        let names: Vec<_> =
            sources(directory.path()).expect("read").into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["a", "m", "z"]);
        fs::create_dir(directory.path().join("sub")).expect("create");
        assert!(sources(directory.path()).expect_err("a directory").to_string().contains("sub"));
    }
}
