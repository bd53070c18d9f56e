//! No public signature shows a type of the libraries under us: their next major version would be ours, too.
//!
//! Read from the sources, so it needs no build and no nightly compiler. Names are resolved by each module's imports, and
//! by what the crate itself names otherwise (an alias, an import passed on). That every `pub` item can be reached is the
//! compiler's lint `unreachable_pub`; so here `pub` means public. What macros make is not seen.

mod names;
mod public;

use std::collections::BTreeMap;

use super::Findings;
use super::tree::{Tree, is_test_file};
use names::Crate;

/// Not a library for anybody.
const TOOLS: [&str; 1] = ["xtask"];

pub(super) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let mut crates: BTreeMap<&str, Vec<(&str, syn::File)>> = BTreeMap::new();
    for (path, text) in tree.rust() {
        let Some((package, rest)) = path.split_once('/') else { continue };
        if !rest.starts_with("src/") || is_test_file(path) || TOOLS.contains(&package) {
            continue;
        }
        match syn::parse_file(text) {
            Ok(file) => crates.entry(package).or_default().push((path, file)),
            Err(error) => {
                let line = error.span().start().line;
                findings.error(format!("{path}:{line}: cannot be read as Rust: {error}"));
            }
        }
    }
    for files in crates.values() {
        let facts = Crate::of(files);
        for (path, file) in files {
            for leak in public::leaks(&file.items, &facts) {
                findings.error(format!(
                    "{path}:{}: {} shows {}: public signatures carry our own types only",
                    leak.line, leak.place, leak.shown
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).errors
    }

    /// What is found in a file, by line and by what is shown.
    fn found(text: &str) -> Vec<String> {
        let errors = errors(&[("runner-docker/src/x.rs", text)]);
        let short = |error: &String| {
            let rest = error.strip_prefix("runner-docker/src/x.rs:").expect(error);
            let (line, rest) = rest.split_once(": ").expect(error);
            let shown = rest.split_once(" shows ").expect(error).1.split_once(": public").expect(error).0;
            format!("{line} {shown}")
        };
        errors.iter().map(short).collect()
    }

    #[test]
    fn every_place_of_a_public_signature_is_looked_at() {
        for (text, want) in [
            ("pub fn f(x: bollard::Docker) {}", "1 bollard::Docker"),
            ("pub fn f() -> Option<Vec<::http::Uri>> { None }", "1 http::Uri"),
            ("pub fn f(x: &dyn Fn(hyper::Error)) {}", "1 hyper::Error"),
            ("pub fn f(x: impl Into<reqwest::Url>) {}", "1 reqwest::Url"),
            ("pub fn f<T>(x: T) where T: From<reqwest::Url> {}", "1 reqwest::Url"),
            ("pub async fn f<T: hyper::body::Body>(x: T) {}", "1 hyper::body::Body"),
            ("pub struct S {\n    pub a: u8,\n    pub b: rustls::ClientConfig,\n}", "3 rustls::ClientConfig"),
            ("pub struct S(pub tar::Header);", "1 tar::Header"),
            ("pub struct S<T: tar::Read>(T);", "1 tar::Read"),
            ("pub enum E {\n    A,\n    B(bollard::errors::Error),\n}", "3 bollard::errors::Error"),
            ("pub enum E { A { source: reqwest::Error } }", "1 reqwest::Error"),
            ("pub type T = Result<(), bollard::errors::Error>;", "1 bollard::errors::Error"),
            ("pub const C: http::StatusCode = x();", "1 http::StatusCode"),
            ("pub static S: http::Method = x();", "1 http::Method"),
            ("pub trait T {\n    fn f(&self) -> http::Method;\n}", "2 http::Method"),
            ("pub trait T: hyper::Service {}", "1 hyper::Service"),
            ("pub trait T { type A: http::X; }", "1 http::X"),
            ("pub use bollard::models::Mount;", "1 bollard::models::Mount"),
            ("pub use bollard::{self as engine, models};", "1 bollard"),
            ("pub use hyper::body::*;", "1 hyper::body::*"),
            ("pub extern crate reqwest;", "1 reqwest"),
            ("pub struct S; impl S { pub fn f(&self) -> bollard::Docker { x() } }", "1 bollard::Docker"),
            (
                "pub struct S; impl From<bollard::Docker> for S { fn from(x: X) -> S { S } }",
                "1 bollard::Docker",
            ),
            (
                "pub struct S; impl From<S> for bollard::Docker { fn from(x: S) -> X { x() } }",
                "1 bollard::Docker",
            ),
            ("pub struct S; impl Deref for S {\n type Target = bollard::Docker;\n }", "2 bollard::Docker"),
            ("pub struct S; impl hyper::Service for S {}", "1 hyper::Service"),
            ("pub trait T {} impl T for bollard::Docker {}", "1 bollard::Docker"),
            ("pub mod m { pub fn f(x: http::Uri) {} }", "1 http::Uri"),
        ] {
            assert!(found(text).contains(&want.to_owned()), "{text}: {:?}", found(text));
        }
    }

    #[test]
    fn names_are_resolved() {
        for (imports, name, want) in [
            ("use bollard::Docker;", "Docker", "bollard::Docker"),
            ("use bollard::models::Mount as Theirs;", "Theirs", "bollard::models::Mount"),
            ("use bollard::{errors::Error as E, models};", "E", "bollard::errors::Error"),
            ("use bollard::models;", "models::Mount", "bollard::models::Mount"),
            ("use hyper::body::{self, Incoming};", "body::Frame", "hyper::body::Frame"),
            ("use bollard as engine;", "engine::Docker", "bollard::Docker"),
            ("type Alias = Vec<bollard::Docker>;", "Alias", "Alias (bollard::Docker)"),
            ("type A = http::Uri; type B = Option<A>;", "B", "B (A (http::Uri))"),
        ] {
            let text = format!("{imports}\npub fn f(x: {name}) {{}}");
            assert_eq!(found(&text), [format!("2 {want}")], "{text}");
        }
        // From one file to another.
        let files = [
            ("runner-docker/src/a.rs", "pub(crate) use hyper::body::Incoming as Body;"),
            ("runner-docker/src/b.rs", "use crate::a::Body;\npub fn f(x: Body) {}"),
            ("runner-opencode/src/b.rs", "use crate::a::Body;\npub fn f(x: Body) {}"),
        ];
        let found = errors(&files);
        assert_eq!(found.len(), 1, "another crate's names are its own: {found:?}");
        assert!(
            found[0].starts_with("runner-docker/src/b.rs:2: f shows Body (hyper::body::Incoming)"),
            "{found:?}"
        );
    }

    #[test]
    fn an_import_of_everything_hides_names() {
        let found = found("use bollard::models::*;\npub fn f(x: Mount) {}");
        assert_eq!(found, ["1 bollard::models::*"]);
    }

    #[test]
    fn what_is_not_public_may_be_what_it_likes() {
        for text in [
            "fn f(x: bollard::Docker) {}",
            "pub(crate) fn f(x: bollard::Docker) {}",
            "pub(super) struct S { pub x: bollard::Docker }",
            "pub struct S { x: bollard::Docker, pub(crate) y: bollard::Docker }",
            "pub struct S(bollard::Docker);",
            "pub(crate) struct S; impl S { pub fn f(x: bollard::Docker) {} }",
            "pub struct S; impl S { fn f(x: bollard::Docker) {} pub(crate) fn g(x: bollard::Docker) {} }",
            "struct S; impl From<bollard::Docker> for S { fn from(x: bollard::Docker) -> S { S } }",
            "trait T { fn f(x: bollard::Docker); } pub struct S; impl T for S { fn f(x: bollard::Docker) {} }",
            "pub fn f() { let x: bollard::Docker = y(); }",
            "pub fn f(x: [u8; http::LEN]) {}",
            "#[cfg(test)]\npub mod tests { pub fn f(x: bollard::Docker) {} }",
            "pub(crate) use bollard::Docker;",
            "pub use runner_core::Error;\npub fn f(x: hyperspace::Drive, y: std::http::X) {}",
            "mod bollard2 {}\npub struct Docker;\npub fn f(x: Docker) {}",
            "/// Shows [`bollard::Docker`].\n#[doc = \"bollard::Docker\"]\npub fn f() {}",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn tests_and_tools_have_no_public() {
        let text = "pub fn f(x: bollard::Docker) {}";
        for path in ["runner-docker/tests/x.rs", "runner-docker/src/x_tests.rs", "xtask/src/x.rs", "x.rs"] {
            assert_eq!(errors(&[(path, text)]), Vec::<String>::new(), "{path}");
        }
        let found = errors(&[("runner-docker/src/x.rs", "pub fn {")]);
        assert!(found.len() == 1 && found[0].starts_with("runner-docker/src/x.rs:1:"), "{found:?}");
    }

    /// The same on the real sources, with an offender planted.
    #[test]
    fn a_leak_in_the_real_tree_fails() {
        let mut tree = Tree::read(crate::paths::root()).expect("a checkout");
        assert_eq!(check(&tree), Findings::default());
        let path = "runner-docker/src/config.rs";
        let text = tree.files.get_mut(path).expect(path);
        text.push_str("\nimpl From<bollard::models::Mount> for DockerConfig {}\n");
        let line = text.lines().count();
        let found = check(&tree).errors;
        assert!(found.len() == 1 && found[0].starts_with(&format!("{path}:{line}: ")), "{found:?}");
    }
}
