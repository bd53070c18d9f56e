//! One agent, one task, before your eyes: the example of runner-compat, with everything it needs.

use crate::engine;
use crate::failure::{Failure, Outcome};
use crate::process::Call;
use crate::ready::ready;
use crate::step::{note, step};
use crate::{env, paths};

pub(crate) fn run(host: Option<&str>, arguments: &[String]) -> Outcome {
    let ready = ready(host)?;
    let target = ["--package", "runner-compat", "--example", "demo"];
    build("build the demo", Call::new(cargo()).arg("build").args(target))?;
    let call = Call::new(cargo()).args(["run", "--quiet"]).args(target).arg("--").args(arguments);
    let call = call.directory(paths::root());
    // Ctrl-C reaches the example too; it cleans up and is waited for.
    let code = ready.tell(call).attached()?;
    if engine::is_ours()? {
        note("the engine that was started for this stays up; `cargo xtask engine down` stops it");
    }
    if code == 0 { Ok(()) } else { Err(Failure::exit(format!("the demo ended with exit code {code}"), code)) }
}

/// A step of its own, with cargo's progress to be seen: it takes minutes the first time.
pub(crate) fn build(what: &str, call: Call) -> Outcome {
    let call = call.directory(paths::root());
    step(what, || match call.attached()? {
        0 => Ok(()),
        code => Err(Failure::exit(format!("`{}` ended with exit code {code}", call.line()), code)),
    })
}

/// The cargo that runs this, so that a toolchain chosen on the command line is kept.
pub(crate) fn cargo() -> String {
    env::read("CARGO").unwrap_or_else(|| "cargo".to_owned())
}
