//! Files → the tar that an engine unpacks. No I/O but in memory, and of a bounded size.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use runner_core::container::UserSpec;
use runner_core::files::{ContainerFile, FileKind};
use runner_core::{Error, ErrorKind, Result};
use tar::{Builder, EntryType, Header};

/// Largest copy into a container. What is copied in is settings and secrets; a workspace is mounted.
pub(crate) const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What an entry takes beside its contents: its header, a long name's, and the filling of both.
const ENTRY_BYTES: u64 = 4 * 512;

/// Permissions of directories that are made because something is put into them.
const DIRECTORY_MODE: u32 = 0o755;

/// Files to copy, checked, by their paths: what is above comes before what is below it.
#[derive(Debug)]
pub(crate) struct Tarball<'a> {
    files: BTreeMap<&'a Path, &'a ContainerFile>,
    /// Directories that nobody listed, and the owner of what is first put into them.
    parents: BTreeMap<&'a Path, UserSpec>,
}

impl<'a> Tarball<'a> {
    pub(crate) fn of(operation: &'static str, files: &'a [ContainerFile]) -> Result<Self> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidInput, operation, message));
        let mut by_path = BTreeMap::new();
        let mut bytes = 0_u64;
        for file in files {
            file.validate()?;
            let path = file.path.as_path();
            // `a/` is `a`: paths are compared by their parts.
            if path.as_os_str().as_encoded_bytes().contains(&0) {
                return refuse(format!("{} has a NUL byte", path.display()));
            }
            if by_path.insert(path, file).is_some() {
                return refuse(format!("{} is listed twice", path.display()));
            }
            let contents = match &file.kind {
                FileKind::File(contents) => contents.len() as u64,
                _ => 0,
            };
            let name = path.as_os_str().len() as u64;
            bytes = bytes.saturating_add(contents).saturating_add(name).saturating_add(ENTRY_BYTES);
        }
        if bytes > MAX_BYTES {
            let message = format!("{bytes} bytes are more than the {MAX_BYTES} that can be copied at once");
            return Err(Error::new(ErrorKind::Capacity, operation, message)
                .with_hint("copy in parts, or mount a directory"));
        }
        let mut parents = BTreeMap::new();
        for (path, file) in &by_path {
            for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
                match by_path.get(parent).map(|listed| &listed.kind) {
                    Some(FileKind::Directory) => {}
                    Some(_) => return refuse(format!("{} is a file and a directory", parent.display())),
                    None => drop(parents.entry(parent).or_insert(file.owner)),
                }
            }
        }
        Ok(Self { files: by_path, parents })
    }

    /// Where something will be written.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'a Path> {
        self.files.keys().copied()
    }

    /// Directories that are written into and not listed, those above first.
    pub(crate) fn parents(&self) -> Vec<&'a Path> {
        self.parents.keys().copied().collect()
    }

    /// The archive, with those of the parents that have to be made.
    pub(crate) fn pack(&self, missing: &[&Path]) -> std::io::Result<Bytes> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut builder = Builder::new(Vec::new());
        let mut put = |path: &Path, mode: u32, owner: UserSpec, contents: Option<&[u8]>| {
            let mut header = Header::new_gnu();
            header.set_entry_type(if contents.is_some() { EntryType::Regular } else { EntryType::Directory });
            header.set_mode(mode);
            header.set_uid(owner.uid.into());
            header.set_gid(owner.gid.into());
            header.set_mtime(now);
            let contents = contents.unwrap_or_default();
            header.set_size(contents.len() as u64);
            // A plain path: one with a trailing slash would be another.
            builder.append_data(&mut header, path.components().collect::<PathBuf>(), contents)
        };
        let made = self.parents.iter().filter(|(path, _)| missing.contains(path));
        let mut entries: Vec<_> = made.map(|(path, owner)| (*path, DIRECTORY_MODE, *owner, None)).collect();
        entries.extend(self.files.iter().map(|(path, file)| match &file.kind {
            FileKind::File(contents) => (*path, file.mode, file.owner, Some(contents.as_slice())),
            _ => (*path, file.mode, file.owner, None),
        }));
        // What is above comes first, or the engine would make it in its own way.
        entries.sort_by_key(|(path, ..)| *path);
        for (path, mode, owner, contents) in entries {
            put(path, mode, owner, contents)?;
        }
        builder.into_inner().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::untar::Untar;

    fn file(path: &str, kind: FileKind) -> ContainerFile {
        ContainerFile { path: path.into(), mode: 0o640, owner: UserSpec { uid: 12_345, gid: 6 }, kind }
    }

    fn text(path: &str) -> ContainerFile {
        file(path, FileKind::File(path.as_bytes().to_vec()))
    }

    #[test]
    fn what_is_packed_is_what_was_given() {
        let long = format!("{}/é{}", "d".repeat(150), "f".repeat(200));
        let files = [text("b/c/d"), file("b", FileKind::Directory), text("a"), text(&long), text("e/f")];
        let tarball = Tarball::of("x", &files).unwrap();
        let parent = "d".repeat(150);
        assert_eq!(tarball.parents(), [Path::new("b/c"), Path::new(&parent), Path::new("e")]);
        let packed = tarball.pack(&[Path::new("e"), Path::new("no parent")]).unwrap();
        let mut untar = Untar::new(10_000);
        untar.feed(&packed).unwrap();
        let found = untar.finish().unwrap();
        let made = ContainerFile { mode: 0o755, ..file("e", FileKind::Directory) };
        let want = [&files[2], &files[1], &files[0], &files[3], &made, &files[4]].map(Clone::clone);
        assert_eq!(found, want);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for files in [
            vec![text("a"), text("a")],
            vec![text("a"), text("a/b")],
            vec![text("a/b"), text("a")],
            vec![text("a\0b")],
            vec![text("../a")],
            vec![file("a", FileKind::Other)],
        ] {
            let error = Tarball::of("x", &files).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{files:?}");
        }
        let big = file("a", FileKind::File(vec![0; usize::try_from(MAX_BYTES).unwrap()]));
        assert_eq!(Tarball::of("x", &[big]).unwrap_err().kind(), ErrorKind::Capacity);
        Tarball::of("x", &[]).unwrap().pack(&[]).unwrap();
    }
}
