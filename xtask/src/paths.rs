//! Where things are in this repository.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{During, Outcome};

/// The directory of the workspace's Cargo.toml.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// What the image is built from.
pub(crate) fn image_sources() -> PathBuf {
    root().join("docker/runner")
}

/// A directory of our own below `target`, made when missing.
pub(crate) fn scratch(name: &str) -> Outcome<PathBuf> {
    let path = root().join("target/xtask").join(name);
    fs::create_dir_all(&path).during(|| format!("create {}", path.display()))?;
    Ok(path)
}

/// The pinned version of OpenCode, from the one place that states it.
pub(crate) fn opencode_version() -> Outcome<String> {
    let path = image_sources().join("opencode-version");
    let text = fs::read_to_string(&path).during(|| format!("read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// The image that the runner uses when it is told nothing else.
pub(crate) fn default_image() -> Outcome<String> {
    Ok(format!("cnap-runner:opencode-{}", opencode_version()?))
}
