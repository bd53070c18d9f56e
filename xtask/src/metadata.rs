//! What `cargo metadata` says about this workspace, as far as it is used here.

use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

use crate::demo::cargo;
use crate::failure::{During, Outcome};
use crate::process::Call;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Absent for an ordinary dependency.
    pub(crate) kind: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

pub(crate) fn read(root: &Path) -> Outcome<Metadata> {
    let call = Call::new(cargo())
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .directory(root)
        .limit(Duration::from_mins(1));
    serde_json::from_str(&call.output()?).during(|| format!("read what `{}` printed", call.line()))
}
