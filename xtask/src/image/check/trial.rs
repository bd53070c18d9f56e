//! A container on trial, with directories of its own. Whatever happens, both are gone afterwards.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::docker::Docker;
use crate::engine::{OWN_LABEL, privileged, user_id};
use crate::failure::{During, Failure, Outcome};
use crate::http::{self, Reply, Request};
use crate::process::{Call, Finished};
use crate::{paths, poll, signals};

/// A uid that no machine has: the image has to work for the owner of any workspace.
const FOREIGN_USER: u32 = 12345;
const RUN_LIMIT: Duration = Duration::from_mins(1);
/// A cold start on a busy machine with one slow core takes 35 s.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// A connection that is accepted while the server starts may never be answered, so each try is short.
const TRY_LIMIT: Duration = Duration::from_millis(300);
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(90);

/// As the runner starts its containers, except for the network.
pub(super) const HARDENED: [&str; 17] = [
    "--init",
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--pids-limit",
    "256",
    "--memory",
    "1g",
    "--memory-swap",
    "1g",
    "--tmpfs",
    "/tmp:rw,exec,nosuid,nodev,size=256m,mode=1777",
    "--tmpfs",
    "/home/opencode:rw,exec,nosuid,nodev,size=256m,mode=1777",
    "--no-healthcheck",
];

pub(super) struct Trial<'a> {
    docker: &'a Docker,
    pub(super) name: String,
    directory: PathBuf,
    user: u32,
    pub(super) password: String,
}

impl<'a> Trial<'a> {
    pub(super) fn new(docker: &'a Docker, what: &str) -> Outcome<Self> {
        let password = random()?;
        let name = format!("cnap-image-test-{what}-{}", password.get(..8).unwrap_or_default());
        let user = if privileged() { FOREIGN_USER } else { user_id().unwrap_or(FOREIGN_USER) };
        let directory = paths::scratch("image-test")?.join(&name);
        // With characters that a shell, a header or a configuration file could trip over.
        let trial = Self { docker, name, directory, user, password: format!("{password} \"$x\\") };
        for part in ["workspace", "state", "run"] {
            trial.own_directory(part)?;
        }
        trial.own_file("run/password", &trial.password.clone(), 0o400)?;
        Ok(trial)
    }

    /// A directory of the container's user, relative to the trial's own.
    pub(super) fn own_directory(&self, part: &str) -> Outcome<PathBuf> {
        let path = self.path(part);
        fs::create_dir_all(&path).during(|| format!("create {}", path.display()))?;
        self.give(&path)
    }

