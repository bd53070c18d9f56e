//! What a container should be, and what it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};
pub use crate::exit::{ExitReason, ExitStatus, StopReason};
use crate::grants::Grants;
use crate::ids::ContainerId;
use crate::image::{ImageRef, Platform};
use crate::resources::Resources;

/// Labels of a container.
pub type Labels = BTreeMap<String, String>;

/// Who the container's processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserSpec {
    /// Numeric user id; never 0.
    pub uid: u32,
    /// Numeric group id.
    pub gid: u32,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MountSource {
    /// A path where the engine runs.
    HostPath(PathBuf),
    /// A volume that the engine manages, by name.
    Volume(String),
}

/// A declared volume of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where it appears in the container; absolute.
    pub target: PathBuf,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// A memory-backed directory. It counts towards the memory limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where it appears; absolute.
    pub target: PathBuf,
    /// Its size limit in bytes.
    pub size_bytes: u64,
}

/// What the container can reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Network {
    /// The runtime's own network: out to the world, in only through published ports, not to other runners.
    #[default]
    Isolated,
    /// No network at all.
    None,
    /// A network that exists on the engine, by its name. The operator must have allowed it in the adapter's
    /// configuration: what else is on it, and what it reaches, is theirs to know.
    Named(String),
}

/// A container to create. Security is not listed: an adapter applies the whole default profile of the design
/// (non-root, read-only root, no capabilities, no new privileges, default seccomp, loopback only) to every spec,
/// but for the [`grants`](Self::grants) that its operator has allowed.
///
/// Build with [`ContainerSpec::new`], set fields, and let the adapter call [`validate`](Self::validate) before it
/// talks to an engine.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// Name, unique on the engine.
    pub name: String,
    /// Image to run.
    pub image: ImageRef,
    /// Who its processes are.
    pub user: UserSpec,
    /// Labels, by which it is found again.
    pub labels: Labels,
    /// Environment. Everybody who may inspect the container reads it: never a secret.
    pub env: BTreeMap<String, String>,
    /// Arguments for the image's entry point; the image's own if `None`.
    pub command: Option<Vec<String>>,
    /// Declared volumes.
    pub mounts: Vec<Mount>,
    /// Memory-backed directories.
    pub tmpfs: Vec<Tmpfs>,
    /// TCP ports of the container to publish on the loopback address, each on a port that the engine chooses.
    pub ports: Vec<u16>,
    /// Limits.
    pub resources: Resources,
    /// What it can reach.
    pub network: Network,
    /// The platform that the image must be for; the engine's own if `None`.
    pub platform: Option<Platform>,
    /// What it asks for beyond the default profile.
    pub grants: Grants,
}

impl ContainerSpec {
    /// A spec with nothing mounted or published, default limits and the isolated network.
    pub fn new(name: impl Into<String>, image: ImageRef, user: UserSpec) -> Self {
        Self {
            name: name.into(),
            image,
            user,
            labels: Labels::new(),
            env: BTreeMap::new(),
            command: None,
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            ports: Vec::new(),
            resources: Resources::default(),
            network: Network::Isolated,
            platform: None,
            grants: Grants::default(),
        }
    }

    /// Refuses a spec that no engine should be asked to create. Looks only at the spec: whether a host path may
    /// be mounted is for the adapter, which can see through symbolic links.
    pub fn validate(&self) -> Result<()> {
        let refuse = |message: String, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "check the container spec", message).with_hint(hint))
        };
        let mut bytes = self.name.bytes();
        let name_ok = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
            && self.name.len() > 1
            && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !name_ok {
            return refuse(
                format!("{:?} is not a container name", self.name),
                "use letters, digits, '_', '.' and '-', beginning with a letter or digit",
            );
        }
        if self.user.uid == 0 {
            return refuse(
                "user 0 would be root in the container".to_owned(),
                "give the workspace an owner other than root",
            );
        }
        for key in self.env.keys() {
            if key.is_empty() || key.contains(['=', '\0']) {
                return refuse(format!("{key:?} is not a variable name"), "leave out '=' and NUL");
            }
        }
        if let Some((key, _)) = self.env.iter().find(|(_, value)| value.contains('\0')) {
            return refuse(format!("the value of {key} has a NUL byte"), "leave it out");
        }
        let mut targets: Vec<&Path> = Vec::new();
        for target in self.mounts.iter().map(|m| &m.target).chain(self.tmpfs.iter().map(|t| &t.target)) {
            let plain = target.is_absolute()
                && target.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
                && target.parent().is_some();
            if !plain {
                return refuse(
                    format!("{} cannot be a mount target", target.display()),
                    "use an absolute path without '..', other than '/'",
                );
            }
            if targets.contains(&target.as_path()) {
                return refuse(format!("{} is mounted twice", target.display()), "mount it once");
            }
            targets.push(target);
        }
        for mount in &self.mounts {
            if let MountSource::HostPath(path) = &mount.source
                && !path.is_absolute()
            {
                return refuse(
                    format!("the mount source {} is relative", path.display()),
                    "use an absolute path",
                );
            }
        }
        if self.ports.contains(&0) {
            return refuse("port 0 cannot be published".to_owned(), "name the server's port");
        }
        self.resources.validate()
    }
}

