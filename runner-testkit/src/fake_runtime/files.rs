//! Files of a container, in memory.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use runner_core::container::UserSpec;
use runner_core::files::{ContainerFile, FileKind};
use runner_core::{ContainerId, ContainerSpec, Error, ErrorKind, Result};

use super::FakeRuntime;
use crate::faults::lock;

const COPY_IN: &str = "copy into a container";
const COPY_OUT: &str = "copy out of a container";

#[derive(Clone)]
struct Entry {
    mode: u32,
    owner: UserSpec,
    kind: FileKind,
}

/// By absolute path. The root itself is not listed.
#[derive(Clone)]
pub(super) struct Files {
    entries: BTreeMap<PathBuf, Entry>,
    owner: UserSpec,
}

fn error(kind: ErrorKind, operation: &'static str, message: String) -> Error {
    Error::new(kind, operation, message)
}

/// Refuses a path that means another one than it says.
fn plain(operation: &'static str, path: &Path) -> Result<()> {
    let is_plain = path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if is_plain {
        return Ok(());
    }
    let message = format!("{} is not an absolute path without '..'", path.display());
    Err(error(ErrorKind::InvalidInput, operation, message))
}

/// Whether the container can keep a file below this directory: only a mount that may be written to outlasts it.
fn check_place(spec: &ContainerSpec, directory: &Path) -> Result<()> {
    let mounts = spec.mounts.iter().map(|m| (&m.target, if m.read_only { "read-only" } else { "" }));
    let tmpfs = spec.tmpfs.iter().map(|t| (&t.target, "memory-backed"));
    let above = mounts.chain(tmpfs).filter(|(target, _)| directory.starts_with(target));
    let why = above.max_by_key(|(target, _)| target.components().count()).map(|(_, why)| why);
    match why {
        Some("") => Ok(()),
        why => {
            let why = why.unwrap_or("part of the read-only root");
            let message = format!("{} is {why}", directory.display());
            Err(error(ErrorKind::Unsupported, COPY_IN, message))
        }
    }
}

/// What can be refused without a look at the container.
pub(super) fn check_copy_in(directory: &Path, files: &[ContainerFile]) -> Result<()> {
    plain(COPY_IN, directory)?;
    files.iter().try_for_each(ContainerFile::validate)
}

/// What can be refused without a look at the container.
pub(super) fn check_copy_out(path: &Path) -> Result<()> {
    plain(COPY_OUT, path)
}

impl Files {
    /// The image's files, and a directory wherever something is mounted.
    pub(super) fn of(spec: &ContainerSpec, image: &BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let mut files = Self { entries: BTreeMap::new(), owner: spec.user };
        for (path, contents) in image {
            files.put_file(path, contents.clone());
        }
        let targets = spec.mounts.iter().map(|m| &m.target).chain(spec.tmpfs.iter().map(|t| &t.target));
        for target in targets {
            files.put_directories(target);
        }
        files
    }

    fn put_directories(&mut self, path: &Path) {
        for directory in path.ancestors().filter(|directory| directory.parent().is_some()) {
            let entry = Entry { mode: 0o755, owner: self.owner, kind: FileKind::Directory };
            self.entries.entry(directory.to_owned()).or_insert(entry);
        }
    }

    fn put(&mut self, path: &Path, entry: Entry) {
        if let Some(parent) = path.parent() {
            self.put_directories(parent);
        }
        if entry.kind != FileKind::Directory {
            // It takes the place of a directory with all that is in it.
            self.entries.retain(|place, _| !place.starts_with(path));
        }
        self.entries.insert(path.to_owned(), entry);
    }

    fn put_file(&mut self, path: &Path, contents: Vec<u8>) {
        self.put(path, Entry { mode: 0o644, owner: self.owner, kind: FileKind::File(contents) });
    }

    fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        match &self.entries.get(path)?.kind {
            FileKind::File(contents) => Some(contents.clone()),
            _ => None,
        }
    }

    pub(super) fn copy_in(
        &mut self,
        spec: &ContainerSpec,
        directory: &Path,
        files: &[ContainerFile],
    ) -> Result<()> {
        check_place(spec, directory)?;
        match self.entries.get(directory).map(|entry| &entry.kind) {
            Some(FileKind::Directory) => {}
            Some(_) => {
                let message = format!("{} is not a directory", directory.display());
                return Err(error(ErrorKind::InvalidInput, COPY_IN, message));
            }
            None => return Err(missing(COPY_IN, directory)),
        }
        for file in files {
            let entry = Entry { mode: file.mode, owner: file.owner, kind: file.kind.clone() };
            self.put(&directory.join(&file.path), entry);
        }
        Ok(())
    }

    pub(super) fn copy_out(&self, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>> {
        let base = path.parent().unwrap_or(path);
        let below = self.entries.iter().filter(|(place, _)| place.starts_with(path));
        let mut found = Vec::new();
        let mut size = 0_u64;
        for (place, entry) in below {
            if let FileKind::File(contents) = &entry.kind {
                size = size.saturating_add(u64::try_from(contents.len()).unwrap_or(u64::MAX));
            }
            let relative = place.strip_prefix(base).unwrap_or(place).to_owned();
            found.push(ContainerFile {
                path: relative,
                mode: entry.mode,
                owner: entry.owner,
                kind: entry.kind.clone(),
            });
        }
        if found.is_empty() && path.parent().is_some() {
            return Err(missing(COPY_OUT, path));
        }
        if size > max_bytes {
            let message = format!("{} has {size} bytes, and {max_bytes} are allowed", path.display());
            return Err(error(ErrorKind::Capacity, COPY_OUT, message));
        }
        Ok(found)
    }
}

fn missing(operation: &'static str, path: &Path) -> Error {
    error(ErrorKind::NotFound, operation, format!("there is no {} in the container", path.display()))
}

impl FakeRuntime {
    /// Every container that is created from now on has this file, as part of its image.
    pub fn image_file(&self, path: impl Into<PathBuf>, contents: impl Into<Vec<u8>>) {
        lock(&self.shared.engine).image_files.insert(path.into(), contents.into());
    }

    /// A process of the container writes a file, wherever it is. `false` if the container is gone.
    pub fn write_file(&self, id: &ContainerId, path: impl AsRef<Path>, contents: impl Into<Vec<u8>>) -> bool {
        let mut engine = lock(&self.shared.engine);
        let found = engine.find_mut(id);
        found.map(|container| container.files.put_file(path.as_ref(), contents.into())).is_some()
    }

    /// A process of the container leaves something that is not a file, such as a link. `false` if the container is
    /// gone.
    pub fn write_entry(&self, id: &ContainerId, path: impl AsRef<Path>, kind: FileKind) -> bool {
        let mut engine = lock(&self.shared.engine);
        let Some(container) = engine.find_mut(id) else { return false };
        let entry = Entry { mode: 0o777, owner: container.spec.user, kind };
        container.files.put(path.as_ref(), entry);
        true
    }

    /// What a file of a container holds, without a logged call. `None` if there is no such file.
    pub fn file(&self, id: &ContainerId, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        lock(&self.shared.engine).find(id)?.files.contents(path.as_ref())
    }
}
