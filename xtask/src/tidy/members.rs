//! What every crate takes over from the workspace.

use super::Findings;
use super::tree::Tree;

const INHERITED: [&str; 4] = ["edition", "rust-version", "license", "version"];

pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for (path, text) in tree.files.iter().filter(|(path, _)| path.ends_with("/Cargo.toml")) {
        // A fixture or an example of somebody else's workspace is not a member.
        if path.matches('/').count() != 1 {
            continue;
        }
        for field in INHERITED {
            if !states(text, "package", &format!("{field}.workspace"), "true") {
                findings.error(format!("{path}: [package] lacks `{field}.workspace = true`"));
            }
        }
        if !states(text, "lints", "workspace", "true") {
            findings.error(format!("{path}: [lints] lacks `workspace = true`"));
        }
    }
    findings
}

/// `key = value` stands in this section.
fn states(toml: &str, section: &str, key: &str, value: &str) -> bool {
    let mut inside = false;
    for line in toml.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if inside {
            let found = line.split_once('=').is_some_and(|(k, v)| k.trim() == key && v.trim() == value);
            if found {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\n\n[lints]\nworkspace = true\n";

    fn errors(toml: &str) -> Vec<String> {
        check(&Tree::of(&[("x/Cargo.toml", toml)])).errors
    }

    #[test]
    fn a_member_that_inherits_passes() {
        assert_eq!(errors(GOOD), Vec::<String>::new());
    }

    #[test]
    fn each_missing_line_fails() {
        for line in ["version.workspace", "edition.workspace", "rust-version.workspace", "license.workspace"]
        {
            let found = errors(&GOOD.replace(&format!("\n{line} = true"), ""));
            assert!(found.len() == 1 && found[0].contains(line), "{line}: {found:?}");
        }
        assert!(errors(&GOOD.replace("[lints]\nworkspace = true", ""))[0].contains("[lints]"));
    }

    #[test]
    fn a_line_in_another_section_does_not_count() {
        let elsewhere = GOOD.replace("[lints]\n", "[dependencies]\n");
        assert!(errors(&elsewhere)[0].contains("[lints]"));
        assert_eq!(errors(&GOOD.replace("edition.workspace = true", "edition = \"2024\"")).len(), 1);
    }
}
