//! The one place of xtask that reads the environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// An empty variable counts as absent, as Docker's own tools see it.
pub(crate) fn read(name: &str) -> Option<String> {
    raw(name).and_then(|value| value.into_string().ok())
}

pub(crate) fn path(name: &str) -> Option<PathBuf> {
    raw(name).map(PathBuf::from)
}

fn raw(name: &str) -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "the one place of xtask that reads the environment")]
    let value = std::env::var_os(name);
    value.filter(|value| !value.is_empty())
}

/// Where a program is that would be started by this name.
pub(crate) fn programs(name: &str) -> Vec<PathBuf> {
    let Some(path) = raw("PATH") else { return Vec::new() };
    let mut found = Vec::new();
    for directory in std::env::split_paths(&path) {
        let program = directory.join(name);
        if program.is_file() && !found.contains(&program) {
            found.push(program);
        }
    }
    found
}

pub(crate) fn has(program: &str) -> bool {
    !programs(program).is_empty()
}
