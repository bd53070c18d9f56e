//! A dockerd of our own: started with a log, remembered, and stopped with all that belongs to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::probe::{Answer, probe};
use super::state::{self, Process};
use super::{MANAGED_LABEL, OWN_LABEL, install};
use crate::docker::Docker;
use crate::failure::{During, Failure, Outcome};
use crate::process::{Call, last_lines, signal};
use crate::step::{note, step};
use crate::{env, paths, poll, signals};

const SOCKET: &str = "unix:///var/run/docker.sock";
/// Where dockerd keeps the number of the containerd that it starts.
const CONTAINERD_PID: &str = "/var/run/docker/containerd/containerd.pid";
/// Seen: 1 to 3 s. A first start on a slow disk prepares its storage.
const START_LIMIT: Duration = Duration::from_mins(1);
/// dockerd gives its containers 15 s to stop.
const STOP_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn program() -> Option<PathBuf> {
    install::system_program("dockerd")
}

/// Makes the system's engine run: through the service manager where there is one, else as a process of our own.
pub(super) fn start() -> Outcome {
    if Path::new("/run/systemd/system").is_dir() && env::has("systemctl") {
        return step("start the service docker (systemctl stop docker docker.socket stops it)", || {
            Call::new("systemctl").args(["start", "docker"]).limit(START_LIMIT).output()?;
            answers(START_LIMIT).then_some(()).ok_or_else(|| {
                Failure::new(format!("the service docker runs and does not answer at {SOCKET}"))
                    .help("journalctl -u docker shows why")
            })
        });
    }
    if let Some(pid) = state::running("dockerd") {
        // Its installation, or somebody beside us, has just started it; a second one would not come up.
        return step(format!("wait for the dockerd that already runs (process {pid})"), || {
            answers(START_LIMIT).then_some(()).ok_or_else(|| {
                Failure::new(format!("dockerd (process {pid}) runs and does not answer at {SOCKET}"))
                    .help("look at its log, or stop it and run this again")
            })
        });
    }
    own()
}

fn own() -> Outcome {
    let Some(program) = program() else {
        return Err(Failure::new("dockerd is not there after the installation"));
    };
    let directory = paths::scratch("engine")?;
    let log = directory.join("dockerd.log");
    // Not the usual file in /run: one left behind there by another engine's death keeps a new one from starting.
    let pid_file = directory.join("dockerd.pid");
    let _ = fs::remove_file(&pid_file);
    remove_stale(Path::new(CONTAINERD_PID));
    let what = format!("start dockerd (log: {}; `cargo xtask engine down` stops it)", log.display());
    step(what, || {
        let file = File::create(&log).during(|| format!("create {}", log.display()))?;
        // Its own session: it must outlive this process, its terminal and a Ctrl-C there.
        let call = Call::new("setsid").arg(program).arg("--pidfile").arg(&pid_file);
        let mut child = call.detached(file)?;
        let Some(process) = Process::of(child.id()) else {
            return Err(ended_at_once(&log));
        };
        state::save(&process)?;
        let outcome = poll::until(START_LIMIT, || {
            if matches!(child.try_wait(), Ok(Some(_))) {
                Some(Err(ended_at_once(&log)))
            } else if signals::stop_asked() {
                Some(Err(Failure::interrupted()))
            } else {
                matches!(probe(SOCKET), Answer::Engine(_)).then_some(Ok(()))
            }
        });
        let outcome = outcome.unwrap_or_else(|| {
            let seconds = START_LIMIT.as_secs();
            Err(explained(&format!("dockerd did not answer at {SOCKET} within {seconds} s"), &log))
        });
        if outcome.is_err() {
            stop(&process);
            let _ = child.wait();
            state::forget()?;
        }
        outcome
    })
}