    pub(super) fn own_file(&self, part: &str, text: &str, mode: u32) -> Outcome<PathBuf> {
        let path = self.path(part);
        let doing = || format!("write {}", path.display());
        fs::write(&path, text).during(doing)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).during(doing)?;
        self.give(&path)
    }

    fn give(&self, path: &Path) -> Outcome<PathBuf> {
        if privileged() {
            chown(path, Some(self.user), Some(self.user))
                .during(|| format!("change the owner of {}", path.display()))?;
        }
        Ok(path.to_owned())
    }

    pub(super) fn path(&self, part: &str) -> PathBuf {
        self.directory.join(part)
    }

    fn mount(&self, part: &str, at: &str) -> String {
        format!("{}:{at}", self.path(part).display())
    }

    /// The arguments that mount this trial's directories and set its user.
    pub(super) fn mounts(&self) -> Vec<String> {
        let (workspace, state) = (self.mount("workspace", "/workspace"), self.mount("state", "/state"));
        let run = format!("{}:ro", self.mount("run", "/run/runner"));
        let user = format!("{0}:{0}", self.user);
        ["--user", &user, "--volume", &workspace, "--volume", &state, "--volume", &run]
            .map(ToOwned::to_owned)
            .to_vec()
    }

    fn docker_run(&self, detached: bool, image: &str, options: &[String], command: &[&str]) -> Call {
        let call = self.docker.call(["run", "--name", &self.name, "--label", OWN_LABEL]);
        let call = if detached { call.arg("--detach") } else { call };
        call.args(options).arg(image).args(command).limit(RUN_LIMIT)
    }

    /// Starts the image's server.
    pub(super) fn start(&self, image: &str, options: &[String]) -> Outcome {
        self.docker_run(true, image, options, &[]).output().map(drop)
    }

    /// Runs the image to its end.
    pub(super) fn run(&self, image: &str, options: &[String], command: &[&str]) -> Outcome<Finished> {
        self.docker_run(false, image, options, command).finish()
    }

    pub(super) fn exec(&self, script: &str) -> Outcome<Finished> {
        self.docker.call(["exec", &self.name, "sh", "-c", script]).limit(RUN_LIMIT).finish()
    }

    /// The output of a script that has to succeed inside the container.
    pub(super) fn exec_ok(&self, script: &str) -> Outcome<String> {
        let call = self.docker.call(["exec", &self.name, "sh", "-c", script]).limit(RUN_LIMIT);
        call.output().map(|output| output.trim().to_owned())
    }

    /// The address on this machine at which the server is published.
    pub(super) fn address(&self) -> Outcome<String> {
        let answer = self.docker.ask(["port", &self.name, "4096/tcp"])?;
        answer
            .lines()
            .next()
            .map(ToOwned::to_owned)
            .ok_or_else(|| Failure::new(format!("{} publishes no port", self.name)))
    }

    /// Asks until the server is healthy; a container that ended ends the wait.
    pub(super) fn ready(&self, mut healthy: impl FnMut() -> bool) -> Outcome<Duration> {
        let begun = Instant::now();
        let mut looked = Instant::now();
        let outcome = poll::until(READY_LIMIT, || {
            if healthy() {
                return Some(Ok(begun.elapsed()));
            }
            if signals::stop_asked() {
                return Some(Err(Failure::interrupted()));
            }
            if looked.elapsed() > Duration::from_secs(1) {
                looked = Instant::now();
                let running = self.docker.ask(["inspect", "--format", "{{.State.Running}}", &self.name]);
                if running.is_ok_and(|running| running != "true") {
                    return Some(Err(Failure::new("the container ended before its server was ready")));
                }
            }
            None
        });
        outcome
            .unwrap_or_else(|| {
                Err(Failure::new(format!("the server was not ready within {} s", READY_LIMIT.as_secs())))
            })
            .map_err(|failure| {
                let logs = self.docker.call(["logs", "--tail", "20", &self.name]).limit(RUN_LIMIT).finish();
                let logs = logs.map(|logs| format!("{}{}", logs.stdout, logs.stderr)).unwrap_or_default();
                if logs.trim().is_empty() {
                    failure
                } else {
                    failure.help(format!("its log:\n{}", logs.trim()))
                }
            })
    }

    pub(super) fn login(&self) -> (&str, &str) {
        ("opencode", &self.password)
    }

    /// Healthy as seen from this machine.
    pub(super) fn healthy_at(&self, address: &str) -> bool {
        let request = Request { login: Some(self.login()), ..Request::get("/global/health") };
        http::over_tcp(address, &request, TRY_LIMIT).is_ok_and(|reply| reply.status == 200)
    }

    pub(super) fn ask(address: &str, request: &Request<'_>) -> Outcome<Reply> {
        http::over_tcp(address, request, ASK_LIMIT)
            .during(|| format!("{} {}", request.method, request.target))
    }

    /// Healthy as seen from inside, for a container without a network.
    pub(super) fn healthy_inside(&self) -> bool {
        self.ask_inside("GET", "/global/health", TRY_LIMIT).is_ok_and(|(status, _)| status == 200)
    }

    /// Status and seconds of a request from inside. The password goes over standard input, not into an argument.
    pub(super) fn ask_inside(&self, method: &str, target: &str, limit: Duration) -> Outcome<(u16, f64)> {
        let header = http::authorization("opencode", &self.password);
        let (url, limit) = (format!("http://127.0.0.1:4096{target}"), limit.as_secs_f64().to_string());
        let call =
            self.docker.call(["exec", "--interactive", &self.name, "curl", "--silent", "--max-time", &limit]);
        let call = call.args(["--header", "@-", "--request", method, "--output", "/dev/null"]);
        let call = call.args(["--write-out", "%{http_code} %{time_total}"]).arg(&url);
        let call = if method == "POST" { call.args(["--json", "{}"]) } else { call };
        let output = call.input(header).limit(RUN_LIMIT + ASK_LIMIT).output()?;
        let figures = output.trim().split_once(' ');
        figures
            .and_then(|(status, seconds)| Some((status.parse().ok()?, seconds.parse().ok()?)))
            .ok_or_else(|| Failure::new(format!("curl inside the container answered: {output}")))
    }

    pub(super) fn inspect(&self) -> Outcome<serde_json::Value> {
        self.docker.container(&self.name)
    }

    /// Stops it as a person would; returns how long it took and the exit code.
    pub(super) fn stop(&self) -> Outcome<(Duration, i64)> {
        let begun = Instant::now();
        self.docker.call(["stop", "--time", "10", &self.name]).limit(RUN_LIMIT).output()?;
        let took = begun.elapsed();
        let inspect = self.inspect()?;
        let code = inspect.pointer("/State/ExitCode").and_then(serde_json::Value::as_i64);
        Ok((took, code.unwrap_or(-1)))
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        // A container that never came to be is no reason to complain.
        let removal =
            self.docker.call(["rm", "--force", "--volumes", &self.name]).limit(RUN_LIMIT).shielded();
        let _ = removal.finish();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn random() -> Outcome<String> {
    let mut bytes = [0_u8; 16];
    let source = "/dev/urandom";
    let mut file = fs::File::open(source).during(|| format!("open {source}"))?;
    file.read_exact(&mut bytes).during(|| format!("read {source}"))?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
