//! The official JavaScript SDK, which some benchmarks compare with: in the pinned version, installed by npm below
//! `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine;
use crate::env;
use crate::failure::{Failure, Outcome};
use crate::paths;
use crate::process::Call;
use crate::step::step;

const PACKAGE: &str = "@opencode-ai/sdk";
const PROGRAMS: [&str; 2] = ["node", "npm"];
/// Less than a megabyte; anything longer is a registry that does not answer.
const LIMIT: Duration = Duration::from_mins(3);

/// Where it is, and that there is a Node to run it.
pub(crate) fn ready() -> Outcome<PathBuf> {
    node()?;
    let version = paths::opencode_version()?;
    let place = paths::scratch(&format!("sdk-{version}"))?;
    if installed(&place).as_deref() != Some(&*version) {
        install(&place, &version)?;
    }
    Ok(place)
}

/// Installs it where we may: who asks for a comparison with JavaScript asks for this too.
fn node() -> Outcome {
    if PROGRAMS.into_iter().all(env::has) {
        return Ok(());
    }
    if Path::new("/etc/debian_version").exists() && env::has("apt-get") && engine::privileged() {
        return engine::packages(&["nodejs", "npm"]);
    }
    Err(Failure::new("the JavaScript SDK runs on Node.js, and node or npm is not installed")
        .help("install Node.js 18 or later with npm (Debian and Ubuntu: `sudo apt-get install nodejs npm`)"))
}

fn install(place: &Path, version: &str) -> Outcome {
    let package = format!("{PACKAGE}@{version}");
    let npm = Call::new("npm")
        .args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .arg("--prefix")
        .arg(place)
        .arg(&package)
        .directory(place)
        .limit(LIMIT);
    let help = "npm takes its registry, proxy and certificates from its own settings: see `npm config list`";
    step(format!("npm install {package}"), || npm.output().map(drop).map_err(|failure| failure.help(help)))
}

/// The version that is there.
fn installed(place: &Path) -> Option<String> {
    let text = fs::read_to_string(place.join("node_modules").join(PACKAGE).join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    package.get("version")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_tells_its_version() {
        let place = tempfile::tempdir().expect("a directory");
        assert_eq!(installed(place.path()), None);
        let package = place.path().join("node_modules").join(PACKAGE);
        fs::create_dir_all(&package).expect("made");
        fs::write(package.join("package.json"), r#"{"name":"x","version":"1.2.3"}"#).expect("written");
        assert_eq!(installed(place.path()).as_deref(), Some("1.2.3"));
    }
}
