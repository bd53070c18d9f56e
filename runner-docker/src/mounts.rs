//! What may be mounted into a container, decided before the engine is asked for anything.
//!
//! A path is judged as what it leads to: symbolic links and `..` are resolved, and a second name of a forbidden
//! directory (a bind mount of it elsewhere) is recognised by its device and inode. Refused are the forbidden trees
//! themselves, everything inside them, and everything that contains one of them.
//!
//! The engine is then given the resolved path, so that a link that changes in between changes nothing. Where the
//! engine is reached over the network its files are not ours to look at: the path is judged by its text, which must
//! be free of `..`, and the engine itself refuses one that does not exist.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use runner_core::container::{Mount, MountSource};
use runner_core::{Error, ErrorKind, Result};

use crate::engine::is_name;

const OPERATION: &str = "check the mounts";

/// Trees that belong to the system or to an engine. With any of these a container could change the host, or talk
/// to a daemon that runs as root (the sockets are in `/run`).
const FORBIDDEN: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/boot",
    "/run",
    "/var/run",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
];

/// What lies directly in a home directory and is worth more than the agent's work. A home as a whole is refused;
/// data of the runner below it (`~/project/data`, `~/.local/share/…`) is what operators legitimately mount.
const PRIVATE_IN_HOME: &[&str] = &[".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc"];

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
    forbidden: Vec<PathBuf>,
    homes: Homes,
    /// Whether the engine sees the same files as we do.
    local: bool,
}

/// Where home directories are.
#[derive(Debug, Clone)]
struct Homes {
    /// Directories that hold one per user.
    parents: Vec<PathBuf>,
    /// Single ones.
    single: Vec<PathBuf>,
}

impl MountRules {
    /// `engine_paths`: the engine's own socket and data directory, wherever they are.
    pub(crate) fn new(local: bool, engine_paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut forbidden: Vec<PathBuf> = FORBIDDEN.iter().map(PathBuf::from).collect();
        forbidden.extend(engine_paths);
        let mut homes = Homes { parents: vec!["/home".into()], single: vec!["/root".into()] };
        if local {
            // `/var/run` leads to `/run` on most systems, `/home` to `/var/home` on some, a socket's path through
            // links as well.
            for paths in [&mut forbidden, &mut homes.parents, &mut homes.single] {
                let resolved: Vec<_> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
                paths.extend(resolved);
            }
        }
        Self { forbidden, homes, local }
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
                Ok(AllowedMount { source, target: utf8(&mount.target)?, read_only: mount.read_only })
            })
            .collect()
    }

    fn directory(&self, path: &Path) -> Result<String> {
        let shown = path.display();
        if !path.is_absolute() {
            return Err(refuse(format!("{shown} is relative")).with_hint("use an absolute path"));
        }
        if !self.local {
            if path.components().any(|c| !matches!(c, Component::RootDir | Component::Normal(_))) {
                return Err(refuse(format!("{shown} has '..' in it")).with_hint("write the path out"));
            }
            return match self.verdict(path) {
                Some(why) => Err(refuse(format!("{shown} may not be mounted: {why}")).with_hint(ELSEWHERE)),
                None => utf8(path),
            };
        }
        let real = path.canonicalize().map_err(|e| unusable(path, e))?;
        let why = self.verdict(&real).or_else(|| self.twin(&real));
        if let Some(why) = why {
            let leads = if real == path { String::new() } else { format!(", which is {},", real.display()) };
            return Err(refuse(format!("{shown}{leads} may not be mounted: {why}")).with_hint(ELSEWHERE));
        }
        let found = real.metadata().map_err(|e| unusable(path, e))?;
        if !found.is_dir() {
            return Err(Error::new(ErrorKind::Workspace, OPERATION, format!("{shown} is not a directory"))
                .with_hint("mount the directory that it is in"));
        }
        utf8(&real)
    }

    /// Why a resolved path is refused, by its text.
    fn verdict(&self, path: &Path) -> Option<String> {
        if path.parent().is_none() {
            return Some("it is the whole file system".to_owned());
        }
        for forbidden in &self.forbidden {
            if path.starts_with(forbidden) {
                return Some(format!("it is in {}, which belongs to the system", forbidden.display()));
            }
            if forbidden.starts_with(path) {
                return Some(format!("it contains {}, which belongs to the system", forbidden.display()));
            }
        }
        let (home, inside) = self.homes.of(path)?;
        match inside {
            None => Some(format!("{} is a home directory as a whole", home.display())),
            Some(name) if PRIVATE_IN_HOME.iter().any(|p| name == Path::new(p)) => {
                Some("it holds somebody's credentials".to_owned())
            }
            Some(_) => None,
        }
    }

    /// Why a resolved path is refused, by what it is: the same directory as a forbidden one under another name.
    fn twin(&self, path: &Path) -> Option<String> {
        let identity = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
        let trees: HashSet<_> = self.forbidden.iter().filter_map(|path| identity(path)).collect();
        if let Some(parent) = path.ancestors().find(|p| identity(p).is_some_and(|i| trees.contains(&i))) {
            return Some(format!("{} is a system directory under another name", parent.display()));
        }
        let own = identity(path)?;
        let above = self.forbidden.iter().flat_map(|path| path.ancestors().skip(1));
        above
            .filter_map(identity)
            .any(|i| i == own)
            .then(|| "it contains a system directory under another name".to_owned())
    }
}

