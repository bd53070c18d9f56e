//! Reads what [`Surroundings`] holds from this machine.

use std::time::Duration;

use super::candidates::{Context, Surroundings};
use crate::env;
use crate::process::Call;

/// A context is a file; a client that takes longer is not going to answer.
const CONTEXT_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn read(flag: Option<&str>) -> Surroundings {
    let flag = flag.map(ToOwned::to_owned);
    let docker_host = env::read("DOCKER_HOST");
    // The client would report DOCKER_HOST as its context, and an order needs no context.
    let context = if flag.is_some() || docker_host.is_some() { None } else { Some(context()) };
    Surroundings {
        flag,
        docker_host,
        context,
        runtime_directory: env::read("XDG_RUNTIME_DIR").or_else(usual_runtime_directory),
        home: env::read("HOME"),
    }
}

/// `su` and `ssh` without a login session leave XDG_RUNTIME_DIR unset, while the sockets are there.
fn usual_runtime_directory() -> Option<String> {
    let directory = format!("/run/user/{}", super::install::user_id()?);
    std::path::Path::new(&directory).is_dir().then_some(directory)
}

fn context() -> Result<Context, String> {
    if !env::has("docker") {
        return Err("no Docker context: there is no `docker` command on PATH to ask".to_owned());
    }
    let call = Call::new("docker")
        .args(["context", "inspect", "--format", "{{.Name}} {{.Endpoints.docker.Host}}"])
        .limit(CONTEXT_LIMIT);
    let answer = call.output().map_err(|failure| format!("no Docker context: {failure}"))?;
    match answer.trim().split_once(' ') {
        Some((name, host)) if !host.is_empty() => {
            Ok(Context { name: name.to_owned(), host: host.to_owned() })
        }
        _ => Err(format!("no Docker context: `{}` answered \"{}\"", call.line(), answer.trim())),
    }
}
