//! An engine that belongs to one test, which may kill it.
//!
//! A second dockerd beside the machine's own. What that takes (tried on 20.10.24):
//!
//! - A network namespace of its own. `--bridge none` without one deletes the bridge `docker0` of the first engine, and
//!   its firewall rules would be rewritten; with one, addresses and ports cannot collide either, and all of it is gone
//!   with the namespace. So ports that this engine publishes are reached from inside the namespace only.
//! - A containerd of its own. dockerd takes the system's where there is one, and shares its containers' namespace with
//!   the first engine.
//! - A control group of its own, so that the ones of killed containers can be found and removed.
//! - Killed shims leave their sockets in a directory of the machine's, see `traces.rs`.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use runner_docker::DockerHost;

use super::http::{JSON, Reply, send};
use super::{processes, traces};

/// Seen: 0.2 s; 11 s after a kill, when containers that do not listen to their stop signal are ended first.
const START_LIMIT: Duration = Duration::from_mins(1);
/// dockerd gives its containers up to 15 s.
const STOP_LIMIT: Duration = Duration::from_secs(40);
const PREFIX: &str = "cnap-engine-";

/// What dies in a crash of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// dockerd alone. Its containers go on under their shims, and containerd is a service of its own, as in Docker's
    /// packages.
    Daemon,
    /// containerd as well, as where dockerd has started it and takes it along. Shims and containers go on.
    DaemonAndContainerd,
    /// Everything, containers included, as when the machine loses its power.
    Everything,
}

#[derive(Debug)]
pub(crate) struct PrivateEngine {
    directory: PathBuf,
    live_restore: bool,
    containerd: Option<Child>,
    dockerd: Option<Child>,
}

impl PrivateEngine {
    /// Starts one with no image and no container. Fails loudly where this machine cannot.
    pub(crate) async fn start(live_restore: bool) -> Self {
        check_machine();
        sweep();
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap().keep();
        let mut engine = Self { directory, live_restore, containerd: None, dockerd: None };
        let owner = processes::identity(std::process::id()).unwrap();
        fs::write(engine.path("owner"), owner).unwrap();
        engine.prepare();
        engine.start_again().await;
        engine
    }

    pub(crate) fn host(&self) -> DockerHost {
        DockerHost::Unix(self.path("docker.sock"))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A request that the port has no call for.
    pub(crate) fn raw(&self, method: &str, path: &str, body: &str) -> Reply {
        send(&self.host(), method, path, JSON, body.as_bytes())
            .unwrap_or_else(|e| panic!("the private engine: {method} {path}: {e}"))
    }

    /// Runs a shell script where the engine's published ports are reached.
    pub(crate) fn inside(&self, script: &str) -> String {
        let done = self.in_namespace("bash").args(["-c", script]).output().unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Kills it, without a chance to put anything in order. Returns when it is dead.
    pub(crate) fn crash(&mut self, crash: Crash) {
        let mut dockerd = self.dockerd.take().expect("it runs");
        dockerd.kill().unwrap();
        dockerd.wait().unwrap();
        if crash != Crash::Daemon
            && let Some(mut containerd) = self.containerd.take()
        {
            containerd.kill().unwrap();
            containerd.wait().unwrap();
        }
        if crash == Crash::Everything {
            // containerd forgets them at its next start.
            let sockets = traces::shim_sockets(&self.directory);
            assert!(traces::kill_all(&self.directory), "the engine's processes do not die");
            for socket in sockets {
                drop(fs::remove_file(socket));
            }
        }
    }

    /// From now on it accepts connections and answers nothing.
    pub(crate) fn hang(&self) {
        processes::signal("STOP", &[self.dockerd.as_ref().expect("it runs").id()]);
    }

    /// The end of a [`hang`](Self::hang).
    pub(crate) fn go_on(&self) {
        processes::signal("CONT", &[self.dockerd.as_ref().expect("it runs").id()]);
    }

    /// Asks it to stop, as a service manager does, and returns when it has.
    pub(crate) async fn stop(&mut self) {
        let mut dockerd = self.dockerd.take().expect("it runs");
        processes::signal("TERM", &[dockerd.id()]);
        let ended = eventually(STOP_LIMIT, async || dockerd.try_wait().unwrap().is_some()).await;
        self.dockerd = (!ended).then_some(dockerd);
        assert!(ended, "the private engine does not stop: {}", self.last_words());
    }

    /// Starts it (again), on the data that it has. Returns when it answers.
    pub(crate) async fn start_again(&mut self) {
        if self.containerd.is_none() {
            self.containerd = Some(self.spawn(
                "containerd",
                &["--config", &self.text("containerd.toml")],
                "containerd.log",
            ));
        }
        let socket = self.path("containerd.sock");
        let ready = eventually(START_LIMIT, async || UnixStream::connect(&socket).is_ok()).await;
        assert!(ready, "containerd does not answer: {}", self.last_words());
        // A kill leaves it, and a number that has been given to another by now would keep dockerd from starting.
        drop(fs::remove_file(self.path("dockerd.pid")));
        let host = self.host();
        let arguments = self.arguments();
        self.dockerd = Some(self.spawn("dockerd", &arguments, "dockerd.log"));
        let answers = eventually(START_LIMIT, async || pings(host.clone()).await).await;
        assert!(answers, "dockerd does not start: {}", self.last_words());
    }

    fn prepare(&self) {
        fs::write(self.path("daemon.json"), "{}").unwrap();
        let toml = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n",
            self.text("containerd/root"),
            self.text("containerd/state"),
            self.text("containerd.sock")
        );
        fs::write(self.path("containerd.toml"), toml).unwrap();
        // A file on which the namespace is kept, so that it outlives the engine's crash.
        File::create(self.path("net")).unwrap();
        let mut unshare = Command::new("unshare");
        run(unshare.arg(format!("--net={}", self.text("net"))).arg("true"));
        // The loopback device of a new namespace is down, and no published port could be bound. Debian always has perl,
        // but not always `ip`.
        let up = r#"ip link set lo up 2>/dev/null || perl -MSocket -e '
            socket(my $s, AF_INET, SOCK_DGRAM, 0) or die; my $r = pack("a16 s x22", "lo", 1); ioctl($s, 0x8914, $r) or die'"#;
        run(self.in_namespace("sh").args(["-c", up]));
    }

    fn arguments(&self) -> Vec<String> {
        let cgroup = self.directory.file_name().unwrap().to_string_lossy().into_owned();
        let mut arguments = vec![
            format!("--host=unix://{}", self.text("docker.sock")),
            format!("--data-root={}", self.text("data")),
            format!("--exec-root={}", self.text("exec")),
            format!("--pidfile={}", self.text("dockerd.pid")),
            // Not the machine's own file: it is the other engine's.
            format!("--config-file={}", self.text("daemon.json")),
            format!("--containerd={}", self.text("containerd.sock")),
            // Where systemd manages control groups, a parent would have to be one of its slices.
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            format!("--cgroup-parent=/{cgroup}"),
        ];
        if self.live_restore {
            arguments.push("--live-restore".to_owned());
        }
        arguments
    }

    fn spawn<A: AsRef<std::ffi::OsStr>>(&self, program: &str, arguments: &[A], log: &str) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(self.path(log)).unwrap();
        let path = program_file(program).unwrap();
        let mut command = self.in_namespace(path);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap_or_else(|e| panic!("{program} could not be started: {e}"))
    }

