//! What of a container's file system an engine sees when it copies. Pure.
//!
//! It copies on its own side of the mount namespace: into the container's layers, its volumes and its mounted
//! directories. A memory-backed directory exists on the other side only. Measured on 20.10: what is copied into one is
//! accepted and never seen, or written to the directory below it on the host; what is read of one is "not there", or
//! an empty directory. So such places are known from the container's description and refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Mounted by every runtime, from the kernel.
const KERNEL: &[&str] = &["/dev", "/proc", "/sys"];

/// A container's description, as far as it is about places.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Description {
    #[expect(
        dead_code,
        reason = "required, because a reply to a wrong request would otherwise look like an empty one"
    )]
    id: String,
    host_config: Option<HostConfig>,
    mounts: Option<Vec<MountPoint>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    readonly_rootfs: Option<bool>,
    tmpfs: Option<BTreeMap<PathBuf, Option<String>>>,
    mounts: Option<Vec<Mount>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    r#type: Option<String>,
    target: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MountPoint {
    r#type: Option<String>,
    destination: Option<PathBuf>,
    #[serde(rename = "RW")]
    writable: Option<bool>,
}

/// What a place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Memory-backed: the engine does not see it.
    Memory,
    /// It can be read only.
    ReadOnly,
    /// It can be written.
    Writable,
}

/// The places of one container.
#[derive(Debug)]
pub(crate) struct Places {
    root: Place,
    mounted: BTreeMap<PathBuf, Place>,
}

impl Places {
    pub(crate) fn of(description: Description) -> Self {
        let mut mounted: BTreeMap<PathBuf, Place> =
            KERNEL.iter().map(|path| (PathBuf::from(path), Place::Memory)).collect();
        for point in description.mounts.unwrap_or_default() {
            let place = match (point.r#type.as_deref(), point.writable) {
                (Some("tmpfs"), _) => Place::Memory,
                (_, Some(false)) => Place::ReadOnly,
                _ => Place::Writable,
            };
            if let Some(path) = point.destination {
                mounted.insert(path, place);
            }
        }
        let (mut root, mut memory) = (Place::Writable, Vec::new());
        if let Some(host) = description.host_config {
            if host.readonly_rootfs == Some(true) {
                root = Place::ReadOnly;
            }
            memory.extend(host.tmpfs.unwrap_or_default().into_keys());
            let is_memory = |mount: &Mount| mount.r#type.as_deref() == Some("tmpfs");
            memory.extend(
                host.mounts.unwrap_or_default().into_iter().filter(is_memory).filter_map(|m| m.target),
            );
        }
        mounted.extend(memory.into_iter().map(|path| (path, Place::Memory)));
        Self { root, mounted }
    }

    /// What a path is in, the path itself included.
    pub(crate) fn place(&self, path: &Path) -> Place {
        path.ancestors().find_map(|path| self.mounted.get(path)).copied().unwrap_or(self.root)
    }

    /// A memory-backed directory below a path: reading the path would leave it out.
    pub(crate) fn memory_below(&self, path: &Path) -> Option<&Path> {
        let is_it = |(at, place): &(&PathBuf, &Place)| {
            **place == Place::Memory && at.starts_with(path) && at.as_path() != path
        };
        self.mounted.iter().find(is_it).map(|(at, _)| at.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Places {
        Places::of(serde_json::from_str(text).expect(text))
    }

    #[test]
    fn every_place_is_known() {
        let places = places(include_str!("../../tests/fixtures/places.json"));
        for (path, want) in [
            ("/", Place::ReadOnly),
            ("/etc/x", Place::ReadOnly),
            ("/workspace", Place::Writable),
            ("/workspace/a/b", Place::Writable),
            ("/workspacex", Place::ReadOnly),
            ("/workspace/t", Place::Memory),
            ("/workspace/t/x", Place::Memory),
            ("/workspace/tx", Place::Writable),
            ("/fixed/x", Place::ReadOnly),
            ("/vol", Place::Writable),
            ("/tmp", Place::Memory),
            ("/mt/x", Place::Memory),
            ("/dev/shm/x", Place::Memory),
            ("/proc/1", Place::Memory),
        ] {
            assert_eq!(places.place(Path::new(path)), want, "{path}");
        }
        for (path, want) in [
            ("/", Some("/dev")),
            ("/workspace", Some("/workspace/t")),
            ("/workspace/t", None),
            ("/etc", None),
            ("/vol", None),
        ] {
            assert_eq!(places.memory_below(Path::new(path)), want.map(Path::new), "{path}");
        }
    }

    #[test]
    fn a_short_description_is_enough_and_none_is_refused() {
        let places = places(r#"{"Id":"a","HostConfig":{"Tmpfs":null,"Mounts":null},"Mounts":[{}]}"#);
        assert_eq!(places.place(Path::new("/x")), Place::Writable);
        assert_eq!(places.place(Path::new("/sys/x")), Place::Memory);
        assert!(serde_json::from_str::<Description>("{}").is_err());
    }
}
