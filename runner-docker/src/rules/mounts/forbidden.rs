//! What is never mounted, as lists and as a judgement on a path.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Trees that belong to the system, to an engine or to an orchestrator. With any of these a container could change
/// the host, or talk to a daemon that runs as root (the sockets are in `/run`).
const TREES: &[&str] = &[
    // The kernel's and the boot loader's.
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/efi",
    // Configuration, accounts, sockets.
    "/etc",
    "/run",
    "/var/run",
    "/tmp/.X11-unix",
    // Programs that root runs.
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/gnu",
    "/snap",
    "/ostree",
    "/sysroot",
    "/opt/cni",
    "/opt/containerd",
    // Jobs, logs and copies of secret files.
    "/var/spool",
    "/var/log",
    "/var/backups",
    "/var/db",
    "/var/snap",
    // Engines, orchestrators and virtual machines: their data is other containers' and hosts' data.
    "/var/lib/buildkit",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/crio",
    "/var/lib/docker",
    "/var/lib/docker-engine",
    "/var/lib/dockershim",
    "/var/lib/etcd",
    "/var/lib/incus",
    "/var/lib/k0s",
    "/var/lib/kubelet",
    "/var/lib/libvirt",
    "/var/lib/lxc",
    "/var/lib/lxcfs",
    "/var/lib/lxd",
    "/var/lib/machines",
    "/var/lib/nomad",
    "/var/lib/portables",
    "/var/lib/rancher",
    "/var/lib/snapd",
    // What root's own services read and run: packages' scripts, units, logins, tunnels.
    "/var/lib/apk",
    "/var/lib/apt",
    "/var/lib/cloud",
    "/var/lib/dbus",
    "/var/lib/dpkg",
    "/var/lib/flatpak",
    "/var/lib/NetworkManager",
    "/var/lib/pacman",
    "/var/lib/polkit-1",
    "/var/lib/rpm",
    "/var/lib/sss",
    "/var/lib/sudo",
    "/var/lib/systemd",
    "/var/lib/tailscale",
    // The same on macOS, where an engine in a virtual machine sees the host's files.
    "/Applications",
    "/Library",
    "/System",
    "/private/etc",
    "/private/var/db",
    "/private/var/run",
];

/// Directories that everybody shares: other programs keep their sockets and keys in them. One of one's own inside is
/// fine.
const SHARED: &[&str] = &["/tmp", "/var/tmp", "/private/tmp"];

/// Directories that hold a home directory for each user.
const HOMES: &[&str] = &["/home", "/var/home", "/Users"];

/// Home directories elsewhere.
const SINGLE_HOMES: &[&str] = &["/root", "/var/root", "/var/roothome"];

/// What lies in a home directory and is worth more than the agent's work: credentials, settings that run commands,
/// programs on the search path, sockets of engines. A home as a whole is refused, and so is what contains one of these;
/// data of the runner below it (`~/project/data`, `~/.local/share/runner`) is what operators legitimately mount.
const PRIVATE_IN_HOME: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".gpg",
    ".pki",
    ".password-store",
    ".netrc",
    ".config",
    ".local/bin",
    ".local/lib",
    ".local/share/applications",
    ".local/share/containers",
    ".local/share/docker",
    ".local/share/gnome-keyring",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".local/share/opencode",
    ".local/share/systemd",
    "bin",
    // Clouds and clusters.
    ".aws",
    ".azure",
    ".bluemix",
    ".gcloud",
    ".oci",
    ".kube",
    ".minikube",
    ".terraform.d",
    ".vault",
    // Engines and their virtual machines.
    ".colima",
    ".docker",
    ".lima",
    ".orbstack",
    ".rd",
    // Tools with a token or with programs of their own.
    ".bun",
    ".cargo",
    ".claude",
    ".codex",
    ".cursor",
    ".cursor-server",
    ".deno",
    ".gem",
    ".gemini",
    ".gradle",
    ".m2",
    ".npm-global",
    ".opencode",
    ".rustup",
    ".subversion",
    ".vscode",
    ".vscode-server",
    // People.
    ".mozilla",
    ".thunderbird",
    "Library/Application Support/Google",
    "Library/Containers",
    "Library/Keychains",
    "Library/LaunchAgents",
];

