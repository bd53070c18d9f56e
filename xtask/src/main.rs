//! Project automation: `cargo xtask` sets up, builds, proves, shows, tests and measures. It drives other programs (cargo, docker, apt)
//! and knows none of the product's crates, so that it works when these do not compile.

mod bench;
mod cli;
mod demo;
mod docker;
mod engine;
mod env;
mod failure;
mod http;
mod image;
mod metadata;
mod paths;
mod podman;
mod poll;
mod process;
mod ready;
mod sdk;
mod signals;
mod step;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

use cli::{BuildArgs, Cli, EngineAction, ImageAction, Task};
use docker::Docker;
use failure::{Failure, Outcome};
use step::step;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match signals::absorb().and_then(|()| run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let host = cli.host.as_deref();
    match cli.task {
        Task::Engine { action: None | Some(EngineAction::Status) } => {
            engine_of(|| engine::find(host)).map(|engine| engine.report())
        }
        Task::Engine { action: Some(EngineAction::Up { install }) } => {
            engine_of(|| engine::up(host, install)).map(|engine| engine.report())
        }
        Task::Engine { action: Some(EngineAction::Down) } => engine::down(),
        Task::Image { action: ImageAction::Build(args) } => {
            image::build(&docker(host)?, &options(args)).map(drop)
        }
        Task::Image { action: ImageAction::Test { image } } => {
            let image = image.map_or_else(paths::default_image, Ok)?;
            image::check(&docker(host)?, &image)
        }
        Task::Image { action: ImageAction::Push { reference: Some(reference) } } => {
            image::push(&docker(host)?, &reference)
        }
        Task::Image { action: ImageAction::Push { reference: None } } => {
            Err(Failure::new("there is no reference to push to")
                .help("cargo xtask image push REGISTRY/NAME:TAG"))
        }
        Task::Demo(demo) => demo::run(host, &demo.arguments),
        Task::Test(args) if args.podman => podman::test(host, args.install, &args.filters),
        Task::Test(args) => test::run(host, args.no_live, &args.filters),
        Task::Bench(args) => bench::run(host, &args),
        Task::Tidy { fast } => tidy::run(fast),
    }
}

fn engine_of(work: impl FnOnce() -> Outcome<engine::Engine>) -> Outcome<engine::Engine> {
    step("find a Docker engine", work)
}

fn docker(host: Option<&str>) -> Outcome<Docker> {
    Docker::at(&engine_of(|| engine::find(host))?.host)
}

fn options(args: BuildArgs) -> image::Options {
    image::Options {
        base: args.base,
        tag: args.tag,
        mirror: args.mirror,
        force: args.force,
        verbose: args.verbose,
    }
}