const ELSEWHERE: &str =
    "keep the agents' data in a directory of its own, such as /srv/runner or /var/lib/runner";

impl Homes {
    /// The home directory that a path is or is in, and the first name below it.
    fn of<'a>(&self, path: &'a Path) -> Option<(&'a Path, Option<&'a Path>)> {
        if self.parents.iter().any(|parent| path == parent) {
            return Some((path, None));
        }
        let home = path.ancestors().find(|above| {
            self.single.iter().any(|single| above == single)
                || above.parent().is_some_and(|parent| self.parents.iter().any(|p| parent == p))
        })?;
        let below = path.strip_prefix(home).ok()?;
        Some((home, below.iter().next().map(Path::new)))
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn rules() -> MountRules {
        MountRules::new(true, [PathBuf::from("/var/run/docker.sock"), PathBuf::from("/var/lib/docker")])
    }

    fn mount(source: impl Into<PathBuf>) -> Mount {
        Mount { source: MountSource::HostPath(source.into()), target: "/workspace".into(), read_only: false }
    }

    fn check(rules: &MountRules, source: impl Into<PathBuf>) -> Result<AllowedMount> {
        rules.check(&[mount(source)]).map(|mut all| all.remove(0))
    }

    /// A directory of the test's own that is not below a forbidden tree.
    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn what_belongs_to_the_system_is_refused_by_its_text() {
        // Not all of these exist on every machine, so the text alone is judged, as for a remote engine.
        let rules = MountRules { local: false, ..rules() };
        for path in [
            "/",
            "/proc",
            "/proc/1/root",
            "/sys/fs/cgroup",
            "/dev/shm",
            "/etc",
            "/etc/ssh",
            "/boot/grub",
            "/run/docker.sock",
            "/run/user/1000/podman",
            "/var/run/docker.sock",
            "/var/lib/docker/volumes/a/_data",
            "/var/lib/containerd",
            "/var",
            "/var/lib",
            "/root",
            "/home",
            "/home/u",
            "/home/u/.docker",
            "/home/u/.ssh/keys",
            "/data/../etc",
            "relative",
        ] {
            let e = check(&rules, path).expect_err(path);
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{path}");
            assert!(e.message().contains(path), "{e}");
        }
        let root = Path::new("/root");
        assert!(check(&rules, root.join(".ssh")).is_err());
        assert!(check(&rules, root.join("project/data")).is_ok());
        for path in [
            "/srv/runner",
            "/var/lib/runner",
            "/var/lib/docker-data",
            "/data",
            "/home/u/.local/share/runner",
            "/home/u/work/.ssh",
            "/home2/u",
            "/tmp/runner",
            "/etcetera",
            "/a:b,c d\"é",
        ] {
            assert!(check(&rules, path).is_ok(), "{path}");
        }
    }

    #[test]
    fn links_and_detours_are_judged_by_where_they_lead() {
        let dir = dir();
        let root = dir.path().canonicalize().unwrap();
        for (name, target) in [("etc", "/etc"), ("all", "/"), ("up", ".."), ("twice", "etc")] {
            symlink(target, root.join(name)).unwrap();
        }
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        symlink("real", root.join("fine")).unwrap();
        for path in ["etc", "all", "all/proc", "twice", "twice/ssh/..", "real/../etc"] {
            let e = check(&rules(), root.join(path)).expect_err(path);
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{path}: {e}");
        }
        let allowed = check(&rules(), root.join("fine/deep/../deep")).unwrap();
        let real = root.join("real/deep").to_str().unwrap().to_owned();
        assert_eq!(allowed.source, AllowedSource::Directory(real), "the engine gets the resolved path");
    }

    #[test]
    fn the_engines_own_socket_and_data_are_refused_wherever_they_are() {
        let dir = dir();
        let root = dir.path().canonicalize().unwrap();
        let socket = root.join("engine/docker.sock");
        std::fs::create_dir_all(root.join("engine")).unwrap();
        let _listener = UnixListener::bind(&socket).unwrap();
        let data = root.join("data-root");
        std::fs::create_dir_all(data.join("volumes")).unwrap();
        std::fs::create_dir_all(root.join("work")).unwrap();
        let rules = MountRules::new(true, [socket.clone(), data.clone()]);
        for path in [socket, root.join("engine"), root.clone(), data.join("volumes"), data] {
            assert!(check(&rules, &path).is_err(), "{}", path.display());
        }
        assert!(check(&rules, root.join("work")).is_ok());
    }

    #[test]
    fn another_name_of_the_same_directory_is_recognised() {
        let dir = dir();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("secret/inner")).unwrap();
        // As after a bind mount of the forbidden directory, which needs more rights than a test has: the rule's
        // path leads to it, and the two texts have nothing in common.
        symlink("secret", root.join("alias")).unwrap();
        let rules = MountRules { forbidden: vec![root.join("alias")], ..rules() };
        std::fs::create_dir_all(root.join("work")).unwrap();
        for path in ["secret", "secret/inner"] {
            let e = check(&rules, root.join(path)).expect_err(path);
            assert!(e.message().contains("under another name"), "{e}");
        }
        assert!(check(&rules, root.join("work")).is_ok());
    }

    /// As on systems where `/home` is a link to `/var/home`: the path is judged by where it leads, so the rule must be,
    /// too.
    #[test]
    fn homes_are_known_by_where_they_really_are() {
        let dir = dir();
        let root = dir.path().canonicalize().unwrap();
        for inside in ["homes/u/.ssh/keys", "homes/u/data", "admin/.aws", "admin/data"] {
            std::fs::create_dir_all(root.join(inside)).unwrap();
        }
        symlink("homes", root.join("home")).unwrap();
        let homes = Homes { parents: vec![root.join("homes")], single: vec![root.join("admin")] };
        let rules = MountRules { homes, ..rules() };
        for path in ["home", "home/u", "home/u/.ssh/keys", "homes/u/.ssh", "admin", "admin/.aws"] {
            let e = check(&rules, root.join(path)).expect_err(path);
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{path}: {e}");
        }
        for path in ["home/u/data", "admin/data"] {
            assert!(check(&rules, root.join(path)).is_ok(), "{path}");
        }
    }

    #[test]
    fn only_a_directory_that_exists_is_mounted() {
        let dir = dir();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        let _listener = UnixListener::bind(root.join("x.sock")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        for path in ["missing", "file", "x.sock", "dangling"] {
            let e = check(&rules(), root.join(path)).expect_err(path);
            assert_eq!(e.kind(), ErrorKind::Workspace, "{path}: {e}");
            assert!(e.hint().is_some() && e.message().contains(path), "{e}");
        }
        assert!(!root.join("missing").exists(), "nothing is made");
    }

    #[test]
    fn a_volume_is_a_name_and_never_a_path() {
        for (name, good) in [
            ("cache", true),
            ("a.b_c-1", true),
            ("/etc", false),
            ("../x", false),
            ("", false),
            ("a b", false),
        ] {
            let volume =
                Mount { source: MountSource::Volume(name.into()), target: "/c".into(), read_only: true };
            assert_eq!(rules().check(&[volume]).is_ok(), good, "{name}");
        }
    }
}
