//! The port's tests on Podman: a Podman of its own for as long as they run, beside whatever the machine has.
//!
//! It has its own storage, configuration and locks in one directory and, as root, its own network and mount namespaces:
//! Podman writes firewall rules, and files and mounts in `/run`, `/var/lib/containers` and `/var/tmp`, whatever it is
//! told. So it shares nothing with a Podman or a Docker of the machine, and all of it goes away with its processes and
//! its directory.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::demo::cargo;
use crate::engine::{self, Answer, probe};
use crate::failure::{During, Failure, Outcome};
use crate::process::{Call, last_lines, signal};
use crate::ready::{Ready, ready};
use crate::step::{note, step};
use crate::{env, paths, poll, signals};

/// Of runner-docker; not a part of the usual run.
pub(crate) const TESTS: &str = "live_podman";
/// Where the tests find it.
const SOCKET_VARIABLE: &str = "CNAP_PODMAN_SOCKET";

/// What Debian's package only recommends: an init for containers, and the networks that can be kept apart.
const PACKAGES: [&str; 3] = ["podman", "catatonit", "netavark"];
const PREFIX: &str = "cnap-podman-";
/// Seen: 0.2 s.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Killing and removing what a test has left: seconds.
const CLEAN_LIMIT: Duration = Duration::from_mins(1);

pub(crate) fn test(host: Option<&str>, install: bool, filters: &[String]) -> Outcome {
    let program = program(install)?;
    // The tests' image is cut out of the runner image, by Docker.
    let ready = ready(host)?;
    sweep()?;
    let podman = step("start a Podman for the tests", || Podman::start(&program))?;
    let outcome = run_tests(&ready, &podman, filters);
    let stopped = step("stop it and remove all of it", || podman.stop());
    outcome.and(stopped)
}

fn run_tests(ready: &Ready, podman: &Podman, filters: &[String]) -> Outcome {
    let call = ready.tell(call(env::has("cargo-nextest"), filters)).directory(paths::root());
    let call = call.env(SOCKET_VARIABLE, address(&podman.directory));
    step(call.line(), || match call.attached()? {
        0 => Ok(()),
        code => Err(Failure::exit(format!("`{}` ended with exit code {code}", call.line()), code)),
    })
}

fn call(nextest: bool, filters: &[String]) -> Call {
    let base = Call::new(cargo());
    if nextest {
        base.args(["nextest", "run", "--package", "runner-docker", "--test", TESTS]).args(filters)
    } else {
        base.args(["test", "--package", "runner-docker", "--test", TESTS, "--", "--test-threads=1"])
            .args(filters)
    }
}

fn program(install: bool) -> Outcome<PathBuf> {
    let find = || env::programs("podman").into_iter().next();
    if let Some(program) = find() {
        return Ok(program);
    }
    let missing = Failure::new("there is no `podman` command on PATH");
    if !Path::new("/etc/debian_version").exists() || !env::has("apt-get") {
        return Err(missing.help("install Podman 4 or later, and run this again"));
    }
    if !install || !engine::privileged() {
        return Err(missing.help(format!(
            "as root: cargo xtask test --podman --install\n(or apt-get install {})",
            PACKAGES.join(" ")
        )));
    }
    engine::packages(&PACKAGES)?;
    find().ok_or_else(|| Failure::new("podman is not there after the installation"))
}

struct Podman {
    program: PathBuf,
    directory: PathBuf,
    service: Child,
}

impl Podman {
    fn start(program: &Path) -> Outcome<Self> {
        // Short: a socket's path has about a hundred characters. Its name says whose it is.
        let directory = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        let result = Self::start_in(program, &directory);
        if result.is_err() && directory.exists() {
            erase(&directory)?;
        }
        result
    }

    fn start_in(program: &Path, directory: &Path) -> Outcome<Self> {
        let made = fs::DirBuilder::new().mode(0o700).create(directory);
        made.during(|| format!("create {}", directory.display()))?;
        configure(directory)?;
        let log = directory.join("log");
        let file = fs::File::create(&log).during(|| format!("create {}", log.display()))?;
        let address = address(directory);
        let call = if engine::privileged() {
            let namespaces = ["--net", "--mount", "--propagation", "private", "--", "sh", "-c", SET_UP, "sh"];
            told(Call::new("unshare").args(namespaces).arg(program), directory)
        } else {
            told(Call::new(program), directory)
        };
        let mut service = call.args(["system", "service", "--time=0", &address]).shielded().detached(file)?;
        let outcome = poll::until(START_LIMIT, || {
            if matches!(service.try_wait(), Ok(Some(_))) {
                return Some(Err(Failure::new("Podman ended right after its start")));
            }
            if signals::stop_asked() {
                return Some(Err(Failure::interrupted()));
            }
            let Answer::Engine(about) = probe(&address) else { return None };
            note(format!("{about} at {address}"));
            Some(Ok(()))
        });
        let outcome = outcome.unwrap_or_else(|| Err(Failure::new(format!("nobody answers at {address}"))));
        let podman = Self { program: program.to_owned(), directory: directory.to_owned(), service };
        if let Err(failure) = outcome {
            let said = last_lines(&fs::read_to_string(&log).unwrap_or_default());
            podman.stop()?;
            return Err(failure.help(said));
        }
        Ok(podman)
    }

