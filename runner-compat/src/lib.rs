//! The assembly of the default stack: Docker, OpenCode and a directory of workspaces behind one
//! [`RunnerManager`](runner_lifecycle::RunnerManager).
//!
//! This is the one place that names adapters and the one place that reads the environment. It decides nothing.
//!
//! ```no_run
//! # async fn example() -> runner_core::Result<()> {
//! use futures::StreamExt;
//! use runner_compat::{Environment, Stack, StackConfig};
//! use runner_core::{RunRequest, Runner, Sink};
//!
//! let stack = Stack::connect(StackConfig::from_env(&Environment::of_process())?).await?;
//! let runner = stack.start("task-1".parse()?, "writer".parse()?, Sink::none()).await?;
//! let mut turn = runner.run(RunRequest::new("Write a haiku into haiku.txt")?).await?;
//! while let Some(event) = turn.next().await {
//!     println!("{:?}", event.kind);
//! }
//! stack.shutdown().await?;
//! # Ok(()) }
//! ```

mod assembly;
mod config;
mod env;

pub use assembly::Stack;
pub use config::StackConfig;
pub use env::Environment;

// The README's code must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