    /// `nsenter` becomes the program: the child is the program itself.
    fn in_namespace(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.text("net"))).arg("--").arg(program);
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn last_words(&self) -> String {
        let logs = ["containerd.log", "dockerd.log"].map(|log| {
            let text = fs::read_to_string(self.path(log)).unwrap_or_default();
            let told: Vec<&str> = text.lines().filter(|line| !line.contains("level=info")).collect();
            told[told.len().saturating_sub(10)..].join("\n")
        });
        logs.join("\n")
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        for child in [&mut self.dockerd, &mut self.containerd].into_iter().flatten() {
            drop(child.kill());
            // Or it stays listed as long as the test's process lives.
            drop(child.wait());
        }
        let left = traces::erase(&self.directory);
        assert!(left.is_empty() || std::thread::panicking(), "the private engine left {left:?}");
    }
}

/// Engines of tests that were killed before they could drop them, also where only a part of one is left.
fn sweep() {
    let siblings = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for directory in siblings.map(|entry| entry.path()) {
        let is_engine = directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let Ok(owner) = fs::read_to_string(directory.join("owner")) else { continue };
        let pid = owner.split(' ').next().and_then(|pid| pid.parse().ok());
        if is_engine && pid.and_then(processes::identity).as_deref() != Some(owner.as_str()) {
            traces::erase(&directory);
        }
    }
}

fn check_machine() {
    let help = "(cargo xtask engine up --install brings it on Debian and Ubuntu)";
    for program in ["dockerd", "containerd", "unshare", "nsenter", "umount"] {
        assert!(program_file(program).is_some(), "a private engine needs the program {program} {help}");
    }
    let uid = fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(uid, 0, "a private engine can only be started by root: run the live tests as root");
}

/// Also where PATH lacks the system's directories (as after `su`).
fn program_file(name: &str) -> Option<PathBuf> {
    let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"];
    usual.iter().map(|directory| Path::new(directory).join(name)).find(|program| program.is_file())
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Whether it answers. dockerd accepts connections seconds before it does (it ends and restores containers in between),
/// so the question must not hold up the test's other futures.
async fn pings(host: DockerHost) -> bool {
    let ask = move || send(&host, "GET", "/_ping", JSON, b"").is_ok_and(|reply| reply.status == 200);
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// Asks again and again, letting the test's other futures go on.
async fn eventually(limit: Duration, mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let look = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(limit, look).await.is_ok()
}
