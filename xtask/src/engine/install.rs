//! An engine where there is none: on Debian and Ubuntu, as root.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Engine, daemon, find};
use crate::env;
use crate::failure::{Failure, Outcome};
use crate::process::Call;
use crate::step::{note, step};

/// Without the recommended packages: what they add (git, xz, AppArmor's tools) an engine does not need to run a container.
const PACKAGES: [&str; 2] = ["docker.io", "iptables"];
/// 70 MB from a slow mirror; anything longer is a mirror that does not answer.
const APT_LIMIT: Duration = Duration::from_mins(10);

/// The engine that is there, or else one that is started, and with `install` installed, now.
pub(crate) fn up(flag: Option<&str>, install: bool) -> Outcome<Engine> {
    if let Some(engine) = find::find_or_none(flag)? {
        return Ok(engine);
    }
    note("no engine answers on this machine");
    if daemon::program().is_none() {
        may_install(install)?;
        packages(&PACKAGES)?;
    } else if !privileged() {
        return Err(Failure::new("dockerd is installed and does not run, and only root can start it")
            .help("sudo systemctl start docker\n(or run this command as root)"));
    }
    start_and_find(flag)
}

fn start_and_find(flag: Option<&str>) -> Outcome<Engine> {
    daemon::start()?;
    find(flag)
}

fn may_install(install: bool) -> Outcome {
    let missing = Failure::new("no Docker engine is installed on this machine");
    if !Path::new("/etc/debian_version").exists() || !env::has("apt-get") {
        return Err(missing.help(
            "xtask installs one on Debian and Ubuntu only; here install Docker or Podman yourself, start it, and run this again\n\
             (macOS: Docker Desktop or `brew install colima docker && colima start`)",
        ));
    }
    if !privileged() {
        return Err(missing
            .help("run `cargo xtask engine up --install` as root, or `sudo apt-get install docker.io`"));
    }
    if !install {
        return Err(missing.help("`cargo xtask engine up --install` installs docker.io and starts it"));
    }
    Ok(())
}

/// Installs Debian packages. They stay: removing them could take away what somebody else relies on by then.
pub(crate) fn packages(names: &[&str]) -> Outcome {
    let apt = |args: &[&str]| {
        Call::new("apt-get")
            .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .limit(APT_LIMIT)
    };
    let help =
        "look at the message above; a mirror that does not answer, or a held lock, goes away by itself";
    let run = |call: Call| call.output().map(drop).map_err(|failure| failure.help(help));
    step("apt-get update", || run(apt(&["update"])))?;
    let list = names.join(" ");
    step(format!("apt-get install {list} (stays installed)"), || {
        run(apt(&["install", "-y", "--no-install-recommends"]).args(names))
    })
}

/// Root may install packages and start an engine.
pub(crate) fn privileged() -> bool {
    user_id() == Some(0)
}

/// Ours. Without /proc (macOS) the command is asked.
pub(crate) fn user_id() -> Option<u32> {
    let by_proc = std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid());
    by_proc.or_else(|| Call::new("id").arg("-u").output().ok()?.trim().parse().ok())
}

/// A program of the system's, also where PATH lacks its directory (as after `su`).
pub(super) fn system_program(name: &str) -> Option<PathBuf> {
    let usual = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin"]
        .map(|directory| Path::new(directory).join(name));
    env::programs(name).into_iter().chain(usual).find(|program| program.is_file())
}
