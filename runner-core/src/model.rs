//! Which language model a turn uses.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// A model, by provider and name.
///
/// Only the first `/` splits; with none the provider is `opencode`; white space around either part is trimmed;
/// an empty part is an error. These are the rules of the old interface, which controllers rely on.
///
/// ```
/// use runner_core::ModelId;
/// let m: ModelId = " openrouter/meta/llama-3 ".parse()?;
/// assert_eq!((m.provider(), m.model()), ("openrouter", "meta/llama-3"));
/// assert_eq!("gpt-5".parse::<ModelId>()?.provider(), "opencode");
/// assert!("".parse::<ModelId>().is_err() && "a/".parse::<ModelId>().is_err());
/// # Ok::<(), runner_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelId {
    provider: String,
    model: String,
}

/// The provider of a model string that names none.
const DEFAULT_PROVIDER: &str = "opencode";

impl ModelId {
    /// The provider's id, as in OpenCode's configuration.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The model's id at that provider.
    pub fn model(&self) -> &str {
        &self.model
    }
}

impl FromStr for ModelId {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self> {
        let (provider, model) = match value.split_once('/') {
            Some((provider, model)) => (provider.trim(), model.trim()),
            None => (DEFAULT_PROVIDER, value.trim()),
        };
        let missing = match (provider.is_empty(), model.is_empty()) {
            (false, false) => {
                return Ok(Self { provider: provider.to_owned(), model: model.to_owned() });
            }
            (true, _) => "provider",
            (false, true) => "model",
        };
        Err(Error::new(ErrorKind::InvalidInput, "read a model", format!("{value:?} names no {missing}"))
            .with_hint("write it as provider/model, for instance anthropic/claude-sonnet-4-5"))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_rules_hold() {
        for (text, provider, model) in
            [("a/b/c", "a", "b/c"), ("x", "opencode", "x"), ("  a / b ", "a", "b"), ("a//b", "a", "/b")]
        {
            let m: ModelId = text.parse().expect(text);
            assert_eq!((m.provider(), m.model()), (provider, model), "{text}");
        }
        for bad in ["", "  ", "/", "a/", "/b", " / b"] {
            let e = bad.parse::<ModelId>().expect_err(bad);
            assert_eq!(e.kind(), ErrorKind::InvalidInput);
        }
    }
}
