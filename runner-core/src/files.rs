//! Files that are copied into and out of a container.

use std::fmt;
use std::path::{Component, PathBuf};

use crate::container::UserSpec;
use crate::error::{Error, ErrorKind, Result};

/// What an entry is.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A file with its contents.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link and where it leads. Only ever read, never followed.
    Link(PathBuf),
    /// A device, a socket or something else without contents. Only ever read.
    Other,
}

/// Shows sizes only: contents may be secret.
impl fmt::Debug for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(bytes) => write!(f, "File({} bytes)", bytes.len()),
            Self::Directory => f.write_str("Directory"),
            Self::Link(to) => write!(f, "Link({})", to.display()),
            Self::Other => f.write_str("Other"),
        }
    }
}

/// One entry of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFile {
    /// Relative to the directory that is copied into, or to the parent of what is copied out.
    pub path: PathBuf,
    /// Permission bits, such as `0o600`.
    pub mode: u32,
    /// Its owner inside.
    pub owner: UserSpec,
    /// What it is.
    pub kind: FileKind,
}

impl ContainerFile {
    /// Refuses an entry that cannot be copied in: a path that leaves its directory, a mode with more than
    /// permission bits, something else than a file or a directory.
    pub fn validate(&self) -> Result<()> {
        let refuse = |message: String, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "check a file to copy", message).with_hint(hint))
        };
        let inside = self.path.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || self.path.as_os_str().is_empty() {
            return refuse(
                format!("{} is not a path below the directory", self.path.display()),
                "use a relative path without '.' and '..'",
            );
        }
        if self.mode & !0o777 != 0 {
            return refuse(
                format!("the mode {:o} of {} has more than permissions", self.mode, self.path.display()),
                "leave out set-id and sticky bits",
            );
        }
        match self.kind {
            FileKind::File(_) | FileKind::Directory => Ok(()),
            FileKind::Link(_) | FileKind::Other => refuse(
                format!("{} is neither a file nor a directory", self.path.display()),
                "copy what it leads to",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_the_directory_is_refused_and_contents_are_not_shown() {
        let file = |path: &str, mode| ContainerFile {
            path: path.into(),
            mode,
            owner: UserSpec { uid: 1, gid: 1 },
            kind: FileKind::File(b"hunter2".to_vec()),
        };
        file("a/b", 0o600).validate().unwrap();
        assert!(!format!("{:?}", file("a", 0o600)).contains("hunter2"));
        for (path, mode) in [("", 0), ("/a", 0), ("../a", 0), ("a/../b", 0), (".", 0), ("a", 0o4755)] {
            assert_eq!(file(path, mode).validate().unwrap_err().kind(), ErrorKind::InvalidInput, "{path}");
        }
        for kind in [FileKind::Link("/etc/passwd".into()), FileKind::Other] {
            assert!(ContainerFile { kind, ..file("a", 0o600) }.validate().is_err());
        }
    }
}
