//! Which engine, and how it is used.

use crate::budget::Budgets;
use crate::host::DockerHost;
use crate::rules::mounts::PathMapping;
use crate::rules::policy::AllowedGrants;
use crate::rules::selinux::SelinuxPolicy;

const MIB: u64 = 1024 * 1024;

/// What a [`DockerRuntime`](crate::DockerRuntime) needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerConfig {
    /// Where the engine listens.
    pub host: DockerHost,
    /// Name of the network that isolated containers share. Controllers that use the same name share the network;
    /// it is made when first needed and never taken over from somebody else.
    pub network: String,
    /// How long calls may take.
    pub budgets: Budgets,
    /// Limits of what an engine keeps of a container's output, and of what is read from it.
    pub logs: LogLimits,
    /// Short calls in flight at once. Each is a connection of its own, so this bounds open files here and work in
    /// progress there. Streams, stops and pulls, which wait rather than work, are not counted.
    pub max_calls: usize,
    /// What specs may ask for beyond the default profile. Nothing, unless it is said here.
    pub allowed: AllowedGrants,
    /// What the engine calls the directories that are mounted, where that is not what this process calls them: the
    /// controller runs in a container, or shares its files with the engine's host. The longest prefix wins. If there
    /// is any entry, a directory that none covers is refused: nobody knows what it is to the engine. See
    /// [`DockerRuntime::check_visible`](crate::DockerRuntime::check_visible).
    pub path_map: Vec<PathMapping>,
    /// What is done about mounted directories where the engine labels its containers for SELinux.
    pub selinux: SelinuxPolicy,
}

impl Default for DockerConfig {
    fn default() -> Self {
        Self {
            host: DockerHost::default(),
            network: "cnap-runner".to_owned(),
            budgets: Budgets::default(),
            logs: LogLimits::default(),
            // Far above what one host's lifecycle needs, far below the usual 1,024 open files.
            max_calls: 64,
            allowed: AllowedGrants::default(),
            path_map: Vec::new(),
            selinux: SelinuxPolicy::Leave,
        }
    }
}

/// Limits of container output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Size of one log file on the engine before it is rotated.
    pub file_bytes: u64,
    /// Log files kept per container.
    pub files: u32,
    /// Longest line delivered; the rest of a longer one is dropped and the line marked.
    pub line_bytes: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            // An OpenCode server writes kilobytes; 2 × 10 MiB hold a runaway tool's last output and cap the disk.
            file_bytes: 10 * MIB,
            files: 2,
            // Four of the engine's own 16 KiB fragments: longer than any line a person reads.
            line_bytes: 64 * 1024,
        }
    }
}
