//! The situations that the image has to get through.

use std::time::{Duration, Instant};

use super::Report;
use super::facts::{self, Process};
use super::trial::{ASK_LIMIT, HARDENED, Trial};
use crate::docker::Docker;
use crate::engine::privileged;
use crate::failure::{Failure, Outcome};
use crate::http::Request;
use crate::paths;
use crate::step::Took;

type Scenario = fn(&Docker, &str, &mut Report) -> Outcome;

pub(super) const ALL: [(&str, Scenario); 7] = [
    ("as the runner starts it", hardened),
    ("no network, a plugin in the workspace, project settings off", plugin_ignored),
    ("no network, a plugin in the workspace, project settings on", plugin_in_workspace),
    ("no network, a plugin of the operator's that imports the baked package", plugin_of_operator),
    ("a plain docker run with nothing but a password", plain),
    ("without a password", no_password),
    ("state that cannot be written", no_state),
];

/// An idle machine needs 0.1 s; waiting for npm takes 70 s without a network.
const SESSION_LIMIT: Duration = Duration::from_secs(5);
const STOP_LIMIT: Duration = Duration::from_secs(3);
const SESSION: &str = "/session?directory=/workspace";

fn ensure(holds: bool, seen: impl Into<String>) -> Outcome<String> {
    if holds { Ok(seen.into()) } else { Err(Failure::new(seen)) }
}

fn options<'a>(parts: impl IntoIterator<Item = &'a str>, mounts: Vec<String>) -> Vec<String> {
    HARDENED.into_iter().chain(parts).map(ToOwned::to_owned).chain(mounts).collect()
}

fn hardened(docker: &Docker, image: &str, report: &mut Report) -> Outcome {
    let trial = Trial::new(docker, "hardened")?;
    trial.start(image, &options(["--publish", "127.0.0.1::4096"], trial.mounts()))?;
    let address = trial.address()?;
    let took = trial.ready(|| trial.healthy_at(&address))?;
    report.check("the server answers", Ok(Took(took).to_string()));

    report.check("its version is the pinned one", version(&trial, &address));
    for (what, login, wanted) in [
        ("without a password: 401", None, 401),
        ("with a wrong password: 401", Some(("opencode", "wrong")), 401),
        ("with the password: 200", Some(trial.login()), 200),
    ] {
        let request = Request { login, ..Request::get("/global/health") };
        let reply = Trial::ask(&address, &request);
        report
            .check(what, reply.and_then(|reply| ensure(reply.status == wanted, format!("{}", reply.status))));
    }
    let begun = Instant::now();
    let request = Request { method: "POST", target: SESSION, login: Some(trial.login()), json: Some("{}") };
    let session = Trial::ask(&address, &request).and_then(|reply| {
        let took = begun.elapsed();
        let made = reply.status == 200 && reply.body.contains("\"ses_");
        ensure(made && took < SESSION_LIMIT, format!("status {} after {}", reply.status, Took(took)))
    });
    report.check("a session is created", session);

    let inspect = trial.inspect()?;
    let shortcomings = facts::shortcomings(&inspect);
    report.check(
        "the engine holds to the safety defaults",
        ensure(shortcomings.is_empty(), shortcomings.join(", ")),
    );
    let status = trial.exec_ok("cat /proc/[0-9]*/status 2>/dev/null || :")?;
    let processes = Process::parse_all(&status);
    let shortcomings: Vec<_> = processes.iter().flat_map(Process::shortcomings).collect();
    let seen = if shortcomings.is_empty() {
        processes.iter().map(|process| process.name.as_str()).collect::<Vec<_>>().join(" ")
    } else {
        shortcomings.join(", ")
    };
    let has_server = processes.iter().any(|process| process.name == "opencode");
    report
        .check("no process is root or could become it", ensure(has_server && shortcomings.is_empty(), seen));
    // A directory that everybody may write to, so that nothing but the read-only file system refuses.
    let write = trial.exec("touch /var/tmp/x")?;
    report.check(
        "the root file system is read-only",
        ensure(write.stderr.contains("Read-only"), write.stderr.trim()),
    );
    let temporary = trial.exec("cp /bin/true /tmp/x && /tmp/x && cp /bin/true ~/x && ~/x")?;
    report.check(
        "/tmp and the home directory can be used",
        ensure(temporary.code == 0, temporary.stderr.trim()),
    );
    report.check("git accepts a workspace of any owner", git(&trial));
    let tools = trial.exec_ok("git --version && rg --version | head -n 1 && curl --version | head -c 12")?;
    report.check("git, ripgrep and curl are there", Ok(tools.replace('\n', ", ")));
    let health = trial.exec("/opt/opencode/bin/healthcheck.sh")?;
    report.check("the health check says healthy", ensure(health.code == 0, health.stderr.trim()));
    report.check(
        "the password is in no place that Docker shows",
        secret(docker, &trial, image, &inspect.to_string()),
    );
    report.check("it stops when it is told to", stopped(&trial));
    Ok(())
}

