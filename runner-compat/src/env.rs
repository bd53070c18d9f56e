//! The one place that reads the environment, once.

use std::collections::BTreeMap;
use std::fmt;

use runner_core::{Error, ErrorKind, Result, Secret};

/// A snapshot of environment variables; tests make their own. `Debug` shows names only: values may be keys.
///
/// ```
/// let env = runner_compat::Environment::from_iter([("CNAP_RUNNER_IMAGE", "agent:1")]);
/// assert_eq!(env.text("CNAP_RUNNER_IMAGE")?, Some("agent:1"));
/// assert_eq!(env.text("DOCKER_HOST")?, None);
/// # Ok::<(), runner_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    /// `None` for a value that is not text.
    variables: BTreeMap<String, Option<String>>,
}

impl Environment {
    /// What this process was started with.
    pub fn of_process() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        let all = std::env::vars_os();
        let variables =
            all.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()))).collect();
        Self { variables }
    }

    /// The value of a variable. One that is set to nothing, or to white space, counts as not set, as shells and
    /// Compose files leave it; one that is not text is an error that names it.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>> {
        match self.variables.get(name) {
            None => Ok(None),
            Some(Some(value)) if value.trim().is_empty() => Ok(None),
            Some(Some(value)) => Ok(Some(value.as_str())),
            Some(None) => Err(Error::new(
                ErrorKind::InvalidInput,
                "read the environment",
                format!("{name} is not text"),
            )
            .with_hint("give it a UTF-8 value")),
        }
    }

    /// A variable as a value of its own type; an error names the variable.
    pub(crate) fn parsed<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(value) = self.text(name)? else { return Ok(None) };
        let refuse = |why| {
            Error::new(ErrorKind::InvalidInput, "read the environment", format!("{name}={value:?}: {why}"))
                .with_hint(format!("correct {name}, or unset it for the default"))
        };
        parse(value).map(Some).map_err(refuse)
    }

    /// The first of several variables that is set, as a secret.
    pub(crate) fn secret(&self, names: &[&'static str]) -> Result<Option<Secret>> {
        for name in names {
            if let Some(value) = self.text(name)? {
                return Ok(Some(Secret::new(value.trim())));
            }
        }
        Ok(None)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(k, v)| (k.into(), Some(v.into()))).collect();
        Self { variables }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
