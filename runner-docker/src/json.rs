//! The engine's documents, as far as they are read. Lenient on purpose: words that this library does not know stay
//! words, absent and null fields are empty. Only what identifies a thing is required, because a reply to a wrong
//! request would otherwise look like an empty one.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A container as `inspect` describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) created: String,
    pub(crate) state: State,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Config,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct State {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) exit_code: i64,
    #[serde(rename = "OOMKilled", default, deserialize_with = "or_default")]
    pub(crate) oom_killed: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) error: String,
    /// The year 1 where it has not happened.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) started_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) finished_at: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) network_mode: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) port_bindings: BTreeMap<String, Option<Vec<Binding>>>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) mounts: Vec<HostMount>,
    /// Mounts in their old form, `source:target:options`.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) binds: Vec<String>,
}

/// A mount, as it was asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostMount {
    #[serde(rename = "Type", default, deserialize_with = "or_default")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) source: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ports: BTreeMap<String, Option<Vec<Binding>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Binding {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_ip: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_port: String,
}

/// A container as `list` describes it: shorter, and in other words.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) names: Vec<String>,
    /// Seconds since 1970.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) created: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) state: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) ports: Vec<SummaryPort>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SummaryPort {
    #[serde(rename = "IP", default, deserialize_with = "or_default")]
    pub(crate) ip: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) private_port: u16,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) public_port: u16,
    #[serde(rename = "Type", default, deserialize_with = "or_default")]
    pub(crate) protocol: String,
}

/// An image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Image {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) os: String,
}

/// A network.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) created: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) driver: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "IPAM", default, deserialize_with = "or_default")]
    pub(crate) ipam: Ipam,
    /// Attached endpoints; only `inspect` tells them, and only of running containers.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) containers: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Ipam {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Vec<IpamConfig>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct IpamConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) gateway: String,
}

/// The answer to a network's creation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Created {
    pub(crate) id: String,
}

/// The engine's version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Version {
    #[serde(rename = "Version")]
    pub(crate) product: String,
    #[serde(rename = "ApiVersion")]
    pub(crate) api: String,
    #[serde(rename = "MinAPIVersion", default, deserialize_with = "or_default")]
    pub(crate) oldest_api: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) components: Vec<Component>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Component {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
}

/// What the engine is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "the engine's document has them")]
pub(crate) struct Info {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) security_options: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) docker_root_dir: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) cgroup_version: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) driver: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) live_restore_enabled: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) memory_limit: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) swap_limit: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) pids_limit: bool,
    /// The engine writes `CpuCfsQuota`, its documentation `CPUCfsQuota`.
    #[serde(alias = "CPUCfsQuota", default, deserialize_with = "or_default")]
    pub(crate) cpu_cfs_quota: bool,
    #[serde(rename = "NCPU", default, deserialize_with = "or_default")]
    pub(crate) cpus: u32,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) mem_total: u64,
    /// By name; what is behind a name is the engine's affair.
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) runtimes: serde_json::Map<String, serde_json::Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) system_time: String,
}