/// What is never mounted, as far as one side's names for it go.
#[derive(Debug, Clone)]
pub(super) struct Forbidden {
    trees: Vec<PathBuf>,
    shared: Vec<PathBuf>,
    homes: Homes,
}

/// Where home directories are.
#[derive(Debug, Clone)]
struct Homes {
    /// Directories that hold one per user.
    parents: Vec<PathBuf>,
    /// Single ones.
    single: Vec<PathBuf>,
}

impl Forbidden {
    /// By names alone. `engine_paths`: the engine's own socket and data directory, wherever they are.
    pub(super) fn by_name(engine_paths: &[PathBuf]) -> Self {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        let mut trees = paths(TREES);
        trees.extend_from_slice(engine_paths);
        Self {
            trees,
            shared: paths(SHARED),
            homes: Homes { parents: paths(HOMES), single: paths(SINGLE_HOMES) },
        }
    }

    /// The same, and where those names lead on this host: `/var/run` to `/run` on most systems, `/home` to `/var/home`
    /// on some, a socket's path through links as well.
    pub(super) fn resolved(mut self) -> Self {
        for paths in [&mut self.trees, &mut self.shared, &mut self.homes.parents, &mut self.homes.single] {
            let resolved: Vec<_> = paths.iter().filter_map(|path| path.canonicalize().ok()).collect();
            for path in resolved {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        self
    }

    /// Why a path is refused, by its text. It has no links and no `..`.
    pub(super) fn verdict(&self, path: &Path) -> Option<String> {
        if path.parent().is_none() {
            return Some("it is the whole file system".to_owned());
        }
        for tree in &self.trees {
            if path.starts_with(tree) {
                return Some(format!("it is in {}, which belongs to the system", tree.display()));
            }
            if tree.starts_with(path) {
                return Some(format!("it contains {}, which belongs to the system", tree.display()));
            }
        }
        if self.shared.iter().any(|shared| path == shared) {
            return Some("every program keeps files of its own there".to_owned());
        }
        if path.extension().is_some_and(|extension| extension == "sock") {
            return Some("it is a socket".to_owned());
        }
        self.homes.verdict(path)
    }

    /// Why a path of this host is refused, by what it is: the same directory as a forbidden one under another name.
    pub(super) fn twin(&self, path: &Path) -> Option<String> {
        let identity = |path: &Path| path.metadata().ok().map(|m| (m.dev(), m.ino()));
        let trees: HashSet<_> = self.trees.iter().filter_map(|path| identity(path)).collect();
        if let Some(parent) = path.ancestors().find(|p| identity(p).is_some_and(|i| trees.contains(&i))) {
            return Some(format!("{} is a system directory under another name", parent.display()));
        }
        let own = identity(path)?;
        let above: HashSet<&Path> = self.trees.iter().flat_map(|path| path.ancestors().skip(1)).collect();
        above
            .into_iter()
            .filter_map(identity)
            .any(|i| i == own)
            .then(|| "it contains a system directory under another name".to_owned())
    }

    #[cfg(test)]
    pub(super) fn of_trees(trees: Vec<PathBuf>) -> Self {
        Self { trees, ..Self::by_name(&[]) }
    }

    #[cfg(test)]
    pub(super) fn of_homes(parents: Vec<PathBuf>, single: Vec<PathBuf>) -> Self {
        Self { homes: Homes { parents, single }, ..Self::by_name(&[]) }
    }
}

impl Homes {
    fn verdict(&self, path: &Path) -> Option<String> {
        let (home, inside) = self.of(path)?;
        if inside.as_os_str().is_empty() {
            return Some(format!("{} is a home directory as a whole", home.display()));
        }
        let touches = |private: &&&str| inside.starts_with(private) || Path::new(private).starts_with(inside);
        let private = PRIVATE_IN_HOME.iter().find(touches)?;
        Some(format!("it touches {}, which is somebody's own", home.join(private).display()))
    }

    /// The home directory that a path is or is in, and the path within it.
    fn of<'a>(&self, path: &'a Path) -> Option<(&'a Path, &'a Path)> {
        if self.parents.iter().any(|parent| path == parent) {
            return Some((path, Path::new("")));
        }
        let home = path.ancestors().find(|above| {
            self.single.iter().any(|single| above == single)
                || above.parent().is_some_and(|parent| self.parents.iter().any(|p| parent == p))
        })?;
        Some((home, path.strip_prefix(home).ok()?))
    }
}
