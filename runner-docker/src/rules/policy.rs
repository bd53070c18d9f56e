//! What a container may have beyond the default profile: what its spec asks for and its operator has allowed.
//!
//! [`Granted`] is made here and nowhere else, and `spec.rs` adds nothing to the profile that is not in it. There is no
//! way to ask for anything else: privileged mode, the host's namespaces, another seccomp profile, root, a port on
//! another address than loopback.

use std::collections::BTreeSet;

use runner_core::container::Network;
use runner_core::grants::{Capability, Device, Grants};
use runner_core::{Error, ErrorKind, Result};

use crate::rules::device::{self, GrantedDevice};
use crate::rules::named_network;

const OPERATION: &str = "check the grants";

/// What whoever operates the engine allows specs to ask for. Nothing by default.
///
/// Each entry is a decision about the host. An OCI runtime replaces what isolates the container; a capability is
/// more kernel to attack; a device is as dangerous as its driver; on a network a container reaches what else is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedGrants {
    /// OCI runtimes, by the names that the engine knows them by.
    pub oci_runtimes: BTreeSet<String>,
    /// Capabilities.
    pub capabilities: BTreeSet<Capability>,
    /// Devices. One that is allowed writable may also be had read-only. Disks, the host's memory, terminals, keyboards
    /// and the like are refused even here.
    pub devices: BTreeSet<Device>,
    /// Networks of the engine, by name; never the host's own or the engine's default ones.
    pub networks: BTreeSet<String>,
    /// Whether programs may gain privileges (set-uid, file capabilities).
    pub new_privileges: bool,
}

/// What one container gets beyond the default profile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) oci_runtime: Option<String>,
    /// Kernel names without `CAP_`.
    pub(crate) capabilities: Vec<String>,
    pub(crate) devices: Vec<GrantedDevice>,
    /// Another network than the runners' own.
    pub(crate) network: Option<String>,
    pub(crate) new_privileges: bool,
}

/// The judge, for one engine.
#[derive(Debug)]
pub(crate) struct Policy {
    allowed: AllowedGrants,
    /// Those that the engine has.
    oci_runtimes: BTreeSet<String>,
    /// The runners' own network.
    own_network: String,
    /// Whether the engine's devices are ours to look at.
    same_host: bool,
}

impl Policy {
    /// Refuses a configuration that allows what is never given.
    pub(crate) fn new(
        allowed: AllowedGrants,
        oci_runtimes: BTreeSet<String>,
        own_network: String,
        same_host: bool,
    ) -> Result<Self> {
        for name in &allowed.networks {
            named_network::check_name(OPERATION, name)?;
        }
        for device in &allowed.devices {
            device::check_name(&device.path)?;
        }
        Ok(Self { allowed, oci_runtimes, own_network, same_host })
    }

    /// Judges what a spec asks for. Looks at devices, so it may block.
    pub(crate) fn judge(&self, asked: &Grants, network: &Network) -> Result<Granted> {
        let capabilities = &asked.capabilities;
        if let Some(more) = capabilities.difference(&self.allowed.capabilities).next() {
            return Err(denied(&format!("the capability {more}"), "capabilities"));
        }
        if asked.new_privileges && !self.allowed.new_privileges {
            return Err(denied("gaining privileges", "new_privileges"));
        }
        Ok(Granted {
            oci_runtime: asked.oci_runtime.as_deref().map(|name| self.oci_runtime(name)).transpose()?,
            capabilities: capabilities.iter().map(Capability::to_string).collect(),
            devices: asked.devices.iter().map(|device| self.device(device)).collect::<Result<_>>()?,
            network: match network {
                Network::Named(name) => Some(self.network(name)?),
                _ => None,
            },
            new_privileges: asked.new_privileges,
        })
    }

    fn oci_runtime(&self, name: &str) -> Result<String> {
        if !self.allowed.oci_runtimes.contains(name) {
            return Err(denied(&format!("the OCI runtime {name:?}"), "oci_runtimes"));
        }
        if !self.oci_runtimes.contains(name) {
            let known: Vec<&str> = self.oci_runtimes.iter().map(String::as_str).collect();
            let message = format!("the engine has no OCI runtime {name:?}, only {}", known.join(", "));
            return Err(Error::new(ErrorKind::Unsupported, OPERATION, message)
                .with_hint("add it to the engine's configuration and connect again, or ask for another"));
        }
        Ok(name.to_owned())
    }

    fn device(&self, device: &Device) -> Result<GrantedDevice> {
        let path = device::check_name(&device.path)?;
        let covers = |allowed: &Device| allowed.path == device.path && (allowed.writable || !device.writable);
        if !self.allowed.devices.iter().any(covers) {
            let how = if device.writable { "writable " } else { "" };
            return Err(denied(&format!("the {how}device {path}"), "devices"));
        }
        if self.same_host {
            device::check_node(&device.path)?;
        }
        Ok(GrantedDevice { path, permissions: if device.writable { "rw" } else { "r" } })
    }

