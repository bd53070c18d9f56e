//! What an agent is configured with.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::model::ModelId;
use crate::secret::Secret;

/// Settings of an agent, laid over the templates.
#[derive(Debug, Clone, Default)]
pub struct AgentSettings {
    /// The model of turns that name none.
    pub model: Option<ModelId>,
    /// More of the server's own configuration, merged over the template: objects key by key, everything else
    /// replaced. Never a secret: see `keys`.
    pub config: Map<String, Value>,
    /// API keys by provider id. They reach the server as files and appear in no configuration.
    pub keys: BTreeMap<String, Secret>,
}
