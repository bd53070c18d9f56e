//! Our reader, and what a reader reports.

use std::process::{Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use runner_core::endpoint::Credentials;
use runner_core::{AgentConnector, Endpoint, Secret};
use runner_opencode::{OpenCodeConfig, OpenCodeConnector};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// What a reader prints when it is done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Events that came out of the stream.
    events: u32,
    /// CPU time of the process while it read, user and system.
    cpu_ns: u64,
}

impl Reading {
    pub(crate) fn of_command(mut command: Command) -> Result<Self, Failure> {
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{command:?} ended with {}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// CPU time per recorded event. A reader that did not see them all has not done the work.
    pub(crate) fn per_event(&self, expected: u32, recorded: u32) -> Result<Duration, Failure> {
        if self.events != expected {
            return Err(format!("a reader saw {} events, not {expected}", self.events).into());
        }
        Ok(Duration::from_nanos(self.cpu_ns) / recorded)
    }
}

/// This program as a reader.
pub(crate) fn command(url: &str) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--read", url]);
    Ok(command)
}

/// Reads the stream as the library is used: in a task of tokio's usual runtime.
pub(crate) fn ours(url: &str) -> Result<(), Failure> {
    let endpoint = Endpoint {
        base_url: url.to_owned(),
        credentials: Credentials { username: "opencode".to_owned(), password: Secret::new("bench") },
        directory: "/workspace".to_owned(),
    };
    // The server answers the stream alone.
    let config = OpenCodeConfig { prove_events: false, ..OpenCodeConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reading = runtime.block_on(async {
        tokio::spawn(async move {
            let server = OpenCodeConnector::new(config)?.connect(endpoint).await?;
            let before = cpu_time();
            let mut stream = server.events().await?;
            let mut events = 0;
            while let Some(event) = stream.next().await {
                std::hint::black_box(event?);
                events += 1;
            }
            Ok::<_, runner_core::Error>(Reading { events, cpu_ns: cpu_time() - before })
        })
        .await
    })??;
    println!("{}", serde_json::to_string(&reading)?);
    Ok(())
}

/// Of all threads of this process.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