fn version(trial: &Trial<'_>, address: &str) -> Outcome<String> {
    let pinned = paths::opencode_version()?;
    let reply =
        Trial::ask(address, &Request { login: Some(trial.login()), ..Request::get("/global/health") })?;
    let health: serde_json::Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let running = health.get("version").and_then(serde_json::Value::as_str).unwrap_or_default();
    ensure(running == pinned, format!("{running}, pinned {pinned}"))
}

fn git(trial: &Trial<'_>) -> Outcome<String> {
    trial.exec_ok("git init -q /workspace/repository")?;
    if privileged() {
        // A third owner, neither the container's user nor root.
        let repository = trial.path("workspace/repository");
        crate::process::Call::new("chown").args(["-R", "4242:4242"]).arg(repository).output()?;
    }
    trial.exec_ok("git -C /workspace/repository rev-parse --show-toplevel")
}

fn secret(docker: &Docker, trial: &Trial<'_>, image: &str, inspect: &str) -> Outcome<String> {
    let history = docker.ask(["history", "--no-trunc", image])?;
    let logs = docker.call(["logs", &trial.name]).finish()?;
    let logs = format!("{}{}", logs.stdout, logs.stderr);
    let arguments =
        trial.exec_ok("tr '\\0' ' ' < /proc/1/cmdline; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")?;
    // The first word is random and free of characters that JSON would write differently.
    let secret = trial.password.split(' ').next().unwrap_or_default();
    let places = [("inspect", inspect), ("history", &history), ("logs", &logs), ("arguments", &arguments)];
    let found: Vec<_> =
        places.into_iter().filter(|(_, text)| text.contains(secret)).map(|(place, _)| place).collect();
    ensure(found.is_empty(), found.join(", "))
}

fn stopped(trial: &Trial<'_>) -> Outcome<String> {
    let (took, code) = trial.stop()?;
    ensure(took < STOP_LIMIT && code == 143, format!("{}, exit code {code}", Took(took)))
}

/// A plugin that leaves a mark where the host can see it.
fn plugin(import: &str) -> String {
    format!(
        "import {{ writeFileSync }} from \"fs\"\n{import}\n\
         export const Mark = async () => {{ writeFileSync(\"/workspace/mark\", typeof mark); return {{}} }}\n"
    )
}

/// The first session of a server that is ready, with the time that it took.
fn first_session(trial: &Trial<'_>) -> Outcome<String> {
    trial.ready(|| trial.healthy_inside())?;
    let (status, seconds) = trial.ask_inside("POST", SESSION, ASK_LIMIT)?;
    ensure(
        status == 200 && seconds < SESSION_LIMIT.as_secs_f64(),
        format!("status {status} after {seconds:.2} s"),
    )
}

fn workspace_plugin<'a>(docker: &'a Docker, name: &str) -> Outcome<Trial<'a>> {
    let trial = Trial::new(docker, name)?;
    trial.own_directory("workspace/.opencode")?;
    trial.own_directory("workspace/.opencode/plugin")?;
    trial.own_file("workspace/.opencode/plugin/mark.js", &plugin("const mark = 1"), 0o644)?;
    Ok(trial)
}

fn plugin_ignored(docker: &Docker, image: &str, report: &mut Report) -> Outcome {
    let trial = workspace_plugin(docker, "ignored")?;
    let environment = ["--network", "none", "--env", "OPENCODE_DISABLE_PROJECT_CONFIG=1"];
    trial.start(image, &options(environment, trial.mounts()))?;
    report.check("the first session does not wait for npm", first_session(&trial));
    let entries = trial.exec_ok("ls -A /workspace /workspace/.opencode | grep -v '^/' | tr '\\n' ' '")?;
    report.check(
        "the plugin did not run, and nothing was written beside it",
        ensure(entries == ".opencode  plugin", entries),
    );
    Ok(())
}