    fn stop(mut self) -> Outcome {
        // Where it is: only there its containers' files are mounted.
        let pid = self.service.id().to_string();
        let enter = ["--target", &pid, "--net", "--mount", "--"];
        let inside = if engine::privileged() {
            Call::new("nsenter").args(enter).arg(&self.program)
        } else {
            Call::new(&self.program)
        };
        let removal = told(inside, &self.directory).args(["rm", "--all", "--force", "--time=0"]);
        if let Err(failure) = removal.limit(CLEAN_LIMIT).shielded().output() {
            note(failure);
        }
        signal(self.service.id(), "TERM");
        if poll::until(Duration::from_secs(5), || self.service.try_wait().transpose()).is_none() {
            let _ = self.service.kill();
        }
        let _ = self.service.wait();
        erase(&self.directory)
    }
}

/// What a root's Podman needs before it starts, in namespaces of its own: a loopback device that is up, or no port could
/// be published (Debian always has perl, but not always `ip`), and nothing of the machine's to write to.
const SET_UP: &str = r#"
ip link set lo up 2>/dev/null || perl -MSocket -e '
    socket(my $s, AF_INET, SOCK_DGRAM, 0) or die; my $r = pack("a16 s x22", "lo", 1); ioctl($s, 0x8914, $r) or die'
mkdir -p /var/lib/containers
for place in /run /dev/shm /var/tmp /var/lib/containers; do mount -t tmpfs tmpfs "$place" || exit 1; done
exec "$@"
"#;

fn address(directory: &Path) -> String {
    format!("unix://{}", directory.join("podman.sock").display())
}

/// Tells a Podman to keep to the directory.
fn told(podman: Call, directory: &Path) -> Call {
    let below = |name: &str| directory.join(name);
    podman
        .arg("--root")
        .arg(below("root"))
        .arg("--runroot")
        .arg(below("run"))
        .arg("--tmpdir")
        .arg(below("tmp"))
        .arg("--network-config-dir")
        .arg(below("networks"))
        // Without a session of systemd there is no other way to keep either.
        .args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"])
        .env("CONTAINERS_CONF", below("containers.conf").display().to_string())
        .without_env("CONTAINER_HOST")
        .without_env("CONTAINERS_CONF_OVERRIDE")
}

/// Podman asks for a million processes per user, where a request says something about limits and nothing about this
/// one, and `default_ulimits` does not change that. A root that may not raise limits (as in a container) cannot start
/// anything so. There, the OCI runtime is given a smaller number.
fn configure(directory: &Path) -> Outcome {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).during(|| format!("write {}", path.display()))
    };
    if may_raise_limits(&fs::read_to_string("/proc/self/status").unwrap_or_default()) {
        return write("containers.conf", OWN_LOCKS);
    }
    let runtime = ["crun", "runc"].into_iter().find(|name| env::has(name));
    let runtime = runtime.ok_or_else(|| Failure::new("there is neither crun nor runc on PATH"))?;
    note("this root may not raise limits: containers get as many processes as it has");
    write("runtime", &LIMITED_RUNTIME.replace("RUNTIME", runtime))?;
    let script = directory.join("runtime");
    let executable = fs::set_permissions(&script, fs::Permissions::from_mode(0o755));
    executable.during(|| format!("make {} executable", script.display()))?;
    let runtime = format!("runtime = \"limited\"\n[engine.runtimes]\nlimited = [\"{}\"]\n", script.display());
    write("containers.conf", &format!("{OWN_LOCKS}{runtime}"))
}

/// Its locks are in shared memory by default, under a name that every Podman uses.
const OWN_LOCKS: &str = "[engine]\nlock_type = \"file\"\n";

