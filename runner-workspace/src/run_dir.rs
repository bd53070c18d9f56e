//! What belongs to one container: password, settings and keys, in a directory that only its user can read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use runner_core::container::UserSpec;
use runner_core::layout::{KEYS_DIR, PASSWORD_FILE, SETTINGS_FILE};
use runner_core::{AgentSettings, Secret};
use serde_json::Value;

use crate::dirs::{ensure_dir_of, give_to, remove_tree};
use crate::error::WorkspaceError;

/// Only the owner enters.
const DIR_MODE: u32 = 0o700;
/// Only the owner reads, and nobody writes: the mount is read-only, too.
const FILE_MODE: u32 = 0o400;

/// Writes the directory anew. What an earlier container of the task left there is gone afterwards; a call that is
/// cut off half-way leaves a directory that the next call replaces.
pub(crate) fn write(
    path: &Path,
    owner: UserSpec,
    config: &Value,
    settings: &AgentSettings,
) -> Result<Secret, WorkspaceError> {
    remove_tree(path)?;
    ensure_dir_of(path, DIR_MODE, owner)?;
    let password = random_password()?;
    write_file(&path.join(PASSWORD_FILE), password.expose().as_bytes(), owner)?;
    let settings_file = path.join(SETTINGS_FILE);
    if let Some(parent) = settings_file.parent() {
        ensure_dir_of(parent, DIR_MODE, owner)?;
    }
    write_file(&settings_file, config.to_string().as_bytes(), owner)?;
    let keys = path.join(KEYS_DIR);
    ensure_dir_of(&keys, DIR_MODE, owner)?;
    for (provider, key) in &settings.keys {
        write_file(&keys.join(provider), key.expose().as_bytes(), owner)?;
    }
    Ok(password)
}

fn write_file(path: &Path, content: &[u8], owner: UserSpec) -> Result<(), WorkspaceError> {
    // `create_new`: the directory was just made, so anything there is somebody else's.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(WorkspaceError::io("make the file", path))?;
    file.write_all(content).map_err(WorkspaceError::io("write", path))?;
    let written = fs::symlink_metadata(path).map_err(WorkspaceError::io("look at", path))?;
    if written.uid() == owner.uid { Ok(()) } else { give_to(path, owner) }
}

/// 256 bits from the system, as hex: it passes a shell, a header and a file unchanged.
fn random_password() -> Result<Secret, WorkspaceError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| WorkspaceError::Random(e.to_string()))?;
    let hex: String = bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect();
    Ok(Secret::new(hex))
}
