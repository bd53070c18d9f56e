//! How long our start takes, against a tight loop of the same engine calls and requests on the same engine.
//!
//! Both make the same container (the reference takes its description from one of ours), boot the same server and end
//! with a session. The reference has no adapters, no state, no cleaning up and no error handling: the floor.
//! Pairs are interleaved and change their order, so that a machine that warms up or slows down favours neither.
//!
//! `cargo xtask bench start [--json]`

#[path = "../../tests/support/engine.rs"]
mod engine;
mod reference;
mod report;

use std::time::{Duration, Instant};

use clap::Parser;
use runner_compat::{Environment, Stack, StackConfig};
use runner_core::phase::{Phase, PhaseTimes};
use runner_core::{AgentId, Resources, Runner, Sink, TaskId};
use tempfile::TempDir;

use crate::engine::Engine;
use crate::reference::Reference;
use crate::report::{Report, median};

#[derive(Debug, Parser)]
struct Options {
    /// Pairs of starts.
    #[arg(long, default_value_t = 5)]
    pairs: u32,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let options = Options::parse();
    if options.pairs == 0 {
        return Err("--pairs takes at least 1".into());
    }
    let env = Environment::of_process();
    let engine = Engine::from_host(env.text("DOCKER_HOST")?);
    let dir = TempDir::new()?;
    let mut config = StackConfig::from_env(&env)?;
    config.workspaces.root = dir.path().join("data");
    config.lifecycle.namespace = format!("bench-{}", config.lifecycle.instance);
    config.docker.network = format!("cnap-bench-{}", config.lifecycle.instance);
    // What a start defers would run into the next one's time.
    config.lifecycle.start.warm_up = false;
    let stack = Stack::connect(config.clone()).await?;
    let measured = measure(&stack, &engine, options.pairs).await;
    // Before anything is said: whatever happened, nothing stays.
    stack.shutdown().await?;
    // The figures of the specification (NFR-001, NFR-002): half a core, and ready within 5 s.
    config.lifecycle.resources = Resources::small();
    let stack = Stack::connect(config).await?;
    let small = repeat(&stack, options.pairs).await;
    stack.shutdown().await?;
    report(&options, &stack_name(&engine).await, &measured?, &small?);
    Ok(())
}

struct Measured {
    ours: Vec<Duration>,
    floor: Vec<Duration>,
    phases: Vec<PhaseTimes>,
}

/// Starts alone, one after the other.
async fn repeat(stack: &Stack, times: u32) -> Result<Vec<Duration>, Failure> {
    let mut took = Vec::new();
    for time in 0..times {
        let task = TaskId::new(format!("small-{time}"))?;
        let began = Instant::now();
        let runner = stack.start(task, AgentId::new("bench")?, Sink::none()).await?;
        took.push(began.elapsed());
        runner.stop().await?;
    }
    Ok(took)
}

async fn measure(stack: &Stack, engine: &Engine, pairs: u32) -> Result<Measured, Failure> {
    let agent = AgentId::new("bench")?;
    // One of each that does not count: files enter the page cache, the network is made, and ours shows the
    // reference what container it makes.
    let first = stack.start(TaskId::new("first")?, agent.clone(), Sink::none()).await?;
    let reference = Reference::like(engine.clone(), first.container().as_str()).await?;
    first.stop().await?;
    reference.start(stack, &agent, "reference-first").await?;

    let (mut ours, mut floor, mut phases) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        for turn in 0..2 {
            if (pair + turn) % 2 == 0 {
                let task = TaskId::new(format!("ours-{pair}"))?;
                let began = Instant::now();
                let runner = stack.start(task, agent.clone(), Sink::none()).await?;
                ours.push(began.elapsed());
                phases.push(runner.start_times().clone());
                runner.stop().await?;
            } else {
                floor.push(reference.start(stack, &agent, &format!("reference-{pair}")).await?);
            }
        }
    }
    Ok(Measured { ours, floor, phases })
}

fn report(options: &Options, machine: &str, measured: &Measured, small: &[Duration]) {
    let n = options.pairs;
    let Measured { ours, floor, phases } = measured;
    let mut report = Report::new("start", machine);
    let ratio = median(ours).as_secs_f64() / median(floor).as_secs_f64();
    let reference = "tight loop of the same engine calls and requests";
    report.add("start_over_tight_loop", ratio, "ratio", reference, n);
    report.add("start_p50", median(ours).as_secs_f64() * 1e3, "ms", "", n);
    report.add("start_max", ours.iter().max().map_or(0.0, |d| d.as_secs_f64() * 1e3), "ms", "", n);
    report.add("tight_loop_p50", median(floor).as_secs_f64() * 1e3, "ms", "", n);
    for phase in [Phase::Workspace, Phase::Image, Phase::Create, Phase::Start, Phase::Health, Phase::Session]
    {
        let times: Vec<_> = phases.iter().filter_map(|p| p.get(phase)).collect();
        report.add(&format!("phase_{phase}_p50"), median(&times).as_secs_f64() * 1e3, "ms", "", n);
    }
    report.add("small_start_p50", median(small).as_secs_f64() * 1e3, "ms", "half a core, 512 MiB", n);
    report.add("small_start_max", small.iter().max().map_or(0.0, |d| d.as_secs_f64() * 1e3), "ms", "", n);
    report.print(options.json);
}

async fn stack_name(engine: &Engine) -> String {
    let (_, version) = engine.call("GET", "/version", None).await;
    let field = |name: &str| version.get(name).and_then(|v| v.as_str()).unwrap_or("?").to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cpus} CPUs, {} {}, Docker {}", field("Os"), field("Arch"), field("Version"))
}
