//! The engine through the `docker` command.

use std::path::PathBuf;
use std::time::Duration;

use crate::env;
use crate::failure::{Failure, Outcome};
use crate::process::Call;

/// For calls that only ask.
const ASK_LIMIT: Duration = Duration::from_secs(20);

/// A `docker` command and the engine that it talks to.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    program: PathBuf,
    host: String,
}

impl Docker {
    /// The first `docker` on PATH that gets along with this engine: a newer client may refuse an older engine's API.
    pub(crate) fn at(host: &str) -> Outcome<Self> {
        let mut refusals = Vec::new();
        for program in env::programs("docker") {
            let docker = Self { program, host: host.to_owned() };
            match docker.ask(["version", "--format", "{{.Server.Version}}"]) {
                Ok(_) => return Ok(docker),
                Err(failure) => refusals.push(failure.to_string()),
            }
        }
        if refusals.is_empty() {
            let help = "install a Docker client (Debian and Ubuntu: apt-get install docker.io; elsewhere: docker-cli)";
            return Err(Failure::new("there is an engine, but no `docker` command on PATH").help(help));
        }
        Err(Failure::new(format!(
            "no `docker` command gets along with the engine at {host}:\n{}",
            refusals.join("\n")
        )))
    }

    pub(crate) fn call<const N: usize>(&self, args: [&str; N]) -> Call {
        Call::new(&self.program)
            .args(["--host", &self.host])
            .args(args)
            // These would compete with --host, or choose a builder that the client may not have.
            .without_env("DOCKER_HOST")
            .without_env("DOCKER_CONTEXT")
            .without_env("DOCKER_TLS_VERIFY")
            .without_env("DOCKER_BUILDKIT")
    }

    pub(crate) fn ask<const N: usize>(&self, args: [&str; N]) -> Outcome<String> {
        self.call(args).limit(ASK_LIMIT).output().map(|answer| answer.trim().to_owned())
    }

    /// `None`: no such image here.
    pub(crate) fn image(&self, reference: &str) -> Outcome<Option<serde_json::Value>> {
        let call = self.call(["image", "inspect", reference]).limit(ASK_LIMIT);
        let finished = call.finish()?;
        if finished.code != 0 {
            let missing = finished.stderr.to_lowercase().contains("no such image");
            return if missing { Ok(None) } else { Err(call.failed(&finished)) };
        }
        first(&finished.stdout, reference).map(Some)
    }

    pub(crate) fn container(&self, name: &str) -> Outcome<serde_json::Value> {
        first(&self.ask(["container", "inspect", name])?, name)
    }

    /// Removes every container with this label, running or not, with its volumes. Ctrl-C does not stop it.
    pub(crate) fn remove_containers(&self, label: &str) -> Outcome<usize> {
        let filter = format!("label={label}");
        let found = self
            .call(["ps", "--all", "--quiet", "--filter", &filter])
            .limit(ASK_LIMIT)
            .shielded()
            .output()?;
        let ids: Vec<&str> = found.split_whitespace().collect();
        if !ids.is_empty() {
            self.call(["rm", "--force", "--volumes"])
                .args(&ids)
                .limit(Duration::from_mins(1))
                .shielded()
                .output()?;
        }
        Ok(ids.len())
    }
}

/// `inspect` answers with a list, also for one.
fn first(text: &str, of: &str) -> Outcome<serde_json::Value> {
    let list: Option<Vec<serde_json::Value>> = serde_json::from_str(text).ok();
    list.and_then(|list| list.into_iter().next())
        .ok_or_else(|| Failure::new(format!("docker inspect {of} did not answer with a list: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspect_list_is_unwrapped() {
        assert_eq!(
            first("[{\"Id\":\"x\"}]", "i").expect("one").pointer("/Id").and_then(|v| v.as_str()),
            Some("x")
        );
        assert!(first("[]", "i").is_err());
        assert!(first("nonsense", "i").expect_err("no list").to_string().contains("nonsense"));
    }
}
