//! Rules about the text of the files.

use super::Findings;
use super::tree::{Tree, is_test_file, line_of, without_unit_tests};

/// Written in pieces, so that this file does not break its own rules.
const READS_ENVIRONMENT: [&str; 2] = [concat!("env", "::var"), concat!("env", "::remove_var")];
const ENVIRONMENT_PLACES: [&str; 2] = ["runner-compat/src/env.rs", "xtask/src/env.rs"];

pub(super) fn environment(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    // Tests are told by the environment which engine and which image to use; no product behaviour hangs on it.
    let product = |path: &str| !ENVIRONMENT_PLACES.contains(&path) && !is_test_file(path);
    for (path, text) in tree.rust().filter(|(path, _)| product(path)) {
        for needle in READS_ENVIRONMENT {
            for (at, _) in text.match_indices(needle) {
                let line = line_of(text, at);
                findings.error(format!(
                    "{path}:{line}: the environment is read in {} only",
                    ENVIRONMENT_PLACES.join(" and ")
                ));
            }
        }
    }
    findings
}

/// Directories that only one machine has. (Any machine has a home of root's, so that alone may be spoken of.)
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/.cargo"),
    concat!("/ro", "ot/.rustup"),
    concat!("/Us", "ers/"),
];
/// Hosts of package registries: which one is used is the machine's affair, not the repository's.
const REGISTRIES: [&str; 11] = [
    concat!("crates", ".io"),
    concat!("registry.", "npmjs.org"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("deb.", "debian.org"),
    concat!("archive.", "ubuntu.com"),
    concat!("registry-1.", "docker.io"),
    concat!("hub.", "docker.com"),
    concat!("ghcr", ".io"),
    concat!("proxy.", "golang.org"),
];

pub(super) fn machines(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    // Cargo writes the name of its registry into the lock file.
    for (path, text) in tree.files.iter().filter(|(path, _)| path.as_str() != "Cargo.lock") {
        for needle in MACHINE_PATHS {
            for (at, _) in text.match_indices(needle) {
                // Only a path that starts there: `/home/x/work/` is somebody's example.
                let starts = text
                    .get(..at)
                    .and_then(|before| before.chars().next_back())
                    .is_none_or(|c| !c.is_alphanumeric());
                if starts {
                    findings
                        .error(format!("{path}:{}: {needle} is a path of one machine", line_of(text, at)));
                }
            }
        }
        for needle in REGISTRIES {
            if let Some(at) = text.find(needle) {
                findings
                    .error(format!("{path}:{}: {needle} is a package registry's name", line_of(text, at)));
            }
        }
    }
    findings
}

const LONG: usize = 400;
const TOO_LONG: usize = 600;

/// Tests may be long lists of cases; what they test may not.
pub(super) fn length(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for (path, text) in tree.rust().filter(|(path, _)| !is_test_file(path)) {
        let lines = without_unit_tests(text).lines().count();
        if lines > TOO_LONG {
            findings.error(format!(
                "{path} has {lines} lines without its tests, more than {TOO_LONG}: split it by subject"
            ));
        } else if lines > LONG {
            findings.warning(format!("{path} has {lines} lines without its tests, more than {LONG}"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_its_places() {
        let reading = format!("fn x() {{\n    std::{}(\"A\");\n}}\n", READS_ENVIRONMENT[0]);
        for place in ENVIRONMENT_PLACES {
            assert_eq!(environment(&Tree::of(&[(place, &reading)])), Findings::default());
        }
        for place in
            ["runner-core/src/lib.rs", "runner-docker/src/tests_of/x.rs", "runner-compat/src/env/other.rs"]
        {
            let found = environment(&Tree::of(&[(place, &reading)])).errors;
            assert!(found.len() == 1 && found[0].starts_with(&format!("{place}:2:")), "{found:?}");
        }
        assert_eq!(environment(&Tree::of(&[("runner-docker/tests/live.rs", &reading)])), Findings::default());
        assert_eq!(environment(&Tree::of(&[("a.rs", "std::env::args()")])), Findings::default());
    }

    #[test]
    fn machine_paths_and_registries_are_found_in_any_file() {
        for needle in MACHINE_PATHS.into_iter().chain(REGISTRIES) {
            let found = machines(&Tree::of(&[("docs/x.md", &format!("a\nsee {needle}x\n"))])).errors;
            assert!(found.len() == 1 && found[0].starts_with("docs/x.md:2:"), "{needle}: {found:?}");
            assert_eq!(machines(&Tree::of(&[("Cargo.lock", needle)])), Findings::default());
        }
        let fine = "mounted at /workspace/src, installed from docker.io, kept in /home/me/work/x";
        assert_eq!(machines(&Tree::of(&[("README.md", fine)])), Findings::default());
    }

    #[test]
    fn long_files_warn_and_longer_ones_fail() {
        let of = |lines: usize, rest: &str| format!("{}{rest}", "x\n".repeat(lines));
        let found = |path: &str, text: &str| length(&Tree::of(&[(path, text)]));
        assert_eq!(found("a/src/b.rs", &of(LONG, "")), Findings::default());
        assert_eq!(found("a/src/b.rs", &of(LONG + 1, "")).warnings.len(), 1);
        assert_eq!(found("a/src/b.rs", &of(TOO_LONG + 1, "")).errors.len(), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "y\n".repeat(900));
        assert_eq!(found("a/src/b.rs", &of(LONG, &tests)), Findings::default());
        assert_eq!(found("a/tests/b.rs", &of(900, "")), Findings::default());
    }
}
