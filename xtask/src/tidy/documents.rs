//! Documents that name a path of this repository name one that exists.

use super::Findings;
use super::tree::{Tree, line_of};

const DOCUMENTS: [&str; 4] = ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md", "docker/README.md"];

pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let ignored = ignored(tree);
    for document in DOCUMENTS {
        let Some(text) = tree.files.get(document) else { continue };
        for (at, name) in code_spans(text) {
            let known = tree.has(name)
                || ignored.iter().any(|path| name.trim_end_matches('/').starts_with(path.as_str()));
            if is_repository_path(tree, name) && !known {
                findings.error(format!("{document}:{}: `{name}` does not exist", line_of(text, at)));
            }
        }
    }
    findings
}

/// What git ignores may come and go.
fn ignored(tree: &Tree) -> Vec<String> {
    let text = tree.files.get(".gitignore").map(String::as_str).unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.trim_matches('/').to_owned()).collect()
}

/// The text between single backticks, outside fenced blocks, with its place.
pub(super) fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let mut spans = Vec::new();
    let mut at = 0;
    let mut fenced = false;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let mut inside = at;
            for (number, part) in line.split('`').enumerate() {
                // What stands between an odd and an even backtick, if there is an even one.
                if number % 2 == 1 && text.as_bytes().get(inside + part.len()) == Some(&b'`') {
                    spans.push((inside, part));
                }
                inside += part.len() + 1;
            }
        }
        at += line.len();
    }
    spans
}

/// It starts like something at the root of the repository and has nothing that a pattern, an address or a command has.
fn is_repository_path(tree: &Tree, name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
    if !plain || name.starts_with('/') || name.starts_with("..") {
        return false;
    }
    match name.split_once('/') {
        // `docker/runner`, but not `text/html`: the first part has to be a directory here.
        Some((first, rest)) => tree.has(first) && !rest.is_empty() && !tree.files.contains_key(first),
        None => name.rsplit_once('.').is_some_and(|(stem, extension)| {
            !stem.is_empty()
                && matches!(extension, "md" | "toml")
                && name.chars().next().is_some_and(char::is_alphanumeric)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(readme: &str) -> Vec<String> {
        let files = [
            ("README.md", readme),
            ("Cargo.toml", ""),
            ("runner-core/src/lib.rs", ""),
            (".gitignore", "/target\n/data/workspace\n"),
            ("data/configs/x.json", ""),
        ];
        check(&Tree::of(&files)).errors
    }

    #[test]
    fn a_path_that_is_gone_fails_with_its_line() {
        assert_eq!(
            errors("one\nsee `runner-core/src/gone.rs`, `Gone.md`\n"),
            [
                "README.md:2: `runner-core/src/gone.rs` does not exist",
                "README.md:2: `Gone.md` does not exist"
            ]
        );
    }

    #[test]
    fn what_exists_passes() {
        assert_eq!(
            errors("`runner-core/src/lib.rs`, `runner-core/src/`, `Cargo.toml`, `data/workspace/x`"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_no_path_of_ours_is_left_alone() {
        let text = "`text/html`, `cargo xtask test`, `/state/data`, `data/{agent}`, `../x`, `a.b.c`, `runner-core/`\n\
            ```text\n`runner-core/gone.rs`\n```\nan `unclosed runner-core/gone.rs\n";
        assert_eq!(errors(text), Vec::<String>::new());
    }
}
