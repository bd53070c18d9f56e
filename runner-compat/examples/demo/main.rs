//! One agent in one container, on a real engine, from nothing to a file in its workspace.
//!
//! `cargo xtask demo` sets the engine and the image up and runs this. With a provider's key in the environment and
//! `--model` it uses that model; without, the stub model server of runner-testkit, and says so.

mod model;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use futures::StreamExt;
use runner_compat::{Environment, Stack, StackConfig};
use runner_core::event::RunEventKind;
use runner_core::{AgentId, Error, ErrorKind, ModelId, Outcome, Result, RunRequest, Runner, Sink, TaskId};
use runner_lifecycle::ContainerRunner;
use tracing_subscriber::EnvFilter;

/// What a person gets who gives no prompt.
const DEFAULT_PROMPT: &str = "Write a greeting into a file and show it.";

/// Exit code after Ctrl-C, as shells expect it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

#[derive(Debug, Parser)]
#[command(about = "Runs one agent in one container, from nothing to a file in its workspace")]
struct Options {
    /// What the agent is asked.
    #[arg(default_value = DEFAULT_PROMPT)]
    prompt: String,
    /// The model, as provider/model; needs the provider's key in the environment. Without it a stub answers.
    #[arg(long)]
    model: Option<String>,
    /// The agent, whose workspace is kept from run to run.
    #[arg(long, default_value = "demo")]
    agent: String,
    /// Where workspaces are, instead of CNAP_RUNNER_WORKSPACE_DIR or data/workspace.
    #[arg(long)]
    workspace: Option<PathBuf>,
    /// Leave the container running at the end.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Quiet unless asked: the demo itself says what happens.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error,bollard=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match demo(Options::parse()).await {
        Ok(code) => code,
        Err(error) => {
            show::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn demo(options: Options) -> Result<ExitCode> {
    // Bad input is told before anything is touched.
    let request = RunRequest::new(&options.prompt)?;
    let agent = AgentId::new(&options.agent)?;
    let model = options.model.as_deref().map(str::parse::<ModelId>).transpose()?;
    let mut config = StackConfig::from_env(&Environment::of_process())?;
    if let Some(root) = options.workspace {
        config.workspaces.root = root;
    }
    let choice = model::Choice::make(model, &config.agent)?;
    let stub = choice.prepare(&mut config).await?;

    let stack = Stack::connect(config.clone()).await?;
    println!("engine     {}", stack.engine().await?.engine);
    println!("image      {}", config.lifecycle.image);
    println!("workspace  {}", stack.workspaces().workspace_path(&agent).display());
    println!("model      {choice}");

    // A task of its own for each run, so that two demos at once do not meet.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let task = TaskId::new(format!("demo-{}-{}", now.as_secs(), std::process::id()))?;
    let ran = tokio::select! {
        ran = work(&stack, &task, &agent, request) => Some(ran),
        () = asked_to_end() => None,
    };
    if options.keep
        && let Some(Ok((runner, outcome))) = &ran
    {
        show::kept(runner);
        // Not returning: whatever is dropped on the way out would take the container with it.
        std::process::exit(i32::from(!matches!(outcome, Outcome::Completed)));
    }
    show::heading("removing the container and the task");
    let began = Instant::now();
    // First all that runs, then what the task leaves on disk.
    let gone = stack.shutdown().await;
    let task_gone = stack.manager().delete(&task).await;
    if let Some(stub) = stub {
        stub.shutdown().await;
    }
    println!("removed    in {} ms", began.elapsed().as_millis());
    task_gone.and(gone)?;
    match ran {
        None => {
            println!("interrupted; everything is removed");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Some(Ok((_, Outcome::Completed))) => Ok(ExitCode::SUCCESS),
        Some(Err(error) | Ok((_, Outcome::Failed(error)))) => Err(error),
        Some(Ok((_, other))) => {
            Err(Error::new(ErrorKind::Agent, "run the demo", format!("the turn {}", other.name())))
        }
    }
}

/// Ends at Ctrl-C, and at the signal by which a supervisor ends a process. A handler that cannot be installed leaves
/// the default one, which ends the process.
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let one = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = one(SignalKind::interrupt()) => {}
        () = one(SignalKind::terminate()) => {}
    }
}

/// The task: a start, a turn, and a look at the workspace.
async fn work(
    stack: &Stack,
    task: &TaskId,
    agent: &AgentId,
    request: RunRequest,
) -> Result<(Arc<ContainerRunner>, Outcome)> {
    show::heading(&format!("start of {task}"));
    let began = Instant::now();
    let runner =
        stack.start(task.clone(), agent.clone(), Sink::new(|event| show::start_event(&event))).await?;
    println!("ready      after {} ms", began.elapsed().as_millis());

    show::heading("turn");
    println!("prompt     {}", request.prompt());
    let mut turn = runner.run(request).await?;
    let mut view = show::TurnView::default();
    let mut outcome = Outcome::Canceled;
    while let Some(event) = turn.next().await {
        if let RunEventKind::Finished(result) = &event.kind {
            outcome = result.outcome.clone();
        }
        view.event(&event.kind);
    }
    show::heading("files in the workspace");
    show::files(&stack.workspaces().workspace_path(agent));
    Ok((runner, outcome))
}
