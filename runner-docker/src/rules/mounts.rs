//! What may be mounted into a container, decided before the engine is asked for anything, and again before it starts
//! one.
//!
//! A path is judged as what it leads to: symbolic links and `..` are resolved, and a second name of a forbidden
//! directory (a bind mount of it elsewhere) is recognised by its device and inode. Refused are the forbidden trees
//! themselves, everything inside them, and everything that contains one of them.
//!
//! The engine is given the resolved path. It looks at it only when it starts the container, and follows whatever links
//! are there by then (measured on 20.10.24: a directory that became a link to `/etc` since its creation gives the
//! container `/etc`). So a start judges again, and refuses a directory that is no longer itself. What is left is
//! the moment between that look and the engine's, for somebody who can rename directories above the mounted one; a
//! container cannot, it sees only what is inside.
//!
//! Where the engine is reached over the network its files are not ours to look at: the path is judged by its text,
//! which must be free of `..`, and the engine itself refuses one that does not exist. If the same path leads to something
//! forbidden here, it is refused as well: the address may be a tunnel to this host. Where the engine knows our
//! directories under other names ([`PathMapping`]), ours is judged by what it leads to and its by the text.

mod forbidden;
mod path_map;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use runner_core::container::{Mount, MountSource};
use runner_core::{Error, ErrorKind, Result};

use crate::engine::is_name;
use forbidden::Forbidden;
pub use path_map::PathMapping;
use path_map::{PathMap, is_written_out};

const OPERATION: &str = "check the mounts";

/// Where nothing of ours is mounted inside: the container would lose what confines it, or not start.
const FORBIDDEN_TARGETS: &[&str] = &["/proc", "/sys", "/dev"];

const ELSEWHERE: &str =
    "keep the agents' data in a directory of its own, such as /srv/runner or /var/lib/runner";

/// A mount that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedMount {
    pub(crate) source: AllowedSource,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedSource {
    /// A directory, by the path that the engine is given.
    Directory(String),
    /// A volume of the engine, by name.
    Volume(String),
}

/// The rules for one engine.
#[derive(Debug, Clone)]
pub(crate) struct MountRules {
    view: View,
    /// By the names of this host, and by where they lead.
    here: Forbidden,
    /// By the engine's names.
    there: Forbidden,
}

/// What the engine's paths are to us.
#[derive(Debug, Clone)]
enum View {
    /// The same files under the same names.
    Same,
    /// The same files under other names.
    Mapped(PathMap),
    /// Files that we do not see.
    Foreign,
}

impl MountRules {
    /// `local`: the engine is on this host. `engine_paths`: its own socket and data directory, wherever they are.
    pub(crate) fn new(local: bool, map: Vec<PathMapping>, engine_paths: &[PathBuf]) -> Result<Self> {
        let map = PathMap::new(map)?;
        let view = match (map.is_empty(), local) {
            (false, _) => View::Mapped(map),
            (true, true) => View::Same,
            (true, false) => View::Foreign,
        };
        let there = Forbidden::by_name(engine_paths);
        Ok(Self { view, here: there.clone().resolved(), there })
    }

    /// Whether a path means the same to the engine as to us, as far as the configuration says.
    pub(crate) fn same_files(&self) -> bool {
        matches!(self.view, View::Same)
    }

    /// Judges every mount. Looks at the file system, so it may block.
    pub(crate) fn check(&self, mounts: &[Mount]) -> Result<Vec<AllowedMount>> {
        mounts
            .iter()
            .map(|mount| {
                let source = match &mount.source {
                    MountSource::HostPath(path) => AllowedSource::Directory(self.directory(path)?),
                    MountSource::Volume(name) => AllowedSource::Volume(volume(name)?),
                    other => {
                        return Err(refuse(format!("{other:?} is not supported on a Docker engine")));
                    }
                };
                Ok(AllowedMount { source, target: target(&mount.target)?, read_only: mount.read_only })
            })
            .collect()
    }

    /// Judges again the directories that a container is about to be started with, by the engine's names for them.
    pub(crate) fn check_again(&self, sources: &[PathBuf]) -> Result<()> {
        for source in sources {
            let (now, shown) = match &self.view {
                View::Same => (self.seen(source)?, source.clone()),
                View::Mapped(map) => {
                    let Some(here) = map.here(source) else { return Err(unmapped(source)) };
                    let now = map.there(&self.seen(&here)?);
                    (now.unwrap_or_default(), here)
                }
                View::Foreign => (PathBuf::from(self.foreign(source)?), source.clone()),
            };
            if now != *source {
                let message =
                    format!("{} has been replaced since the container was created", shown.display());
                return Err(Error::new(ErrorKind::Workspace, OPERATION, message)
                    .with_hint("create the container anew, or put the directory back where it was"));
            }
        }
        Ok(())
    }

