//! A domain spec → the engine's request, always with the whole security profile. Pure.
//!
//! Every field that matters for safety is set here, in one place and last, from constants: there is no hook that
//! could undo it.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, PortBinding, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};
use runner_core::container::{Network, Tmpfs};
use runner_core::{ContainerSpec, Error, ErrorKind, Result};

use crate::config::LogLimits;
use crate::mounts::{AllowedMount, AllowedSource};

/// What a tmpfs is mounted with. Executable on purpose: agents build and run things in their scratch space, and
/// could do so in the workspace anyway. Set-uid programs and device files have no business there.
const TMPFS_OPTIONS: &str = "rw,nosuid,nodev,exec,mode=1777";

/// The request for a container. `mounts` have passed the deny list; `network` is the isolated network's name.
pub(crate) fn request(
    spec: &ContainerSpec,
    mounts: &[AllowedMount],
    network: &str,
    logs: &LogLimits,
) -> Result<ContainerCreateBody> {
    let network_mode = match spec.network {
        Network::Isolated => network,
        Network::None if spec.ports.is_empty() => "none",
        Network::None => {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "create a container",
                "ports cannot be published without a network",
            )
            .with_hint("leave out the ports, or use the isolated network"));
        }
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "create a container",
                format!("the network {:?} is not supported on a Docker engine", spec.network),
            ));
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
        host_config: Some(host_config(spec, mounts, network_mode, logs)),
        ..ContainerCreateBody::default()
    })
}

fn host_config(
    spec: &ContainerSpec,
    mounts: &[AllowedMount],
    network_mode: &str,
    logs: &LogLimits,
) -> HostConfig {
    let limits = spec.resources;
    let memory = i64::try_from(limits.memory_bytes).unwrap_or(i64::MAX);
    let nofile = i64::from(limits.nofile);
    HostConfig {
        // Who may do what.
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        // Nothing about seccomp: the engine's default profile stays.
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
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
        ulimits: Some(vec![ulimit("nofile", nofile), ulimit("core", 0)]),
        // Life and death: the controller decides about restarts and removal, and an init reaps orphans and passes
        // signals on.
        init: Some(true),
        auto_remove: Some(false),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            ..RestartPolicy::default()
        }),
        log_config: Some(log_config(logs)),
        // In and out.
        network_mode: Some(network_mode.to_owned()),
        publish_all_ports: Some(false),
        port_bindings: Some(
            spec.ports.iter().map(|port| (format!("{port}/tcp"), Some(on_loopback()))).collect(),
        ),
        // Never `Binds`: its text breaks on ':' and creates missing directories, owned by root.
        mounts: Some(mounts.iter().map(mount).collect()),
        tmpfs: Some(spec.tmpfs.iter().map(tmpfs).collect()),
        ..HostConfig::default()
    }
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

#[cfg(test)]
mod tests {
    use runner_core::container::UserSpec;

    use super::*;

    fn spec() -> ContainerSpec {
        let mut spec = ContainerSpec::new("n1", "img:1".parse().unwrap(), UserSpec { uid: 1001, gid: 1002 });
        spec.env.insert("A".into(), "b=c d".into());
        spec.labels.insert("k".into(), "v".into());
        spec.command = Some(vec!["sh".into(), "-c".into(), "exit 7".into()]);
        spec.tmpfs.push(Tmpfs { target: "/tmp".into(), size_bytes: 1024 });
        spec.ports.push(4096);
        spec
    }

    fn body(spec: &ContainerSpec) -> serde_json::Value {
        let mounts = [
            AllowedMount {
                source: AllowedSource::Directory("/data/a:b,c d".into()),
                target: "/workspace".into(),
                read_only: false,
            },
            AllowedMount {
                source: AllowedSource::Volume("cache".into()),
                target: "/cache".into(),
                read_only: true,
            },
        ];
        let request = request(spec, &mounts, "cnap-runner", &LogLimits::default()).unwrap();
        serde_json::to_value(request).unwrap()
    }