/// The state of a container, as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerState {
    /// Created and not started.
    Created,
    /// Its first process runs.
    Running,
    /// Frozen.
    Paused,
    /// Ended.
    Exited(ExitStatus),
    /// Being removed.
    Removing,
    /// A state this library does not know. It is never taken for "gone".
    Unknown(String),
}

/// A port of a container and where it can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// The port inside.
    pub container: u16,
    /// The address outside.
    pub address: SocketAddr,
}

/// What a container is right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerInfo {
    /// The engine's id.
    pub id: ContainerId,
    /// Its name, without a leading slash.
    pub name: String,
    /// Its state.
    pub state: ContainerState,
    /// Its labels.
    pub labels: Labels,
    /// Where its published ports can be reached; empty unless it runs. Valid for this start of it only: the engine
    /// chooses anew at the next.
    pub ports: Vec<PublishedPort>,
    /// When it was created, by the engine's clock, where it tells; a list may tell whole seconds only.
    pub created_at: Option<SystemTime>,
    /// When it was last started, by the engine's clock, where it tells; a list need not. Another value than before
    /// means that it was restarted.
    pub started_at: Option<SystemTime>,
}

/// How patient a stop is, and why it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopOptions {
    /// Time between the signal and the kill.
    pub grace: Duration,
    /// Why; kept as the reason of the container's end.
    pub why: StopReason,
}

impl StopOptions {
    /// A stop that was asked for.
    pub fn new(grace: Duration) -> Self {
        Self { grace, why: StopReason::Requested }
    }

    /// The same for another reason.
    #[must_use]
    pub fn because(mut self, why: StopReason) -> Self {
        self.why = why;
        self
    }
}

/// What came of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOutcome {
    /// It did not run: it had ended by itself, was never started, or was being removed.
    NotRunning,
    /// There is no such container.
    Gone,
    /// It gave way to its stop signal.
    Stopped,
    /// It did not give way within the grace and was killed.
    KilledAfterGrace,
}

/// A container that neither a kill nor a forced removal has ended. Something on the host holds it: a process that
/// hangs in the kernel, a busy mount, an engine that has lost it.
#[derive(Debug, Clone)]
pub struct StuckContainer {
    /// Which.
    pub id: ContainerId,
    /// Since when, by our clock.
    pub since: SystemTime,
    /// How often ending it has failed.
    pub attempts: u32,
    /// What the last attempt ran into.
    pub error: Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ContainerSpec {
        ContainerSpec::new("cnap-runner-t", "img".parse().unwrap(), UserSpec { uid: 10001, gid: 10001 })
    }

    fn bind(source: &str, target: &str) -> Mount {
        Mount { source: MountSource::HostPath(source.into()), target: target.into(), read_only: false }
    }

    #[test]
    fn a_plain_spec_is_valid() {
        let mut s = spec();
        s.mounts.push(bind("/a:b,c d", "/workspace"));
        s.tmpfs.push(Tmpfs { target: "/tmp".into(), size_bytes: 1 });
        s.env.insert("A".into(), "b=c\n".into());
        s.ports.push(4096);
        s.validate().unwrap();
    }

    #[test]
    fn what_must_not_reach_an_engine_is_refused() {
        type Break = fn(&mut ContainerSpec);
        let cases: [(&str, Break); 14] = [
            ("empty name", |s| s.name.clear()),
            ("name with a slash", |s| s.name = "a/b".into()),
            ("name that is an option", |s| s.name = "-a".into()),
            ("root", |s| s.user.uid = 0),
            ("variable with =", |s| drop(s.env.insert("A=B".into(), "c".into()))),
            ("value with NUL", |s| drop(s.env.insert("A".into(), "c\0".into()))),
            ("relative target", |s| s.mounts.push(bind("/a", "b"))),
            ("target is the root", |s| s.mounts.push(bind("/a", "/"))),
            ("target with ..", |s| s.mounts.push(bind("/a", "/b/../etc"))),
            ("relative source", |s| s.mounts.push(bind("a", "/b"))),
            ("two mounts on one target", |s| s.mounts.extend([bind("/a", "/b"), bind("/c", "/b")])),
            ("a tmpfs over a mount", |s| {
                s.mounts.push(bind("/a", "/b"));
                s.tmpfs.push(Tmpfs { target: "/b".into(), size_bytes: 1 });
            }),
            ("port 0", |s| s.ports.push(0)),
            ("too little memory", |s| s.resources.memory_bytes = 1),
        ];
        for (name, break_it) in cases {
            let mut s = spec();
            break_it(&mut s);
            let e = s.validate().expect_err(name);
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{name}");
            assert!(e.hint().is_some(), "{name} has no way out");
        }
    }
}
