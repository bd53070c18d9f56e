//! Benchmarks: a name, and the bench target behind it.

use crate::cli::BenchArgs;
use crate::demo::{build, cargo};
use crate::failure::{Failure, Outcome};
use crate::paths;
use crate::process::Call;
use crate::ready::ready;

struct Bench {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    /// It starts containers.
    live: bool,
}

const BENCHES: [Bench; 1] = [Bench { name: "start", package: "runner-compat", target: "start", live: true }];

pub(crate) fn run(host: Option<&str>, args: &BenchArgs) -> Outcome {
    let bench = named(&args.name)?;
    let ready = if bench.live { Some(ready(host)?) } else { None };
    let target = ["--package", bench.package, "--bench", bench.target];
    build("build the benchmark", Call::new(cargo()).args(["bench", "--no-run"]).args(target))?;
    // Standard output belongs to the figures: cargo and the steps speak on standard error.
    let mut call =
        Call::new(cargo()).args(["bench", "--quiet"]).args(target).arg("--").directory(paths::root());
    if args.json {
        call = call.arg("--json");
    }
    let call = call.args(&args.arguments);
    let call = match &ready {
        Some(ready) => ready.tell(call),
        None => call,
    };
    let code = call.attached()?;
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::exit(format!("the benchmark {} ended with exit code {code}", bench.name), code))
    }
}

fn named(name: &str) -> Outcome<&'static Bench> {
    BENCHES.iter().find(|bench| bench.name == name).ok_or_else(|| {
        let known = BENCHES.map(|bench| bench.name).join(", ");
        Failure::new(format!("there is no benchmark \"{name}\"")).help(format!("known: {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_lists_the_known() {
        let Err(failure) = named("stat") else { panic!("unknown") };
        assert!(
            failure.to_string().contains("\"stat\"") && failure.to_string().contains("known: start"),
            "{failure}"
        );
        assert_eq!(named("start").map(|bench| bench.target).ok(), Some("start"));
    }
}
