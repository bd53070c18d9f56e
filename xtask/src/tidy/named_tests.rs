//! A crate's README that names a test (`file::test`) names one that exists, and a file below `src/` or `tests/` one
//! that does: a table of what is tested would rot otherwise.

use super::Findings;
use super::documents::code_spans;
use super::tree::{Tree, line_of};

pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let readmes = tree.files.iter().filter_map(|(path, text)| {
        let folder = path.strip_suffix("/README.md")?;
        // A crate's own, not one of its fixtures.
        tree.files.contains_key(&format!("{folder}/Cargo.toml")).then_some((path, folder, text))
    });
    for (path, folder, text) in readmes {
        for (at, span) in code_spans(text) {
            if let Some(missing) = missing(tree, folder, span) {
                findings.error(format!("{path}:{}: {missing}", line_of(text, at)));
            }
        }
    }
    findings
}

fn missing(tree: &Tree, folder: &str, span: &str) -> Option<String> {
    if span.starts_with("src/") || span.starts_with("tests/") {
        return (!tree.has(&format!("{folder}/{span}"))).then(|| format!("`{span}` does not exist"));
    }
    let (file, test) = span.split_once("::")?;
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    // Types and modules have names of other shapes, or no file of that name among the tests.
    if !is_name(file) || !is_name(test) {
        return None;
    }
    let (single, several) = (format!("{folder}/tests/{file}.rs"), format!("{folder}/tests/{file}/"));
    let mut sources = tree
        .files
        .iter()
        .filter(|(path, _)| **path == single || path.starts_with(&several))
        .map(|(_, text)| text)
        .peekable();
    if sources.peek().is_none() {
        return Some(format!("`{span}`: there is no {single} or {several}"));
    }
    let declared = format!("fn {test}(");
    let found = sources.any(|text| text.contains(&declared));
    (!found).then(|| format!("`{span}`: there is no such test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(readme: &str) -> Vec<String> {
        let files = [
            ("a/README.md", readme),
            ("a/Cargo.toml", ""),
            ("a/src/x.rs", ""),
            ("a/tests/wire.rs", "async fn it_holds() {}"),
            ("a/tests/big/one.rs", "fn it_stands() {}"),
            ("a/tests/fixtures/README.md", "`wire::gone`"),
        ];
        check(&Tree::of(&files)).errors
    }

    #[test]
    fn a_test_that_is_not_there_fails_with_its_line() {
        assert_eq!(
            errors("x\n`wire::it_fails` and `gone::it_holds`, `src/y.rs`\n"),
            [
                "a/README.md:2: `wire::it_fails`: there is no such test",
                "a/README.md:2: `gone::it_holds`: there is no a/tests/gone.rs or a/tests/gone/",
                "a/README.md:2: `src/y.rs` does not exist",
            ]
        );
    }

    #[test]
    fn what_exists_and_what_is_no_test_passes() {
        let text = "`wire::it_holds`, `big::it_stands`, `src/x.rs`, `Grants`, `DockerConfig::allowed`, `Foo::bar`, \
                    `file::TEST`\n```rust\nuse a::b;\n```\n";
        assert_eq!(errors(text), Vec::<String>::new());
    }
}