    fn network(&self, name: &str) -> Result<String> {
        named_network::check_name(OPERATION, name)?;
        if name == self.own_network {
            let message = format!("{name:?} is the runners' own network");
            return Err(Error::new(ErrorKind::InvalidInput, OPERATION, message)
                .with_hint("ask for the isolated network instead"));
        }
        if !self.allowed.networks.contains(name) {
            return Err(denied(&format!("the network {name:?}"), "networks"));
        }
        Ok(name.to_owned())
    }
}

fn denied(what: &str, field: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, OPERATION, format!("{what} is not allowed here")).with_hint(
        format!(
            "whoever operates the engine can allow it in DockerConfig::allowed.{field}; else do without it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, writable: bool) -> Device {
        Device { path: path.into(), writable }
    }

    fn allowed() -> AllowedGrants {
        AllowedGrants {
            oci_runtimes: ["runsc", "kata"].map(str::to_owned).into(),
            capabilities: [Capability::NetRaw].into(),
            devices: [device("/dev/null", true), device("/dev/zero", false)].into(),
            networks: ["services".to_owned()].into(),
            new_privileges: true,
        }
    }

    fn policy(allowed: AllowedGrants) -> Policy {
        Policy::new(allowed, ["runc", "runsc"].map(str::to_owned).into(), "own".into(), true).unwrap()
    }

    #[test]
    fn what_is_asked_for_and_allowed_is_granted_and_nothing_else() {
        let asked = Grants {
            oci_runtime: Some("runsc".into()),
            capabilities: [Capability::NetRaw].into(),
            devices: [device("/dev/null", false), device("/dev/zero", false)].into(),
            new_privileges: true,
        };
        let granted = policy(allowed()).judge(&asked, &Network::Named("services".into())).unwrap();
        let given = |path: &str| GrantedDevice { path: path.into(), permissions: "r" };
        let want = Granted {
            oci_runtime: Some("runsc".into()),
            capabilities: vec!["NET_RAW".into()],
            devices: vec![given("/dev/null"), given("/dev/zero")],
            network: Some("services".into()),
            new_privileges: true,
        };
        assert_eq!(granted, want);
        // Allowed is not granted.
        let nothing = policy(allowed()).judge(&Grants::default(), &Network::Isolated).unwrap();
        assert_eq!(nothing, Granted::default());
    }

    #[test]
    fn each_grant_needs_the_operators_key() {
        let none = Grants::default();
        let cases = [
            (Grants { oci_runtime: Some("runsc".into()), ..none.clone() }, "oci_runtimes"),
            (Grants { capabilities: [Capability::NetRaw].into(), ..none.clone() }, "capabilities"),
            (Grants { devices: [device("/dev/null", false)].into(), ..none.clone() }, "devices"),
            (Grants { new_privileges: true, ..none.clone() }, "new_privileges"),
        ];
        for (asked, field) in cases {
            let e = policy(AllowedGrants::default()).judge(&asked, &Network::Isolated).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e}");
            assert!(e.hint().is_some_and(|hint| hint.contains(&format!("allowed.{field};"))), "{e}");
        }
        let e =
            policy(AllowedGrants::default()).judge(&none, &Network::Named("services".into())).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e}");
        // One key opens one door.
        for asked in [
            Grants { capabilities: [Capability::NetRaw, Capability::NetAdmin].into(), ..none.clone() },
            Grants { devices: [device("/dev/zero", true)].into(), ..none.clone() },
            Grants { devices: [device("/dev/full", false)].into(), ..none.clone() },
            Grants { oci_runtime: Some("runc".into()), ..none.clone() },
        ] {
            let e = policy(allowed()).judge(&asked, &Network::Isolated).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{asked:?}: {e}");
        }
    }

    #[test]
    fn a_runtime_that_the_engine_does_not_have_is_refused_with_those_it_has() {
        let asked = Grants { oci_runtime: Some("kata".into()), ..Grants::default() };
        let e = policy(allowed()).judge(&asked, &Network::Isolated).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.message().contains("runc, runsc"), "{e}");
    }

    #[test]
    fn the_host_cannot_be_allowed() {
        for name in ["host", "bridge", "none", "container:abc", "default", "docker_gwbridge"] {
            let hostile = AllowedGrants { networks: [name.to_owned()].into(), ..AllowedGrants::default() };
            let made = Policy::new(hostile, BTreeSet::new(), "own".into(), true);
            assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            let e = policy(allowed()).judge(&Grants::default(), &Network::Named(name.into())).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{name}");
        }
        let own = policy(allowed()).judge(&Grants::default(), &Network::Named("own".into())).unwrap_err();
        assert!(own.message().contains("own network"), "{own}");
        for path in ["/dev/mem", "/dev/sda1", "/dev/nvme0n1"] {
            let hostile = AllowedGrants { devices: [device(path, false)].into(), ..AllowedGrants::default() };
            assert!(Policy::new(hostile, BTreeSet::new(), "own".into(), true).is_err(), "{path}");
        }
    }
}
