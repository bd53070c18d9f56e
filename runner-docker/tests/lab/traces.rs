//! What an engine leaves on a machine when it is killed, and how all of it goes away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::processes;

/// Killed processes are gone within milliseconds; a busy machine takes longer, a hang is reported.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks again and again, blocking. For what cannot await: a drop, and helpers that have the test's thread to
/// themselves.
pub(crate) fn until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        #[expect(clippy::disallowed_methods, reason = "nothing else runs on this thread while it waits")]
        thread::sleep(Duration::from_millis(10));
    }
}

/// Kills what belongs to the engine in a directory and takes away all that it made outside of it. Returns what could
/// not be taken away.
pub(crate) fn erase(directory: &Path) -> Vec<String> {
    let sockets = shim_sockets(directory);
    kill_all(directory);
    for socket in sockets {
        drop(fs::remove_file(socket));
    }
    until(LIMIT, || {
        // The innermost first. What is still busy is so for a moment.
        for mount in mounts(directory).iter().rev() {
            drop(Command::new("umount").arg(mount).output());
        }
        mounts(directory).is_empty()
    });
    until(LIMIT, || {
        for cgroup in cgroups(directory).iter().flat_map(|cgroup| tree(cgroup)).rev() {
            drop(fs::remove_dir(cgroup));
        }
        cgroups(directory).is_empty()
    });
    // Never through a mount: what is below one may be a container's workspace.
    if mounts(directory).is_empty() {
        drop(fs::remove_dir_all(directory));
    }
    found(directory)
}

/// Kills the engine's programs and what is in its containers. False: something does not die.
pub(crate) fn kill_all(directory: &Path) -> bool {
    // Again and again: a program that was about to start another may have done so in between.
    until(LIMIT, || {
        let family = members(directory);
        if !family.is_empty() {
            processes::signal("KILL", &family);
        }
        // A kill reaches what is frozen when it is thawed.
        for cgroup in cgroups(directory).iter().flat_map(|cgroup| tree(cgroup)) {
            drop(fs::write(cgroup.join("freezer.state"), "THAWED"));
            drop(fs::write(cgroup.join("cgroup.freeze"), "0"));
        }
        family.is_empty()
    })
}

/// The engine's programs, and what is in its control groups: a container whose shim was killed is nobody's child.
fn members(directory: &Path) -> Vec<u32> {
    let mut all = processes::of_engine(directory);
    for cgroup in cgroups(directory).iter().flat_map(|cgroup| tree(cgroup)) {
        let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        all.extend(procs.lines().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    all.sort_unstable();
    all.dedup();
    all.into_iter().filter(|pid| processes::is_alive(*pid)).collect()
}

/// Everything of the engine in a directory that is there.
pub(crate) fn found(directory: &Path) -> Vec<String> {
    let processes = members(directory).into_iter().map(|pid| format!("process {pid}"));
    let mounts = mounts(directory).into_iter().map(|path| format!("mount {}", path.display()));
    let cgroups = cgroups(directory).into_iter().map(|path| format!("cgroup {}", path.display()));
    let itself = directory.exists().then(|| format!("directory {}", directory.display()));
    processes.chain(mounts).chain(cgroups).chain(itself).collect()
}

/// containerd's shims listen in a directory of the machine's, on names that only their own files tell. One that is
/// killed leaves its socket.
pub(crate) fn shim_sockets(directory: &Path) -> Vec<PathBuf> {
    let tasks = directory.join("containerd/state/io.containerd.runtime.v2.task/moby");
    let bundles = fs::read_dir(tasks).into_iter().flatten().flatten();
    bundles
        .filter_map(|bundle| fs::read_to_string(bundle.path().join("address")).ok())
        .filter_map(|address| address.trim().strip_prefix("unix://").map(PathBuf::from))
        .collect()
}

/// In the order in which they were made.
fn mounts(directory: &Path) -> Vec<PathBuf> {
    let all = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = all.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    points.filter(|point| point.starts_with(directory)).collect()
}

/// The engine's containers are below a control group of its directory's name, in one hierarchy or in many.
fn cgroups(directory: &Path) -> Vec<PathBuf> {
    let Some(name) = directory.file_name() else { return Vec::new() };
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(top.to_owned())
        .chain(hierarchies)
        .map(|hierarchy| hierarchy.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

/// A control group and all below it, the innermost last.
fn tree(cgroup: &Path) -> Vec<PathBuf> {
    let mut all = vec![cgroup.to_owned()];
    let mut at = 0;
    while let Some(parent) = all.get(at).cloned() {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        all.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
        at += 1;
    }
    all
}
