//! The files of the repository: what git tracks, and what it would with the next `git add`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, Outcome};
use crate::process::Call;

/// Text files by their path from the root.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, String>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Outcome<Self> {
        let call = Call::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .directory(root)
            .limit(Duration::from_secs(30));
        let names = call
            .output()
            .map_err(|failure| failure.help("tidy reads the list of files from git: run it in a checkout"))?;
        // A file that was deleted and not yet committed is listed and not there; one that is no text has no rules.
        let files: BTreeMap<String, String> = names
            .split('\0')
            .filter(|name| !name.is_empty())
            .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root.join(name)).ok()?)))
            .collect();
        if files.is_empty() {
            return Err(Failure::new(format!("git lists no file in {}", root.display())));
        }
        Ok(Self { files })
    }

    /// A file, or a directory with a file in it.
    pub(super) fn has(&self, path: &str) -> bool {
        let directory = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&directory))
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter(|(path, _)| is_rust(path)).map(|(path, text)| (path.as_str(), text.as_str()))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Self { files: files.iter().map(own).collect() }
    }
}

pub(super) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// The line number of a byte, as editors count.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1
}

/// What of a source file is the product's: everything before its unit tests.
pub(super) fn without_unit_tests(text: &str) -> &str {
    let mut at = 0;
    let mut marked = None;
    for line in text.split_inclusive('\n') {
        match marked {
            Some(mark) if line.starts_with("mod tests") => return text.get(..mark).unwrap_or(text),
            // Other attributes may stand between the two.
            Some(_) if line.starts_with("#[") => {}
            _ => marked = (line.trim_end() == "#[cfg(test)]").then_some(at),
        }
        at += line.len();
    }
    text
}

/// Test code by its place.
pub(super) fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "fixtures"))
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_there_when_a_file_is_in_it() {
        let tree = Tree::of(&[("a/b.rs", "")]);
        assert!(tree.has("a/b.rs") && tree.has("a") && tree.has("a/"));
        assert!(!tree.has("a/b") && !tree.has("b"));
    }

    #[test]
    fn unit_tests_are_cut_off() {
        assert_eq!(without_unit_tests("a\n#[cfg(test)]\nmod tests {\nb\n"), "a\n");
        assert_eq!(without_unit_tests("a\n#[cfg(test)]\n#[path = \"x\"]\nmod tests;\n"), "a\n");
        let helper = "a\n#[cfg(test)]\nfn helper() {}\nb\n";
        assert_eq!(without_unit_tests(helper), helper);
        assert_eq!(
            without_unit_tests("#[cfg(test)]\nuse x;\nb\n#[cfg(test)]\nmod tests {}\n"),
            "#[cfg(test)]\nuse x;\nb\n"
        );
    }

    #[test]
    fn the_real_tree_can_be_read() {
        let tree = Tree::read(crate::paths::root()).expect("a checkout");
        assert!(tree.has("Cargo.toml") && tree.has("xtask/src/tidy") && !tree.has("target"));
    }
}
