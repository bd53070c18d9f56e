//! What can be asked of `cargo xtask`.

use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    about = "Engine set-up, image, demo, tests, benchmarks and house rules of Runner Docker",
    arg_required_else_help = true,
    disable_version_flag = true
)]
pub(crate) struct Cli {
    /// The engine to use, as in DOCKER_HOST, instead of searching for one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Find the Docker engine and say which one it is and why; start or stop one
    Engine {
        #[command(subcommand)]
        action: Option<EngineAction>,
    },
    /// Build, prove or push the runner's image
    Image {
        #[command(subcommand)]
        action: ImageAction,
    },
    /// Set everything up and watch one agent do one task
    #[command(
        after_help = "Everything after `demo` goes to the example: a prompt, --keep, --model PROVIDER/MODEL, …"
    )]
    Demo(Forwarded),
    /// House rules, engine, image and all tests
    Test(TestArgs),
    /// Run a benchmark in a release build
    Bench(BenchArgs),
    /// Check the house rules
    Tidy {
        /// Leave out `cargo fmt --check` and `cargo clippy`
        #[arg(long)]
        fast: bool,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum EngineAction {
    /// Find the engine and report (the default)
    Status,
    /// Start an engine where none answers
    Up {
        /// Install one (Debian and Ubuntu, as root) where there is none
        #[arg(long)]
        install: bool,
    },
    /// Stop the engine that xtask started
    Down,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageAction {
    /// Build the image, unless it is there already
    Build(BuildArgs),
    /// Start the image as the runner does and prove what it promises
    Test {
        /// The image to prove, instead of the one that `image build` makes
        image: Option<String>,
    },
    /// Give the image to a registry
    Push {
        /// Where to: REGISTRY/NAME:TAG
        reference: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The base image: Debian or Ubuntu with or without Node
    #[arg(long, value_name = "IMAGE")]
    pub(crate) base: Option<String>,
    /// The image's name; without a tag it gets the pinned OpenCode version and `latest`
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: Option<String>,
    /// Where debootstrap takes Debian's packages from, where no registry gives a base image
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Build even if the image is up to date, without a cache
    #[arg(long)]
    pub(crate) force: bool,
    /// Show all that the build prints
    #[arg(long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Forwarded {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Leave out the tests that need an engine; they are named as not run
    #[arg(long)]
    pub(crate) no_live: bool,
    /// Instead of all tests, those of the port on a Podman that is started for them
    #[arg(long, conflicts_with = "no_live")]
    pub(crate) podman: bool,
    /// Install Podman (Debian and Ubuntu, as root) where there is none
    #[arg(long, requires = "podman")]
    pub(crate) install: bool,
    /// Run only tests whose names contain one of these
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Which one
    pub(crate) name: String,
    /// One JSON object a line on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// More for the benchmark itself, such as --pairs 5
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(std::iter::once("xtask").chain(line.split(' '))).expect(line)
    }

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_demo_goes_to_the_example() {
        let Task::Demo(demo) = parse("--host unix:///x demo hello --keep --model a/b").task else {
            panic!("demo")
        };
        assert_eq!(demo.arguments, ["hello", "--keep", "--model", "a/b"]);
        let Task::Demo(demo) = parse("demo --keep").task else { panic!("demo") };
        assert_eq!(demo.arguments, ["--keep"]);
    }

    #[test]
    fn a_benchmark_takes_its_own_arguments() {
        for line in ["bench start --json --pairs 5", "bench start --pairs 5 --json"] {
            let Task::Bench(bench) = parse(line).task else { panic!("bench") };
            assert_eq!(bench.name, "start");
            assert!(bench.json || bench.arguments.contains(&"--json".to_owned()), "{line}");
            assert!(bench.arguments.contains(&"5".to_owned()), "{line}");
        }
    }

    #[test]
    fn podman_is_another_run() {
        let Task::Test(test) = parse("test --podman --install network").task else { panic!("test") };
        assert!(test.podman && test.install && !test.no_live);
        assert_eq!(test.filters, ["network"]);
        for line in ["test --install", "test --podman --no-live"] {
            assert!(Cli::try_parse_from(std::iter::once("xtask").chain(line.split(' '))).is_err(), "{line}");
        }
    }

    #[test]
    fn a_bare_engine_reports() {
        assert!(matches!(parse("engine").task, Task::Engine { action: None }));
        assert!(matches!(
            parse("engine up --install").task,
            Task::Engine { action: Some(EngineAction::Up { install: true }) }
        ));
    }
}
