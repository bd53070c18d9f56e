//! Processes of this machine, as far as the private engine needs them.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What `/proc/PID/stat` says.
struct Stat {
    name: String,
    dead: bool,
    parent: u32,
    began: String,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses itself, so the fields are counted from its end.
    let (head, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        name: head.split_once('(')?.1.to_owned(),
        dead: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        began: (*fields.get(19)?).to_owned(),
    })
}

/// It runs. A dead one that nobody has waited for does not: where the first process of a machine or container does not
/// do that, the dead stay listed for ever.
pub(crate) fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !stat.dead)
}

/// A process as a text by which it is known even after its number was given to another.
pub(crate) fn identity(pid: u32) -> Option<String> {
    stat(pid).filter(|stat| !stat.dead).map(|stat| format!("{pid} {}", stat.began))
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Everything alive that belongs to the engine in a directory: its programs, known by their names and by the directory
/// in their arguments, and all that descends from them, containers included.
pub(crate) fn of_engine(directory: &Path) -> Vec<u32> {
    let mark = format!("{}/", directory.display());
    let all: Vec<(u32, Stat)> = pids().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let is_program = |pid: u32, stat: &Stat| {
        let known = ["dockerd", "containerd", "runc", "docker-proxy"];
        known.iter().any(|name| stat.name.starts_with(name))
            && fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&mark))
    };
    let mut family: Vec<u32> = all.iter().filter(|(p, s)| is_program(*p, s)).map(|(p, _)| *p).collect();
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        for (pid, stat) in &all {
            if stat.parent == parent && !family.contains(pid) {
                family.push(*pid);
            }
        }
        at += 1;
    }
    family.into_iter().filter(|pid| is_alive(*pid)).collect()
}

/// Through the shell: the standard library sends no signals but SIGKILL to its own children.
pub(crate) fn signal(name: &str, pids: &[u32]) {
    let script = r#"name=$1; shift; for pid; do kill -"$name" "$pid" 2>/dev/null; done; exit 0"#;
    let pids = pids.iter().map(ToString::to_string);
    let sent = Command::new("sh").args(["-c", script, "sh", name]).args(pids).status().unwrap();
    assert!(sent.success(), "sending {name}");
}