/// Podman's own process has the limit that can be kept; it is its child.
const LIMITED_RUNTIME: &str = r#"#!/bin/sh
bundle= previous=
for word; do
    case $previous in --bundle | -b) bundle=$word ;; esac
    previous=$word
done
if [ -n "$bundle" ]; then
    limit=$(sed -n 's/^Max processes *[0-9a-z]* *\([0-9]*\).*/\1/p' "/proc/$PPID/limits")
    [ -z "$limit" ] || sed -i -E 's/("type":"RLIMIT_NPROC","hard":)[0-9]+(,"soft":)[0-9]+/\1'"$limit"'\2'"$limit"'/' \
        "$bundle/config.json"
fi
exec RUNTIME "$@"
"#;

/// Whether this process has the capability CAP_SYS_RESOURCE.
fn may_raise_limits(status: &str) -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .is_some_and(|capabilities| capabilities & SYS_RESOURCE != 0)
}

/// Ends what still runs from the directory, containers included, and removes it.
fn erase(directory: &Path) -> Outcome {
    let mark = format!("{}/", directory.display());
    let ended = poll::until(CLEAN_LIMIT, || {
        let left = engine::processes_with(&mark);
        for process in &left {
            signal(process.pid, "KILL");
        }
        left.is_empty().then_some(())
    });
    remove_cgroups();
    let removed = fs::remove_dir_all(directory);
    if ended.is_none() || directory.exists() {
        return Err(Failure::new(format!("{} cannot be removed: {removed:?}", directory.display()))
            .help("look for what is mounted below it, or runs from it"));
    }
    Ok(())
}

/// The control groups that containers were in stay, empty. One that is in use cannot be removed.
fn remove_cgroups() {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in std::iter::once(top.to_owned()).chain(hierarchies) {
        let parent = hierarchy.join("libpod_parent");
        let below = fs::read_dir(&parent).into_iter().flatten().flatten().map(|entry| entry.path());
        for cgroup in below.filter(|path| path.is_dir()).chain([parent]) {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// What runs that were killed have left.
fn sweep() -> Outcome {
    let siblings = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for directory in siblings.map(|entry| entry.path()) {
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|owner| owner.parse().ok());
        if owner.is_some_and(|owner| !engine::lives(owner)) {
            note(format!("removing {}, which a run that was killed has left", directory.display()));
            erase(&directory)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_podman_are_called_alone() {
        let filters = ["name".to_owned()];
        assert_eq!(
            call(true, &filters).line(),
            "cargo nextest run --package runner-docker --test live_podman name"
        );
        assert_eq!(
            call(false, &[]).line(),
            "cargo test --package runner-docker --test live_podman -- --test-threads=1"
        );
    }

    #[test]
    fn a_root_without_the_capability_is_told() {
        assert!(may_raise_limits("Name: x\nCapEff:\t000001ffffffffff\n"));
        assert!(!may_raise_limits("CapEff:\t000001fffeffffff\n"));
        assert!(!may_raise_limits(""));
    }

    #[test]
    fn a_runtime_with_fewer_processes_is_a_shell_script() {
        let directory = tempfile::tempdir().expect("directory");
        let bundle = directory.path();
        let config = r#"{"rlimits":[{"type":"RLIMIT_NOFILE","hard":7,"soft":7},{"type":"RLIMIT_NPROC","hard":1048576,"soft":1048576}]}"#;
        fs::write(bundle.join("config.json"), config).expect("config");
        let script = LIMITED_RUNTIME.replace("RUNTIME", "echo");
        let said = Call::new("sh")
            .args(["-c", &script, "sh", "create", "--bundle"])
            .arg(bundle)
            .arg("id")
            .output()
            .expect("runs");
        assert_eq!(said, format!("create --bundle {} id\n", bundle.display()));
        let limits = fs::read_to_string("/proc/self/limits").expect("limits");
        let line = limits.lines().find(|line| line.starts_with("Max processes")).expect("a limit");
        let hard = line.split_whitespace().nth(3).expect("a hard limit");
        let wanted = if hard == "unlimited" { "1048576" } else { hard };
        let changed = fs::read_to_string(bundle.join("config.json")).expect("config");
        assert_eq!(changed, config.replace("1048576", wanted));
    }

    #[test]
    fn nothing_of_the_machines_podman_is_used() {
        let line = told(Call::new("podman"), Path::new("/tmp/x")).line();
        for part in ["--root /tmp/x/root", "--runroot /tmp/x/run", "--network-config-dir /tmp/x/networks"] {
            assert!(line.contains(part), "{line}");
        }
    }
}
