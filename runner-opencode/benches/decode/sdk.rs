//! The official JavaScript SDK, run by Node.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

const HELP: &str = "run `cargo xtask bench decode`, which installs the SDK and passes its place";

pub(crate) struct Sdk {
    directory: PathBuf,
    pub(crate) description: String,
}

impl Sdk {
    pub(crate) fn find(directory: Option<&Path>) -> Result<Self, Failure> {
        let directory =
            directory.ok_or_else(|| format!("where the JavaScript SDK is, was not said: {HELP}"))?;
        let package = directory.join("node_modules/@opencode-ai/sdk/package.json");
        let text = std::fs::read_to_string(&package)
            .map_err(|error| format!("no JavaScript SDK at {}: {error}; {HELP}", package.display()))?;
        let package: serde_json::Value = serde_json::from_str(&text)?;
        let version = package.get("version").and_then(|version| version.as_str()).unwrap_or("?");
        let node = Command::new("node")
            .arg("--version")
            .output()
            .map_err(|error| format!("cannot run node: {error}; install Node.js 18 or later"))?;
        let node = String::from_utf8_lossy(&node.stdout).trim().to_owned();
        let description = format!("@opencode-ai/sdk {version} on Node {node}");
        Ok(Self { directory: directory.to_owned(), description })
    }

    /// It imports the SDK by its name, which Node looks up from the directory it is started in.
    pub(crate) fn command(&self, url: &str) -> Command {
        let mut command = Command::new("node");
        command.args(["--input-type=module", "--eval", include_str!("read.mjs")]);
        command.arg("--").arg(url).current_dir(&self.directory);
        command
    }
}