    #[test]
    fn the_whole_profile_is_on_every_request() {
        let body = body(&spec());
        // JSON pointer → value, as it goes over the wire.
        let wanted: &[(&str, serde_json::Value)] = &[
            ("/Image", "img:1".into()),
            ("/User", "1001:1002".into()),
            ("/Env", vec!["A=b=c d"].into()),
            ("/Cmd", vec!["sh", "-c", "exit 7"].into()),
            ("/Labels/k", "v".into()),
            ("/Tty", false.into()),
            ("/Healthcheck/Test", vec!["NONE"].into()),
            ("/HostConfig/Privileged", false.into()),
            ("/HostConfig/CapDrop", vec!["ALL"].into()),
            ("/HostConfig/SecurityOpt", vec!["no-new-privileges"].into()),
            ("/HostConfig/ReadonlyRootfs", true.into()),
            ("/HostConfig/IpcMode", "private".into()),
            ("/HostConfig/CgroupnsMode", "private".into()),
            ("/HostConfig/Memory", (1024 * 1024 * 1024).into()),
            ("/HostConfig/MemorySwap", (1024 * 1024 * 1024).into()),
            ("/HostConfig/NanoCpus", 1_000_000_000.into()),
            ("/HostConfig/PidsLimit", 256.into()),
            ("/HostConfig/Ulimits/0", serde_json::json!({"Name": "nofile", "Soft": 16384, "Hard": 16384})),
            ("/HostConfig/Ulimits/1", serde_json::json!({"Name": "core", "Soft": 0, "Hard": 0})),
            ("/HostConfig/Init", true.into()),
            ("/HostConfig/AutoRemove", false.into()),
            ("/HostConfig/RestartPolicy/Name", "no".into()),
            ("/HostConfig/LogConfig/Type", "json-file".into()),
            ("/HostConfig/LogConfig/Config/max-size", "10485760".into()),
            ("/HostConfig/LogConfig/Config/max-file", "2".into()),
            ("/HostConfig/NetworkMode", "cnap-runner".into()),
            ("/HostConfig/PublishAllPorts", false.into()),
            (
                "/HostConfig/PortBindings",
                serde_json::json!({"4096/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
            ),
            (
                "/HostConfig/Mounts/0",
                serde_json::json!({"Type": "bind", "Source": "/data/a:b,c d", "Target": "/workspace",
                    "ReadOnly": false, "BindOptions": {"Propagation": "rprivate"}}),
            ),
            (
                "/HostConfig/Mounts/1",
                serde_json::json!({"Type": "volume", "Source": "cache", "Target": "/cache", "ReadOnly": true}),
            ),
            ("/HostConfig/Tmpfs", serde_json::json!({"/tmp": "rw,nosuid,nodev,exec,mode=1777,size=1024"})),
        ];
        for (pointer, value) in wanted {
            assert_eq!(body.pointer(pointer), Some(value), "{pointer} in {body:#}");
        }
        // What would widen it is not there at all.
        for absent in [
            "Binds",
            "CapAdd",
            "Devices",
            "DeviceRequests",
            "VolumesFrom",
            "PidMode",
            "UTSMode",
            "UsernsMode",
            "OomKillDisable",
            "Sysctls",
            "GroupAdd",
            "Runtime",
            "MaskedPaths",
            "ReadonlyPaths",
        ] {
            assert_eq!(body.pointer(&format!("/HostConfig/{absent}")), None, "{absent}");
        }
    }

    #[test]
    fn no_command_leaves_the_images_own_and_no_network_means_none() {
        let mut spec = spec();
        spec.command = None;
        spec.network = Network::None;
        let refused = request(&spec, &[], "n", &LogLimits::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "a port nobody could reach");
        spec.ports.clear();
        let body = body(&spec);
        assert_eq!(body.get("Cmd"), None);
        assert_eq!(body.pointer("/HostConfig/NetworkMode"), Some(&"none".into()));
    }
}