/// After a kill, dockerd takes a dead containerd that nobody has waited for (as in a container whose first process does not) for a
/// living one, waits for it and gives up.
fn remove_stale(pid_file: &Path) {
    let Ok(text) = fs::read_to_string(pid_file) else { return };
    let lives = text.trim().parse().is_ok_and(|pid| state::is_named(pid, "containerd"));
    if !lives {
        let _ = fs::remove_file(pid_file);
    }
}

fn answers(limit: Duration) -> bool {
    poll::until(limit, || (signals::stop_asked() || matches!(probe(SOCKET), Answer::Engine(_))).then_some(()))
        .is_some()
        && !signals::stop_asked()
}

fn ended_at_once(log: &Path) -> Failure {
    explained("dockerd ended right after its start", log)
}

fn explained(what: &str, log: &Path) -> Failure {
    let log_text = fs::read_to_string(log).unwrap_or_default();
    // Hundreds of lines of its connections' comings and goings hide the one that matters.
    let told: Vec<&str> = log_text.lines().filter(|line| !line.contains("level=info")).collect();
    let said = if told.is_empty() { last_lines(&log_text) } else { last_lines(&told.join("\n")) };
    Failure::new(format!("{what}; its last words:\n{said}")).help(format!(
        "the whole log is {}\ninside a container dockerd needs --privileged and cgroups",
        log.display()
    ))
}

/// Stops the engine that we started, and no other. Containers of the runner go first.
pub(crate) fn down() -> Outcome {
    let Some(process) = state::load()? else {
        note("no engine that xtask started is running: nothing to stop");
        return Ok(());
    };
    if let Err(failure) = step("remove the runner's containers", remove_containers) {
        // An engine that no longer answers is stopped all the same.
        note(failure);
    }
    step(format!("stop dockerd (process {})", process.pid), || {
        if stop(&process) {
            state::forget()
        } else {
            Err(Failure::new(format!("dockerd (process {}) does not end", process.pid))
                .help(format!("kill -KILL {}", process.pid)))
        }
    })?;
    note("the packages stay installed, images stay in /var/lib/docker");
    Ok(())
}

fn remove_containers() -> Outcome {
    let docker = Docker::at(SOCKET)?;
    for label in [MANAGED_LABEL, OWN_LABEL] {
        docker.remove_containers(label)?;
    }
    let others = docker.call(["ps", "--quiet"]).output()?;
    let count = others.lines().count();
    if count > 0 {
        note(format!("{count} other containers run on this engine and stop with it"));
    }
    Ok(())
}

/// Ends it with its containerd: asked first, forced when it takes too long. False: it still runs.
fn stop(process: &Process) -> bool {
    let family: Vec<Process> = process.descendants();
    let all = || std::iter::once(process).chain(&family);
    let gone = |limit| poll::until(limit, || (!all().any(Process::runs)).then_some(())).is_some();
    if process.runs() {
        signal(process.pid, "TERM");
    }
    if gone(STOP_LIMIT) {
        return true;
    }
    for left in all().filter(|process| process.runs()) {
        note(format!("process {} does not end and is killed", left.pid));
        signal(left.pid, "KILL");
    }
    gone(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_belongs_to_nobody_or_to_another_is_removed() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("containerd.pid");
        for text in ["", "nonsense", "4194305", &std::process::id().to_string()] {
            fs::write(&file, text).expect("write");
            remove_stale(&file);
            assert!(!file.exists(), "{text}");
        }
        remove_stale(&file);
    }

    #[test]
    fn the_last_words_are_those_that_matter() {
        let directory = tempfile::tempdir().expect("directory");
        let log = directory.path().join("log");
        fs::write(&log, "level=info msg=\"x\"\nfailed to start daemon: no cgroups\nlevel=info y\n")
            .expect("write");
        let text = explained("it ended", &log).to_string();
        assert!(text.contains("no cgroups") && !text.contains("level=info"), "{text}");
        fs::write(&log, "level=info z\n").expect("write");
        assert!(explained("it ended", &log).to_string().contains("level=info z"));
    }
}
