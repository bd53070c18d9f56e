//! What xtask remembers of an engine that it started, so that it stops that one and never another.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{During, Outcome};
use crate::paths;

/// A process, recognisable after its number was given to another: the number, when it began, and in which life of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks since the machine's start.
    began: u64,
    boot: String,
}

impl Process {
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let stat = Stat::parse(&stat)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        // A dead process that nobody has waited for yet still has its number.
        (!stat.dead).then_some(Self { pid, began: stat.began, boot })
    }

    pub(super) fn runs(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Everything that it started, and what that started.
    pub(super) fn descendants(&self) -> Vec<Self> {
        let parents: Vec<(u32, u32)> = pids()
            .filter_map(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
                Some((pid, Stat::parse(&stat)?.parent))
            })
            .collect();
        let mut family = vec![self.pid];
        let mut at = 0;
        while let Some(&parent) = family.get(at) {
            family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        family.into_iter().skip(1).filter_map(Self::of).collect()
    }
}

/// A process of this number runs. A dead one that nobody has waited for does not.
pub(crate) fn lives(pid: u32) -> bool {
    Process::of(pid).is_some()
}

/// Every other process in whose arguments a text stands, and all that they have started.
pub(crate) fn processes_with(text: &str) -> Vec<Process> {
    let has_it = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    let found = pids().filter(|pid| *pid != std::process::id()).filter(has_it).filter_map(Process::of);
    found.flat_map(|process| std::iter::once(process.clone()).chain(process.descendants())).collect()
}

/// A process of this name, whoever started it.
pub(super) fn running(name: &str) -> Option<u32> {
    pids().find(|pid| is_named(*pid, name))
}

/// This process lives and has this name.
pub(super) fn is_named(pid: u32, name: &str) -> bool {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim() == name && Process::of(pid).is_some()
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The parts of `/proc/PID/stat` that are used here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    dead: bool,
    parent: u32,
    began: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may hold spaces and parentheses itself, so the fields are counted from its end.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            dead: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
        })
    }
}

fn file() -> Outcome<PathBuf> {
    Ok(paths::scratch("engine")?.join("started.json"))
}

pub(super) fn save(process: &Process) -> Outcome {
    let text = serde_json::to_string(process).during(|| "describe the engine's process".to_owned())?;
    let file = file()?;
    fs::write(&file, text).during(|| format!("write {}", file.display()))
}

/// The engine that we started, if it still runs. A file that tells of a process that is gone is removed.
pub(super) fn load() -> Outcome<Option<Process>> {
    let file = file()?;
    let process = read(&file).filter(Process::runs);
    if process.is_none() {
        forget()?;
    }
    Ok(process)
}

fn read(file: &Path) -> Option<Process> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

pub(super) fn forget() -> Outcome {
    let file = file()?;
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let rest = "S 12 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        let stat = Some(Stat { dead: false, parent: 12, began: 4711 });
        assert_eq!(Stat::parse(&format!("9 (dockerd) {rest}")), stat);
        assert_eq!(Stat::parse(&format!("9 (a) b (c) {rest}")), stat);
        assert_eq!(Stat::parse("9 (short) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_process_is_known_while_it_runs_and_not_after() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let process = Process::of(child.id()).expect("runs");
        assert!(process.runs());
        assert!(Process::of(std::process::id()).expect("we run").descendants().contains(&process));
        child.kill().expect("kill");
        // Dead and not yet waited for: the number is still taken.
        crate::poll::until(std::time::Duration::from_secs(5), || (!process.runs()).then_some(()))
            .expect("dead");
        child.wait().expect("wait");
    }

    #[test]
    fn a_number_that_was_given_away_is_another_process() {
        let mut other = Process::of(std::process::id()).expect("we run");
        other.began += 1;
        assert!(!other.runs());
    }

    #[test]
    fn a_family_is_known_by_its_arguments() {
        let mark = format!("mark-of-{}", std::process::id());
        let mut child = Command::new("sh").args(["-c", "sleep 60 & wait", &mark]).spawn().expect("sh");
        let found = crate::poll::until(std::time::Duration::from_secs(5), || {
            let found = processes_with(&mark);
            (found.len() == 2).then_some(found)
        });
        let found = found.expect("the shell and what it has started");
        assert_eq!(found[0].pid, child.id());
        for process in found {
            crate::process::signal(process.pid, "KILL");
        }
        child.wait().expect("wait");
    }

    #[test]
    fn a_spoilt_file_counts_as_none() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("started.json");
        assert_eq!(read(&file), None);
        fs::write(&file, "{\"pid\": \"x\"}").expect("write");
        assert_eq!(read(&file), None);
        let process = Process::of(std::process::id()).expect("we run");
        fs::write(&file, serde_json::to_string(&process).expect("text")).expect("write");
        assert_eq!(read(&file), Some(process));
    }
}
