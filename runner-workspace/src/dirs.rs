//! Directories that are there, are directories, and have the right owner.

use std::fs::{self, DirBuilder, FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::Path;

use runner_core::container::UserSpec;

use crate::error::WorkspaceError;

/// A directory, and whether this call made it.
pub(crate) struct Ensured {
    pub(crate) metadata: Metadata,
    pub(crate) created: bool,
}

impl Ensured {
    pub(crate) fn owner(&self) -> UserSpec {
        UserSpec { uid: self.metadata.uid(), gid: self.metadata.gid() }
    }
}

/// Makes `path` unless it is there. Its parent must exist. A symbolic link is not a directory here: whoever can
/// write to the parent could point it anywhere.
pub(crate) fn ensure_dir(path: &Path, mode: u32) -> Result<Ensured, WorkspaceError> {
    let created = match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
        Err(e) => return Err(WorkspaceError::io("make the directory", path)(e)),
    };
    let metadata = fs::symlink_metadata(path).map_err(WorkspaceError::io("look at", path))?;
    if metadata.is_dir() {
        Ok(Ensured { metadata, created })
    } else {
        Err(WorkspaceError::NotADirectory { path: path.to_owned(), found: name_of(metadata.file_type()) })
    }
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_file() {
        "file"
    } else {
        "special file"
    }
}

/// Like [`ensure_dir`], and gives a directory that this call made to `owner` when the process could make it
/// somebody else's, that is, runs as root.
pub(crate) fn ensure_dir_of(path: &Path, mode: u32, owner: UserSpec) -> Result<Ensured, WorkspaceError> {
    let ensured = ensure_dir(path, mode)?;
    if ensured.created && ensured.metadata.uid() == 0 && owner.uid != 0 {
        give_to(path, owner)?;
        let metadata = fs::symlink_metadata(path).map_err(WorkspaceError::io("look at", path))?;
        return Ok(Ensured { metadata, created: true });
    }
    Ok(ensured)
}

/// Gives a path to a user, without following a symbolic link.
pub(crate) fn give_to(path: &Path, owner: UserSpec) -> Result<(), WorkspaceError> {
    lchown(path, Some(owner.uid), Some(owner.gid)).map_err(WorkspaceError::io("change the owner of", path))
}

/// Removes a directory with all it holds. One that is not there is a success.
pub(crate) fn remove_tree(path: &Path) -> Result<(), WorkspaceError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(WorkspaceError::io("remove", path)(e)),
        _ => Ok(()),
    }
}