fn plugin_in_workspace(docker: &Docker, image: &str, report: &mut Report) -> Outcome {
    let trial = workspace_plugin(docker, "workspace")?;
    trial.start(image, &options(["--network", "none"], trial.mounts()))?;
    report.check("the first session waits for npm's first refusal only", first_session(&trial));
    report.check("the plugin ran", trial.exec_ok("cat /workspace/mark"));
    Ok(())
}

fn plugin_of_operator(docker: &Docker, image: &str, report: &mut Report) -> Outcome {
    let trial = Trial::new(docker, "operator")?;
    trial.own_directory("plugin")?;
    let import = "import { tool as mark } from \"@opencode-ai/plugin\"";
    let file = trial.own_file("plugin/mark.js", &plugin(import), 0o644)?;
    let directory = file.parent().map(|directory| directory.display().to_string()).unwrap_or_default();
    let mount = format!("{directory}:/opt/opencode/config/opencode/plugin:ro");
    trial.start(image, &options(["--network", "none", "--volume", &mount], trial.mounts()))?;
    report.check("the first session does not wait for npm", first_session(&trial));
    let mark = trial.exec_ok("cat /workspace/mark").and_then(|mark| ensure(mark == "function", mark));
    report.check("the plugin ran with the package it imports", mark);
    Ok(())
}

fn plain(docker: &Docker, image: &str, report: &mut Report) -> Outcome {
    let trial = Trial::new(docker, "plain")?;
    let password = trial.own_file("run/password", &trial.password.clone(), 0o444)?;
    let mount = format!("{}:/run/runner/password:ro", password.display());
    trial.start(image, &["--volume", &mount, "--publish", "127.0.0.1::4096"].map(ToOwned::to_owned))?;
    let address = trial.address()?;
    let took = trial.ready(|| trial.healthy_at(&address))?;
    report.check("the server answers", Ok(Took(took).to_string()));
    let request = Request { method: "POST", target: SESSION, login: Some(trial.login()), json: Some("{}") };
    let session = Trial::ask(&address, &request)
        .and_then(|reply| ensure(reply.status == 200, reply.status.to_string()));
    report.check("a session is created", session);
    report.check(
        "the first process is an init",
        trial.exec_ok("cat /proc/1/comm").and_then(|name| ensure(name == "tini", name)),
    );
    report.check(
        "the user of the image is not root",
        trial.exec_ok("id -u").and_then(|id| ensure(id != "0", id)),
    );
    report.check("it stops when it is told to", stopped(&trial));
    let other = Trial::new(docker, "command")?;
    let told = other.run(image, &[], &["opencode", "--version"])?;
    let pinned = paths::opencode_version()?;
    report.check(
        "a command runs in place of the server",
        ensure(told.stdout.trim() == pinned, told.stdout.trim()),
    );
    Ok(())
}

fn no_password(docker: &Docker, image: &str, report: &mut Report) -> Outcome {
    type Prepare = fn(&Trial<'_>) -> Outcome;
    let missing: Prepare = |trial| {
        std::fs::remove_file(trial.path("run/password")).map_err(|error| Failure::new(error.to_string()))
    };
    let empty: Prepare = |trial| trial.own_file("run/password", "\n", 0o400).map(drop);
    let locked: Prepare = |trial| trial.own_file("run/password", "x", 0o000).map(drop);
    for (name, promise, prepare) in [
        ("missing", "a missing file ends it with 64 and a word of advice", missing),
        ("empty", "an empty file as well", empty),
        ("locked", "a file that its user cannot read as well", locked),
    ] {
        let trial = Trial::new(docker, name)?;
        prepare(&trial)?;
        let ended = trial.run(image, &options([], trial.mounts()), &[])?;
        let words = ended.stderr.trim().replace('\n', " / ");
        let told = ended.code == 64 && words.contains("/run/runner/password");
        report.check(promise, ensure(told, format!("exit code {}, {words}", ended.code)));
    }
    Ok(())
}

fn no_state(docker: &Docker, image: &str, report: &mut Report) -> Outcome {
    let trial = Trial::new(docker, "state")?;
    let mounts = trial
        .mounts()
        .into_iter()
        .map(|option| if option.ends_with(":/state") { format!("{option}:ro") } else { option });
    let ended = trial.run(image, &options([], mounts.collect()), &[])?;
    let words = ended.stderr.trim().replace('\n', " / ");
    let told = ended.code == 73 && words.contains("/state");
    report.check(
        "it ends with 73 and names the directory",
        ensure(told, format!("exit code {}, {words}", ended.code)),
    );
    Ok(())
}
