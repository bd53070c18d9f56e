//! Where a directory is for the engine, if that is not where it is for us: the controller runs in a container, or
//! shares its files with the engine's host under other names.

use std::path::{Component, Path, PathBuf};

use runner_core::{Error, ErrorKind, Result};

const OPERATION: &str = "read the path map";

/// One entry of [`DockerConfig::path_map`](crate::DockerConfig::path_map): the same directory under two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathMapping {
    /// What this process calls it; absolute.
    pub here: PathBuf,
    /// What the engine calls it; absolute.
    pub engine: PathBuf,
}

/// A checked map. The longest prefix wins.
#[derive(Debug, Clone)]
pub(super) struct PathMap {
    entries: Vec<PathMapping>,
}

impl PathMap {
    /// Checks a map, and resolves our side of it: paths are looked up after they were resolved. An entry whose
    /// directory is not there yet stays as it is.
    pub(super) fn new(entries: Vec<PathMapping>) -> Result<Self> {
        let mut checked: Vec<PathMapping> = Vec::new();
        for PathMapping { here, engine } in entries {
            for path in [&here, &engine] {
                if !is_written_out(path) {
                    let message = format!("{} is not an absolute path without '..'", path.display());
                    return Err(refuse(message));
                }
            }
            let here = here.canonicalize().unwrap_or(here);
            if checked.iter().any(|other| other.here == here) {
                return Err(refuse(format!("{} is mapped twice", here.display())));
            }
            checked.push(PathMapping { here, engine });
        }
        Ok(Self { entries: checked })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The engine's name for a path of ours.
    pub(super) fn there(&self, path: &Path) -> Option<PathBuf> {
        translate(path, self.entries.iter().map(|entry| (&entry.here, &entry.engine)))
    }

    /// Our name for a path of the engine's.
    pub(super) fn here(&self, path: &Path) -> Option<PathBuf> {
        translate(path, self.entries.iter().map(|entry| (&entry.engine, &entry.here)))
    }
}

fn translate<'a>(path: &Path, entries: impl Iterator<Item = (&'a PathBuf, &'a PathBuf)>) -> Option<PathBuf> {
    let (from, to) = entries
        .filter(|(from, _)| path.starts_with(from))
        .max_by_key(|(from, _)| from.components().count())?;
    let rest = path.strip_prefix(from).ok()?;
    // Joining nothing would leave a slash at the end.
    Some(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) })
}

/// Absolute, and without anything that means another path than it says.
pub(super) fn is_written_out(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, OPERATION, message)
        .with_hint("each entry of DockerConfig::path_map names one directory: here, and on the engine")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Result<PathMap> {
        PathMap::new(
            entries
                .iter()
                .map(|(here, engine)| PathMapping { here: here.into(), engine: engine.into() })
                .collect(),
        )
    }

    #[test]
    fn the_longest_prefix_wins_in_both_directions() {
        let map = map(&[
            ("/nonexistent/data", "/srv/data"),
            ("/nonexistent/data/big", "/mnt/big"),
            ("/nonexistent/x", "/srv"),
        ])
        .unwrap();
        for (here, there) in [
            ("/nonexistent/data", "/srv/data"),
            ("/nonexistent/data/a/b", "/srv/data/a/b"),
            ("/nonexistent/data/big", "/mnt/big"),
            ("/nonexistent/data/big/a", "/mnt/big/a"),
            ("/nonexistent/x/y", "/srv/y"),
        ] {
            assert_eq!(map.there(Path::new(here)).as_deref(), Some(Path::new(there)), "{here}");
            assert_eq!(map.here(Path::new(there)).as_deref(), Some(Path::new(here)), "{there}");
        }
        for unknown in ["/nonexistent/database", "/nonexistent", "/"] {
            assert_eq!(map.there(Path::new(unknown)), None, "{unknown}");
        }
    }

    #[test]
    fn a_map_is_of_whole_paths_and_says_each_thing_once() {
        for bad in [
            &[("data", "/srv")][..],
            &[("/data", "srv")],
            &[("/data", "")],
            &[("/nonexistent/../data", "/srv")],
            &[("/data", "/srv/../etc")],
            &[("/nonexistent/a", "/srv/a"), ("/nonexistent/a/", "/srv/b")],
        ] {
            assert_eq!(map(bad).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
        // By where it leads.
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let map = PathMap::new(vec![PathMapping { here: root.join("link"), engine: "/srv".into() }]).unwrap();
        assert_eq!(map.there(&root.join("real/a")), Some("/srv/a".into()));
    }
}
