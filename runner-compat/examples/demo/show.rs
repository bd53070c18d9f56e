//! What a person sees.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use runner_core::event::RunEventKind;
use runner_core::phase::StartEvent;
use runner_core::session::ToolState;
use runner_core::{Error, Outcome, Runner};
use runner_lifecycle::ContainerRunner;

/// Longest piece of a tool's input or output that is shown.
const SHOWN: usize = 200;

pub(crate) fn heading(text: &str) {
    println!("\n── {text}");
}

pub(crate) fn start_event(event: &StartEvent) {
    match event {
        StartEvent::Done(phase, time) => println!("{phase:<10} {:>6} ms", time.as_millis()),
        StartEvent::Image(step) => {
            println!("           {} {}", step.layer.as_deref().unwrap_or(""), step.status);
        }
        _ => {}
    }
}

/// A turn on the screen: text as it comes, tool calls on lines of their own.
#[derive(Default)]
pub(crate) struct TurnView {
    in_text: bool,
    tools: HashMap<String, &'static str>,
}

impl TurnView {
    pub(crate) fn event(&mut self, event: &RunEventKind) {
        match event {
            RunEventKind::Text { delta, .. } => {
                if !self.in_text {
                    print!("agent      ");
                }
                self.in_text = true;
                print!("{delta}");
                // Text is shown as it comes; a screen that is gone is no reason to stop the agent.
                drop(std::io::stdout().flush());
            }
            RunEventKind::Tool { call_id, tool, state } => self.tool(call_id, tool, state),
            RunEventKind::Retry { attempt, message, .. } => {
                self.line(&format!("retry      {attempt}: {message}"));
            }
            RunEventKind::Reconnected => self.line("           (event stream lost and open again)"),
            RunEventKind::InputNeeded { request, .. } => self.line(&format!("waits for  {request}")),
            RunEventKind::Finished(result) => {
                let u = &result.usage;
                self.line(&format!(
                    "result     {} in {} ms, {} tokens in, {} out",
                    result.outcome.name(),
                    result.duration.as_millis(),
                    u.input_tokens,
                    u.output_tokens
                ));
                if let Outcome::Failed(error) = &result.outcome {
                    self.line(&format!("reason     {}", error.chain()));
                }
            }
            _ => {}
        }
    }

    fn tool(&mut self, call_id: &str, tool: &str, state: &ToolState) {
        let (word, detail) = match state {
            ToolState::Pending => return,
            ToolState::Running { input, .. } => ("runs", input.to_string()),
            ToolState::Completed { output, .. } => ("done", output.trim_end().to_owned()),
            ToolState::Failed { error, .. } => ("failed", error.clone()),
        };
        // A running tool reports its output again and again.
        if self.tools.insert(call_id.to_owned(), word) != Some(word) {
            self.line(&format!("tool       {tool} {word}: {}", short(&detail)));
        }
    }

    fn line(&mut self, text: &str) {
        if self.in_text {
            println!();
            self.in_text = false;
        }
        println!("{text}");
    }
}

fn short(text: &str) -> String {
    let one_line = text.replace('\n', " ⏎ ");
    if one_line.chars().count() <= SHOWN {
        return one_line;
    }
    one_line.chars().take(SHOWN).chain("…".chars()).collect()
}

/// The workspace's files, two levels deep.
pub(crate) fn files(root: &Path) {
    let mut found = Vec::new();
    collect(root, root, 2, &mut found);
    found.sort();
    for line in found {
        println!("{line}");
    }
}

fn collect(root: &Path, dir: &Path, depth: u8, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        if metadata.is_dir() {
            found.push(format!("{name}/"));
            if depth > 1 {
                collect(root, &path, depth - 1, found);
            }
        } else {
            use std::os::unix::fs::MetadataExt;
            found.push(format!(
                "{name}  {} bytes, owner {}:{}",
                metadata.len(),
                metadata.uid(),
                metadata.gid()
            ));
        }
    }
}

pub(crate) fn kept(runner: &ContainerRunner) {
    heading("kept");
    println!("container  {}", runner.container());
    println!("look at it docker inspect {}", runner.container().short());
    println!("remove it  docker rm -f {}", runner.container().short());
    println!(
        "           and its secrets and state: .run/{0} and .state/{0} in the workspace directory",
        runner.task().slug()
    );
}

/// An error with its causes, and what is known about a start that failed.
pub(crate) fn error(error: &Error) {
    eprintln!("\nerror: {}", error.chain());
    let Some(known) = error.start_failure() else { return };
    if known.phases.total() > Duration::ZERO {
        eprintln!("phases: {}", known.phases);
    }
    for line in &known.log_tail {
        eprintln!("log: {line}");
    }
}
