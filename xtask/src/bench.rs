//! Benchmarks: a name, and the bench target behind it.

use crate::cli::BenchArgs;
use crate::demo::{build, cargo};
use crate::failure::{Failure, Outcome};
use crate::paths;
use crate::process::Call;
use crate::ready::ready;
use crate::sdk;

struct Bench {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    needs: Needs,
}

enum Needs {
    /// An engine and the image: it starts containers.
    Engine,
    /// The JavaScript SDK, to compare with.
    Sdk,
}

const BENCHES: [Bench; 2] = [
    Bench { name: "decode", package: "runner-opencode", target: "decode", needs: Needs::Sdk },
    Bench { name: "start", package: "runner-compat", target: "start", needs: Needs::Engine },
];

pub(crate) fn run(host: Option<&str>, args: &BenchArgs) -> Outcome {
    let bench = named(&args.name)?;
    let tell: Box<dyn Fn(Call) -> Call> = match bench.needs {
        Needs::Engine => {
            let ready = ready(host)?;
            Box::new(move |call| ready.tell(call))
        }
        Needs::Sdk => {
            let place = sdk::ready()?;
            Box::new(move |call| call.arg("--sdk").arg(&place))
        }
    };
    let target = ["--package", bench.package, "--bench", bench.target];
    build("build the benchmark", Call::new(cargo()).args(["bench", "--no-run"]).args(target))?;
    // Standard output belongs to the figures: cargo and the steps speak on standard error.
    let call = Call::new(cargo()).args(["bench", "--quiet"]).args(target).arg("--").directory(paths::root());
    let mut call = tell(call);
    if args.json {
        call = call.arg("--json");
    }
    let code = call.args(&args.arguments).attached()?;
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
        let text = failure.to_string();
        assert!(text.contains("\"stat\"") && text.contains("known: decode, start"), "{text}");
        for bench in BENCHES {
            assert_eq!(named(bench.name).map(|found| found.target).ok(), Some(bench.target));
        }
    }
}
