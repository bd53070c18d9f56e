//! A domain spec → the engine's request, always with the whole security profile. Pure.
//!
//! Every field that matters for safety is set here, in one place and last, from constants: there is no hook that
//! could undo it. The only things that widen the profile come as [`Granted`], which the
//! policy alone makes.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, PortBinding,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use runner_core::container::{Network, Tmpfs};
use runner_core::{ContainerSpec, Error, ErrorKind, Result};

use crate::config::LogLimits;
use crate::create::OPERATION;
use crate::rules::approve::Approved;
use crate::rules::device::GrantedDevice;
use crate::rules::mounts::{AllowedMount, AllowedSource};
use crate::rules::policy::Granted;
use crate::rules::selinux::SelinuxPolicy;

/// What a tmpfs is mounted with. Executable on purpose: agents build and run things in their scratch space, and
/// could do so in the workspace anyway. Set-uid programs and device files have no business there.
const TMPFS_OPTIONS: &str = "rw,nosuid,nodev,exec,mode=1777";

/// Size of `/dev/shm`. Docker's own default, said aloud so that no engine's configuration changes it; it counts
/// towards the memory limit. A spec that needs another has a tmpfs there.
const SHM_BYTES: i64 = 64 * 1024 * 1024;

/// What one runtime does for all its containers alike.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The isolated network's name.
    pub(crate) network: String,
    pub(crate) logs: LogLimits,
    /// What it comes down to on this engine.
    pub(crate) selinux: SelinuxPolicy,
}

/// The request for a container: of the spec what needs no judgement, of the rest what was approved.
pub(crate) fn request(
    spec: &ContainerSpec,
    approved: &Approved,
    profile: &Profile,
) -> Result<ContainerCreateBody> {
    let refuse = |kind, message: &str, hint| Err(Error::new(kind, OPERATION, message).with_hint(hint));
    let network_mode = match (&spec.network, &approved.granted.network) {
        (Network::Isolated, _) => &profile.network,
        (Network::Named(asked), Some(granted)) if asked == granted => granted,
        (Network::None, _) if spec.ports.is_empty() => "none",
        (Network::None, _) => {
            return refuse(
                ErrorKind::InvalidInput,
                "ports cannot be published without a network",
                "leave out the ports, or use the isolated network",
            );
        }
        (other, _) => {
            return refuse(
                ErrorKind::Unsupported,
                &format!("the network {other:?} is not supported on a Docker engine"),
                "use the isolated network",
            );
        }
    };
    Ok(ContainerCreateBody {
        image: Some(spec.image.as_str().to_owned()),
        user: Some(format!("{}:{}", spec.user.uid, spec.user.gid)),
        env: Some(spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: spec.command.clone(),
        labels: Some(spec.labels.clone().into_iter().collect()),
        // A terminal would mix the two output streams and hold lines back.
        tty: Some(false),
        open_stdin: Some(false),
        attach_stdin: Some(false),
        // Readiness is proved from outside; a check that runs inside costs CPU in every idle container.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        host_config: Some(host_config(spec, approved, profile, network_mode)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(
    spec: &ContainerSpec,
    approved: &Approved,
    profile: &Profile,
    network_mode: &str,
) -> Result<HostConfig> {
    let granted = &approved.granted;
    let (binds, mounts) = mounts(&approved.mounts, profile.selinux)?;
    let limits = spec.resources;
    let memory = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
    let nofile = i64::from(limits.nofile);
    Ok(HostConfig {
        // Who may do what.
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: some(granted.capabilities.clone()),
        devices: some(granted.devices.iter().map(device).collect()),
        runtime: granted.oci_runtime.clone(),
        security_opt: Some(security_options(granted, profile.selinux)),
        readonly_rootfs: Some(true),
        // No namespace of the host's; process and user names are private unless asked otherwise.
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        // How much.
        memory: Some(memory),
        // Equal to memory means no swap at all, or the limit would be a wish.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(limits.cpu_millis) * 1_000_000),
        pids_limit: Some(i64::from(limits.pids)),
        shm_size: Some(SHM_BYTES),
        ulimits: Some(vec![ulimit("nofile", nofile), ulimit("core", 0)]),
        // Life and death: the controller decides about restarts and removal, and an init reaps orphans and passes
        // signals on.
        init: Some(true),
        auto_remove: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            ..RestartPolicy::default()
        }),
        log_config: Some(log_config(&profile.logs)),
        // In and out.
        network_mode: Some(network_mode.to_owned()),
        publish_all_ports: Some(false),
        port_bindings: Some(
            spec.ports.iter().map(|port| (format!("{port}/tcp"), Some(on_loopback()))).collect(),
        ),
        binds: some(binds),
        mounts: Some(mounts),
        tmpfs: Some(spec.tmpfs.iter().map(tmpfs).collect()),
        ..HostConfig::default()
    })
}

/// What is empty is not sent at all.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// Nothing about seccomp: the engine's default profile stays.
fn security_options(granted: &Granted, selinux: SelinuxPolicy) -> Vec<String> {
    let mut options = Vec::new();
    if !granted.new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    if selinux == SelinuxPolicy::DisableLabel {
        options.push("label=disable".to_owned());
    }
    options
}

fn device(device: &GrantedDevice) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.path.clone()),
        path_in_container: Some(device.path.clone()),
        cgroup_permissions: Some(device.permissions.to_owned()),
    }
}

/// Mounts, as `Binds` where the engine is to label them, which that form alone can ask for, and else never: its text
/// breaks on ':', and it creates missing directories, owned by root.
fn mounts(mounts: &[AllowedMount], selinux: SelinuxPolicy) -> Result<(Vec<String>, Vec<Mount>)> {
    let (mut labelled, mut plain) = (Vec::new(), Vec::new());
    for allowed in mounts {
        match selinux.bind(allowed)? {
            Some(text) => labelled.push(text),
            None => plain.push(mount(allowed)),
        }
    }
    Ok((labelled, plain))
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

/// On the loopback address, on a port that the engine chooses: there is no moment at which another process could
/// take it.
fn on_loopback() -> Vec<PortBinding> {
    vec![PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) }]
}

/// `json-file` rather than `local`. Both break lines of more than 16 KiB (measured on 20.10.24): json-file loses
/// the one character at the cut, local the line break at the end, which glues two records together. And json-file
/// is what every engine has.
fn log_config(limits: &LogLimits) -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(HashMap::from([
            ("max-size".to_owned(), limits.file_bytes.max(1).to_string()),
            ("max-file".to_owned(), limits.files.max(1).to_string()),
        ])),
    }
}

fn mount(mount: &AllowedMount) -> Mount {
    let (typ, source, bind_options) = match &mount.source {
        AllowedSource::Directory(path) => {
            let options = MountBindOptions {
                // Mounts made inside stay inside, and the other way round.
                propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
                ..MountBindOptions::default()
            };
            (MountType::BIND, path.clone(), Some(options))
        }
        AllowedSource::Volume(name) => (MountType::VOLUME, name.clone(), None),
    };
    Mount {
        typ: Some(typ),
        source: Some(source),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        bind_options,
        ..Mount::default()
    }
}

fn tmpfs(tmpfs: &Tmpfs) -> (String, String) {
    (tmpfs.target.display().to_string(), format!("{TMPFS_OPTIONS},size={}", tmpfs.size_bytes))
}
