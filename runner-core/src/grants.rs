//! What a container may be given beyond the default profile.
//!
//! Two keys open the door: a spec asks ([`Grants`]), and whoever operates the engine has allowed it in the adapter's
//! configuration. Everything that is not listed here cannot be asked for at all: privileged mode, the host's
//! namespaces, another seccomp profile, root.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A kernel capability that can be granted. Those that amount to root on the host (`SYS_ADMIN`, `SYS_MODULE`,
/// `SYS_RAWIO`, `DAC_READ_SEARCH`, `BPF`, …) have no name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// Change owners of files.
    Chown,
    /// Pass over file permissions.
    DacOverride,
    /// Act as owner of any file.
    Fowner,
    /// Keep set-id bits.
    Fsetid,
    /// Signal processes of other users.
    Kill,
    /// Change group ids.
    Setgid,
    /// Change user ids.
    Setuid,
    /// Bind ports below 1024.
    NetBindService,
    /// Open raw sockets, as `ping` does.
    NetRaw,
    /// Configure the container's own network.
    NetAdmin,
    /// Change the root directory.
    SysChroot,
    /// Trace processes, as debuggers do.
    SysPtrace,
    /// Raise priorities.
    SysNice,
    /// Lock memory.
    IpcLock,
}

impl Capability {
    /// All of them, by their kernel names without the prefix `CAP_`.
    const NAMES: [(Self, &'static str); 14] = [
        (Self::Chown, "CHOWN"),
        (Self::DacOverride, "DAC_OVERRIDE"),
        (Self::Fowner, "FOWNER"),
        (Self::Fsetid, "FSETID"),
        (Self::Kill, "KILL"),
        (Self::Setgid, "SETGID"),
        (Self::Setuid, "SETUID"),
        (Self::NetBindService, "NET_BIND_SERVICE"),
        (Self::NetRaw, "NET_RAW"),
        (Self::NetAdmin, "NET_ADMIN"),
        (Self::SysChroot, "SYS_CHROOT"),
        (Self::SysPtrace, "SYS_PTRACE"),
        (Self::SysNice, "SYS_NICE"),
        (Self::IpcLock, "IPC_LOCK"),
    ];
}

/// The kernel's name without the prefix, as engines want it.
impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(capability, _)| capability == self).map(|(_, name)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

/// Reads `NET_RAW`, `CAP_NET_RAW` or `net_raw`.
impl FromStr for Capability {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self> {
        let upper = value.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let found = Self::NAMES.iter().find(|(_, known)| *known == name).map(|(capability, _)| *capability);
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::NAMES.iter().map(|(_, name)| *name).collect();
            Error::new(
                ErrorKind::InvalidInput,
                "read a capability",
                format!("{value:?} is not a capability that can be granted"),
            )
            .with_hint(format!("one of {}", known.join(", ")))
        })
    }
}

/// A device of the engine's host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Its path on the host, below `/dev`; it appears under the same path inside.
    pub path: PathBuf,
    /// Whether it may be written to as well as read. Device files are never made anew.
    pub writable: bool,
}

/// What one container asks for beyond the default profile. Empty by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Another OCI runtime by the name that the engine knows it by, such as `runsc` (gVisor) or `kata`. It changes
    /// what isolates the container, so it is the operator's to allow.
    pub oci_runtime: Option<String>,
    /// Capabilities. They raise what the container's processes can get at most, and give nothing by themselves:
    /// processes that are not root have none (measured). A program that carries file capabilities or is set-uid root
    /// gets those that are granted, and only if [`new_privileges`](Self::new_privileges) is granted, too; without it
    /// such a program runs as any other. A program with a file capability that is not granted does not run at all.
    pub capabilities: BTreeSet<Capability>,
    /// Devices. Each keeps the owner and the permissions that its file has on the host: one that only root may open
    /// is there and cannot be opened.
    pub devices: BTreeSet<Device>,
    /// Whether programs in it may gain privileges (set-uid, file capabilities).
    pub new_privileges: bool,
}

impl Grants {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_and_shown_and_the_dangerous_have_no_name() {
        for (text, want) in [("NET_RAW", Capability::NetRaw), ("cap_sys_ptrace", Capability::SysPtrace)] {
            assert_eq!(text.parse::<Capability>().unwrap(), want);
        }
        for (capability, name) in Capability::NAMES {
            assert_eq!(capability.to_string(), name);
            assert_eq!(name.parse::<Capability>().unwrap(), capability);
        }
        for bad in ["ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF", "", "CAP_"] {
            let e = bad.parse::<Capability>().expect_err(bad);
            assert!(e.hint().is_some_and(|hint| hint.contains("NET_RAW")), "{e}");
        }
    }
}
