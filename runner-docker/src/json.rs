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
pub(crate) struct Info {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) security_options: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) docker_root_dir: String,
}
