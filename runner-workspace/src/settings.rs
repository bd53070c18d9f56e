//! Layers of settings, merged. Pure.

use runner_core::AgentSettings;
use runner_core::layout::{KEYS_DIR, RUN};
use serde_json::{Map, Value, json};

use crate::error::WorkspaceError;

/// The built-in bottom layer.
const TEMPLATE: &str = include_str!("../../data/configs/opencode/opencode.json");

/// The whole configuration for one container. It holds references to key files and never a key.
pub(crate) fn resolve(
    template: Option<&Map<String, Value>>,
    settings: &AgentSettings,
) -> Result<Value, WorkspaceError> {
    let mut config = match template {
        Some(template) => template.clone(),
        None => serde_json::from_str(TEMPLATE).map_err(|source| WorkspaceError::Template { source })?,
    };
    merge(&mut config, &settings.config);
    if let Some(model) = &settings.model {
        config.insert("model".to_owned(), json!(model.to_string()));
    }
    for provider in settings.keys.keys() {
        check_provider_id(provider)?;
        let providers = object_in(&mut config, "provider", "provider")?;
        let entry = object_in(providers, provider, &format!("provider.{provider}"))?;
        let options = object_in(entry, "options", &format!("provider.{provider}.options"))?;
        options.insert("apiKey".to_owned(), json!(format!("{{file:{RUN}/{KEYS_DIR}/{provider}}}")));
    }
    Ok(Value::Object(config))
}

/// A provider's id becomes a file name.
fn check_provider_id(provider: &str) -> Result<(), WorkspaceError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let begins = provider.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if begins && provider.len() <= 64 && provider.bytes().all(plain) {
        return Ok(());
    }
    Err(WorkspaceError::ProviderId { provider: provider.chars().take(40).collect() })
}

/// Objects merge key by key; anything else is replaced, arrays too: an upper layer says the whole list.
fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge(base, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn object_in<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
    path: &str,
) -> Result<&'a mut Map<String, Value>, WorkspaceError> {
    let value = parent.entry(key).or_insert_with(|| Value::Object(Map::new()));
    value.as_object_mut().ok_or_else(|| WorkspaceError::NotAnObject { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use runner_core::Secret;

    use super::*;

    fn settings(config: Value) -> AgentSettings {
        let Value::Object(config) = config else { panic!("a test gives an object") };
        AgentSettings { config, ..AgentSettings::default() }
    }

    #[test]
    fn the_template_alone_lets_nothing_wait_for_a_person() {
        let config = resolve(None, &AgentSettings::default()).unwrap();
        assert_eq!(config["permission"], json!({"*": "allow", "question": "deny"}));
        assert_eq!(config["share"], "disabled");
        assert_eq!(config["autoupdate"], false);
        assert_eq!(config["snapshot"], false);
    }

    #[test]
    fn upper_layers_win_key_by_key_and_lists_are_replaced() {
        let template = json!({"a": {"x": 1, "y": [1, 2]}, "b": 1, "model": "old/m"});
        let mut over = settings(json!({"a": {"y": [3], "z": null}, "b": {"c": 1}}));
        over.model = Some("p/m".parse().unwrap());
        let config = resolve(template.as_object(), &over).unwrap();
        assert_eq!(config, json!({"a": {"x": 1, "y": [3], "z": null}, "b": {"c": 1}, "model": "p/m"}));
    }

    #[test]
    fn a_key_becomes_a_reference_to_its_file_and_is_nowhere_in_the_settings() {
        let mut s = settings(json!({"provider": {"stub": {"npm": "x", "options": {"baseURL": "u"}}}}));
        for provider in ["stub", "anthropic"] {
            s.keys.insert(provider.to_owned(), Secret::new("sk-planted"));
        }
        let config = resolve(None, &s).unwrap();
        assert_eq!(
            config["provider"],
            json!({
                "anthropic": {"options": {"apiKey": "{file:/run/runner/keys/anthropic}"}},
                "stub": {"npm": "x", "options": {"baseURL": "u", "apiKey": "{file:/run/runner/keys/stub}"}},
            })
        );
        assert!(!config.to_string().contains("sk-planted"));
    }

    #[test]
    fn what_cannot_be_settings_is_refused_by_name() {
        for bad in ["", "../x", "a/b", ".a", "a b", "a}b"] {
            let mut s = AgentSettings::default();
            s.keys.insert(bad.to_owned(), Secret::new("k"));
            assert!(matches!(resolve(None, &s), Err(WorkspaceError::ProviderId { .. })), "{bad:?}");
        }
        let mut s = settings(json!({"provider": {"a": 1}}));
        s.keys.insert("a".to_owned(), Secret::new("k"));
        let e = resolve(None, &s).unwrap_err();
        assert_eq!(e.to_string(), "the settings at provider.a should be an object");
    }
}
