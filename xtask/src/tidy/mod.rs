//! House rules as tests. Each rule is a function from what is there to what is wrong with it, so each is itself tested on good and bad
//! input; this file only collects and prints.

mod api;
mod documents;
mod layers;
mod members;
mod named_tests;
mod sources;
mod tree;
mod versions;

use crate::demo::cargo;
use crate::failure::{Failure, Outcome};
use crate::process::Call;
use crate::step::{note, step};
use crate::{metadata, paths};

use tree::Tree;

/// What a rule found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    errors: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

pub(crate) fn run(fast: bool) -> Outcome {
    let tree = Tree::read(paths::root())?;
    let metadata = metadata::read(paths::root())?;
    let version = paths::opencode_version()?;
    let rules: [(&str, Findings); 9] = [
        ("crates know only what they may know", layers::check(&metadata)),
        ("public signatures show no foreign type", api::check(&tree)),
        ("members inherit edition, licence and lints", members::check(&tree)),
        ("the environment is read in its two places", sources::environment(&tree)),
        ("no machine's paths and no registry's names", sources::machines(&tree)),
        ("source files are short enough to read", sources::length(&tree)),
        ("documents name paths that exist", documents::check(&tree)),
        ("documents name tests that exist", named_tests::check(&tree)),
        ("the OpenCode version is stated once", versions::check(&tree, &version)),
    ];
    let mut broken = 0;
    for (rule, findings) in rules {
        let outcome = step(rule, || {
            for warning in &findings.warnings {
                note(format!("warning: {warning}"));
            }
            for error in &findings.errors {
                note(format!("error: {error}"));
            }
            if findings.errors.is_empty() { Ok(()) } else { Err(Failure::new(rule)) }
        });
        broken += usize::from(outcome.is_err());
    }
    if broken > 0 {
        return Err(Failure::new(format!("{broken} house rules are broken, see above")));
    }
    if fast {
        note("cargo fmt and cargo clippy were left out (--fast)");
        return Ok(());
    }
    cargo_rule(&["fmt", "--all", "--check"], "cargo fmt --all")?;
    cargo_rule(
        &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
        "see the message above",
    )
}

fn cargo_rule(args: &[&str], help: &str) -> Outcome {
    let call = Call::new(cargo()).args(args).directory(paths::root());
    step(format!("cargo {}", args.join(" ")), || match call.attached()? {
        0 => Ok(()),
        code => Err(Failure::exit(format!("cargo {} ended with exit code {code}", args.join(" ")), code)
            .help(format!("{help}\n(a missing component: rustup component add rustfmt clippy)"))),
    })
}
