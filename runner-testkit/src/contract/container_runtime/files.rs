//! Files into and out of a container.

use std::path::{Path, PathBuf};

use runner_core::container_runtime::Feature;
use runner_core::files::{ContainerFile, FileKind};
use runner_core::{ContainerId, ErrorKind, Result};

use super::Lab;
use crate::contract::support::{fails, ok};

/// More than any file here has.
const PLENTY: u64 = 1 << 20;

fn contents(file: &ContainerFile) -> Option<&[u8]> {
    match &file.kind {
        FileKind::File(bytes) => Some(bytes),
        _ => None,
    }
}

impl Lab {
    fn file(&self, path: impl Into<PathBuf>, mode: u32, kind: FileKind) -> ContainerFile {
        let owner = self.spec(&self.fixture.stays, "unused").user;
        ContainerFile { path: path.into(), mode, owner, kind }
    }

    async fn copy_out(&self, id: &ContainerId, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>> {
        self.soon("copy out", self.runtime.copy_out(id, path, max_bytes)).await
    }

    /// Where to copy to, whether it can be done or not.
    fn directory(&self) -> PathBuf {
        self.fixture.writable_directory.clone().unwrap_or_else(|| PathBuf::from("/"))
    }

    /// A running container, if the engine can copy; one that cannot must say so.
    async fn for_copies(&self, name: &str) -> Option<ContainerId> {
        let id = self.staying(name).await;
        if self.can(Feature::Copy).await {
            return Some(id);
        }
        let file = self.file("a", 0o600, FileKind::File(b"a".to_vec()));
        let copied = self.runtime.copy_in(&id, &self.directory(), &[file]).await;
        fails("copy in on an engine that says it cannot", copied, ErrorKind::Unsupported);
        let copied = self.copy_out(&id, Path::new("/etc"), PLENTY).await;
        fails("copy out on an engine that says it cannot", copied, ErrorKind::Unsupported);
        self.remove(&id).await;
        None
    }

    pub(super) async fn nothing_illegal_is_copied_in(&self) {
        let Some(id) = self.for_copies("illegal-files").await else { return };
        let directory = self.directory();
        let bytes = || FileKind::File(b"bytes".to_vec());
        let good = self.file("runner-testkit-good", 0o600, bytes());
        for (what, bad) in [
            ("a path that leaves the directory", self.file("../runner-testkit-bad", 0o600, bytes())),
            ("an absolute path", self.file("/runner-testkit-bad", 0o600, bytes())),
            ("no path", self.file("", 0o600, bytes())),
            ("a set-user-id bit", self.file("runner-testkit-bad", 0o4755, bytes())),
            ("a link", self.file("runner-testkit-bad", 0o777, FileKind::Link("/etc/passwd".into()))),
        ] {
            let copied = self.runtime.copy_in(&id, &directory, &[good.clone(), bad]).await;
            fails(&format!("copy in of {what}"), copied, ErrorKind::InvalidInput);
        }
        let found = self.copy_out(&id, &directory.join(&good.path), PLENTY).await;
        fails("copy out of what was not to be copied in", found, ErrorKind::NotFound);
        self.remove(&id).await;
    }

    pub(super) async fn what_is_there_is_copied_out(&self) {
        let Some(id) = self.for_copies("copies-out").await else { return };
        let nowhere = Path::new("/runner-testkit-contract/nothing");
        let error = fails(
            "copy out of what is not there",
            self.copy_out(&id, nowhere, PLENTY).await,
            ErrorKind::NotFound,
        );
        assert!(
            error.message().contains("/runner-testkit-contract/nothing"),
            "the error must name it: {error}"
        );
        if let Some(path) = &self.fixture.readable_file {
            let copied = ok("copy out", self.copy_out(&id, path, PLENTY).await);
            let name = path.file_name().map(PathBuf::from);
            let paths: Vec<&PathBuf> = copied.iter().map(|file| &file.path).collect();
            assert_eq!(paths, Vec::from_iter(&name), "a file is copied alone, by its name");
            self.is_copied_whole_or_not(&id, path, &copied).await;
        }
        self.remove(&id).await;
    }

    /// Nothing is cut off to fit.
    async fn is_copied_whole_or_not(&self, id: &ContainerId, path: &Path, copied: &[ContainerFile]) {
        let size: usize = copied.iter().filter_map(contents).map(<[u8]>::len).sum();
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        assert!(size > 0, "what was copied must have contents: {copied:?}");
        let exactly = ok("copy out of as much as allowed", self.copy_out(id, path, size).await);
        assert_eq!(exactly, copied, "a file must be copied as it is");
        let too_much = self.copy_out(id, path, size - 1).await;
        fails("copy out of more than allowed", too_much, ErrorKind::Capacity);
    }

    pub(super) async fn what_is_copied_in_is_there(&self) {
        let Some(id) = self.for_copies("copies-in").await else { return };
        let files = [
            self.file("runner-testkit", 0o750, FileKind::Directory),
            self.file("runner-testkit/empty", 0o644, FileKind::File(Vec::new())),
            self.file("runner-testkit/sub", 0o700, FileKind::Directory),
            self.file("runner-testkit/sub/bytes", 0o600, FileKind::File(vec![0, 255, b'\n', 0])),
        ];
        // A root that is read-only keeps nothing; one that takes a file must have it.
        let root = Path::new("/");
        match self.soon("copy in", self.runtime.copy_in(&id, root, &files)).await {
            Ok(()) => self.has(&id, root, &files).await,
            refused => drop(fails("copy into a root that keeps nothing", refused, ErrorKind::Unsupported)),
        }
        if let Some(directory) = &self.fixture.writable_directory {
            let copied = self.soon("copy in", self.runtime.copy_in(&id, directory, &files)).await;
            ok("copy into a directory that keeps files", copied);
            self.has(&id, directory, &files).await;
            let nowhere = directory.join("runner-testkit-nowhere");
            let copied = self.soon("copy in", self.runtime.copy_in(&id, &nowhere, &files)).await;
            fails("copy into a directory that is not there", copied, ErrorKind::NotFound);
        }
        self.remove(&id).await;
    }

    /// The directory has these files, as they are.
    async fn has(&self, id: &ContainerId, directory: &Path, files: &[ContainerFile]) {
        let path = directory.join("runner-testkit");
        let mut copied = ok("copy out of a directory", self.copy_out(id, &path, PLENTY).await);
        // Names sort above what is below them, so this is the order of `files`.
        copied.sort_by(|one, other| one.path.cmp(&other.path));
        assert_eq!(copied, files, "what was copied in must come out as it was");
        self.is_copied_whole_or_not(id, &path, &copied).await;
    }
}
