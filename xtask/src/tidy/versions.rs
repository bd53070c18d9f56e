//! The pinned version of OpenCode stands in one place, so that an update is one line.

use super::Findings;
use super::tree::{Tree, is_rust, is_test_file, without_unit_tests};

const PLACE: &str = "docker/runner/opencode-version";

/// Records of the past and of what a version was seen to do keep the version they are about.
fn may_name_it(path: &str) -> bool {
    path == PLACE || path == "CHANGELOG.md" || path.starts_with("docs/") || is_test_file(path)
}

pub(super) fn check(tree: &Tree, version: &str) -> Findings {
    let mut findings = Findings::default();
    if version.is_empty() || !version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c)) {
        findings.error(format!("{PLACE}: \"{version}\" is no version"));
        return findings;
    }
    for (path, text) in tree.files.iter().filter(|(path, _)| !may_name_it(path)) {
        let text = if is_rust(path) { without_unit_tests(text) } else { text };
        for (at, line) in text.lines().enumerate() {
            // A comment may say on which version something was measured: that stays true.
            let is_comment = is_rust(path) && line.trim_start().starts_with("//");
            if line.contains(version) && !is_comment {
                findings.error(format!("{path}:{}: the OpenCode version is stated in {PLACE} only", at + 1));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)]), "9.8.7").errors
    }

    #[test]
    fn a_second_place_fails() {
        for path in ["README.md", "docker/runner/Dockerfile", "runner-opencode/src/lib.rs"] {
            let found = errors(path, "a\nb 9.8.7\n");
            assert!(found.len() == 1 && found[0].starts_with(&format!("{path}:2:")), "{found:?}");
        }
    }

    #[test]
    fn records_may_name_it() {
        for path in
            [PLACE, "CHANGELOG.md", "docs/deviations.md", "runner-opencode/tests/fixtures/health.json"]
        {
            assert_eq!(errors(path, "9.8.7"), Vec::<String>::new(), "{path}");
        }
        assert_eq!(errors("a/src/b.rs", "/// Measured on 9.8.7."), Vec::<String>::new());
        assert_eq!(errors("a/src/b.rs", "const V: &str = \"9.8.7\"; // measured").len(), 1);
        assert_eq!(errors("a/src/b.rs", "x\n#[cfg(test)]\nmod tests { /* 9.8.7 */ }"), Vec::<String>::new());
    }

    #[test]
    fn an_empty_version_fails() {
        assert_eq!(check(&Tree::default(), "").errors.len(), 1);
        assert_eq!(check(&Tree::default(), "latest version").errors.len(), 1);
    }
}