    /// The path that the engine is given for a directory.
    fn directory(&self, path: &Path) -> Result<String> {
        if !path.is_absolute() {
            return Err(refuse(format!("{} is relative", path.display())).with_hint("use an absolute path"));
        }
        match &self.view {
            View::Same => utf8(&self.seen(path)?),
            View::Mapped(map) => {
                let there = map.there(&self.seen(path)?).ok_or_else(|| unmapped(path))?;
                if let Some(why) = self.there.verdict(&there) {
                    return Err(forbidden(path, &there, &why));
                }
                utf8(&there)
            }
            View::Foreign => self.foreign(path),
        }
    }

    /// Judges a directory of this host by what it leads to, which is returned.
    fn seen(&self, path: &Path) -> Result<PathBuf> {
        let real = path.canonicalize().map_err(|e| match self.here.verdict(path) {
            // Nobody should be told to make it.
            Some(why) if is_written_out(path) => forbidden(path, path, &why),
            _ => unusable(path, e),
        })?;
        if let Some(why) = self.here.verdict(&real).or_else(|| self.here.twin(&real)) {
            return Err(forbidden(path, &real, &why));
        }
        let found = real.metadata().map_err(|e| unusable(path, e))?;
        if !found.is_dir() {
            let message = format!("{} is not a directory", path.display());
            return Err(Error::new(ErrorKind::Workspace, OPERATION, message)
                .with_hint("mount the directory that it is in"));
        }
        Ok(real)
    }

    /// Judges a directory of another host by its text, and by what it is here, if it is here.
    fn foreign(&self, path: &Path) -> Result<String> {
        if !is_written_out(path) {
            return Err(
                refuse(format!("{} has '..' or worse in it", path.display())).with_hint("write the path out")
            );
        }
        if let Some(why) = self.there.verdict(path) {
            return Err(forbidden(path, path, &why));
        }
        if let Ok(real) = path.canonicalize()
            && let Some(why) = self.here.verdict(&real).or_else(|| self.here.twin(&real))
        {
            return Err(forbidden(path, &real, &why));
        }
        utf8(path)
    }
}

fn target(path: &Path) -> Result<String> {
    if FORBIDDEN_TARGETS.iter().any(|forbidden| path.starts_with(forbidden)) {
        return Err(refuse(format!("nothing may be mounted over {} inside", path.display()))
            .with_hint("choose another place in the container"));
    }
    utf8(path)
}

fn volume(name: &str) -> Result<String> {
    if is_name(name, 255) {
        return Ok(name.to_owned());
    }
    Err(refuse(format!("{name:?} is not the name of a volume")))
}

fn utf8(path: &Path) -> Result<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| refuse(format!("{} is not UTF-8, which the engine needs", path.display())))
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, OPERATION, message)
}

fn forbidden(path: &Path, real: &Path, why: &str) -> Error {
    let leads = if real == path { String::new() } else { format!(", which is {},", real.display()) };
    refuse(format!("{}{leads} may not be mounted: {why}", path.display())).with_hint(ELSEWHERE)
}

fn unmapped(path: &Path) -> Error {
    let message = format!("the engine's name for {} is not known", path.display());
    Error::new(ErrorKind::Workspace, OPERATION, message)
        .with_hint("add it, or a directory above it, to DockerConfig::path_map")
}

fn unusable(path: &Path, error: io::Error) -> Error {
    let shown = path.display();
    let (kind, message, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            ErrorKind::Workspace,
            format!("{shown} does not exist"),
            "make it first, owned by the container's user: an engine left to itself makes it for root",
        ),
        io::ErrorKind::PermissionDenied => (
            ErrorKind::PermissionDenied,
            format!("{shown} cannot be looked at"),
            "let this user reach it, or keep the data elsewhere",
        ),
        _ => (ErrorKind::Workspace, format!("{shown} cannot be used"), "check the path"),
    };
    Error::new(kind, OPERATION, message).with_hint(hint).with_source(error)
}
