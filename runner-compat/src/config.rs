//! Settings of the default stack, and what the environment says about them.

use std::path::PathBuf;
use std::time::Duration;

use runner_core::{AgentSettings, Error, ErrorKind, Result};
use runner_docker::{DockerConfig, EndpointSources, Setting};
use runner_lifecycle::LifecycleConfig;
use runner_opencode::OpenCodeConfig;
use runner_workspace::WorkspaceConfig;

use crate::env::Environment;

/// The image that `cargo xtask image build` makes.
const DEFAULT_IMAGE: &str = "cnap-runner:latest";
/// Where the specification has workspaces, below the controller's working directory.
const DEFAULT_WORKSPACES: &str = "data/workspace";

/// API keys by provider, and the variables they are known by; the first that is set counts. OpenCode's own gateway
/// has three names: two of the old system and its later one.
const KEYS: [(&str, &[&str]); 8] = [
    ("opencode", &["OPEN_CODE_API_KEY", "OPENCODE_API_KEY", "CNAP_OPENCODE_API_KEY"]),
    ("anthropic", &["ANTHROPIC_API_KEY"]),
    ("openai", &["OPENAI_API_KEY"]),
    ("google", &["GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"]),
    ("openrouter", &["OPENROUTER_API_KEY"]),
    ("groq", &["GROQ_API_KEY"]),
    ("mistral", &["MISTRAL_API_KEY"]),
    ("xai", &["XAI_API_KEY"]),
];

/// Settings of the old system that have no counterpart yet.
const NOT_YET: [&str; 3] =
    ["CNAP_RUNNER_IDLE_TIMEOUT", "CNAP_RUNNER_CLEANUP_INTERVAL", "CNAP_RUNNER_MAX_CONTAINERS"];

/// Everything the default stack is made of.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// The engine.
    pub docker: DockerConfig,
    /// What says where the engine is. `Some`: the engine is looked for when the stack connects, and what is found
    /// replaces [`docker.host`](DockerConfig::host). `None`: `docker.host` is used as it is.
    pub search: Option<EndpointSources>,
    /// The client of agents' servers.
    pub opencode: OpenCodeConfig,
    /// Where workspaces are.
    pub workspaces: WorkspaceConfig,
    /// How runners are started, worked with and ended.
    pub lifecycle: LifecycleConfig,
    /// What every agent is configured with, unless a start says otherwise.
    pub agent: AgentSettings,
}

impl StackConfig {
    /// The defaults, changed by what the environment says:
    ///
    /// | variable | meaning |
    /// |---|---|
    /// | `CNAP_RUNNER_DOCKER_HOST` | the engine: `unix:///…`, `tcp://host:port` or `https://host:port` |
    /// | `DOCKER_HOST`, `DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`, `DOCKER_CONTEXT`, `DOCKER_CONFIG` | as for the `docker` command, where that is not set |
    /// | `CNAP_RUNNER_IMAGE` | the agent's image; `cnap-runner:latest` |
    /// | `CNAP_RUNNER_WORKSPACE_DIR` | where workspaces are; `data/workspace` |
    /// | `CNAP_RUNNER_MAX_RUNTIME` | longest turn, for instance `30m` |
    /// | `CNAP_RUNNER_SHUTDOWN_TIMEOUT` | longest shutdown, for instance `30s` |
    /// | `OPEN_CODE_API_KEY`, `ANTHROPIC_API_KEY`, … | providers' keys; they reach the agent as files |
    ///
    /// Without any of them, the usual sockets are tried when the stack connects; see
    /// [`find_endpoint`](runner_docker::find_endpoint). TLS needs the feature `tls`.
    ///
    /// A value that does not parse is an error that names the variable, never a silent default.
    pub fn from_env(env: &Environment) -> Result<Self> {
        let image =
            env.parsed("CNAP_RUNNER_IMAGE", |v| v.parse().map_err(|e: Error| e.message().to_owned()))?;
        let image = match image {
            Some(image) => image,
            None => DEFAULT_IMAGE.parse()?,
        };
        let root = env.text("CNAP_RUNNER_WORKSPACE_DIR")?.unwrap_or(DEFAULT_WORKSPACES);

        let search = endpoint_sources(env)?;
        let mut docker = DockerConfig::default();
        // What cannot work is told now; whether the engine answers, when the stack connects.
        if let Some(found) = search.ordered()? {
            docker.host = found.host;
        }
        let mut lifecycle = LifecycleConfig::new(image, instance_id()?);
        if let Some(limit) = env.parsed("CNAP_RUNNER_MAX_RUNTIME", duration)? {
            lifecycle.turn.timeout = limit;
        }
        if let Some(limit) = env.parsed("CNAP_RUNNER_SHUTDOWN_TIMEOUT", duration)? {
            lifecycle.stop.shutdown = limit;
        }
        let mut agent = AgentSettings::default();
        for (provider, names) in KEYS {
            if let Some(key) = env.secret(names)? {
                agent.keys.insert(provider.to_owned(), key);
            }
        }
        for name in NOT_YET {
            if env.text(name)?.is_some() {
                tracing::warn!(variable = name, "is set and has no effect in this version");
            }
        }
        Ok(Self {
            docker,
            search: Some(search),
            opencode: OpenCodeConfig::default(),
            workspaces: WorkspaceConfig::new(PathBuf::from(root)),
            lifecycle,
            agent,
        })
    }
}

fn endpoint_sources(env: &Environment) -> Result<EndpointSources> {
    const EXPLICIT: &str = "CNAP_RUNNER_DOCKER_HOST";
    let text = |name| env.text(name).map(|value| value.map(str::to_owned));
    let path = |name| env.text(name).map(|value| value.map(PathBuf::from));
    Ok(EndpointSources {
        explicit: text(EXPLICIT)?.map(|value| Setting { name: EXPLICIT.to_owned(), value }),
        docker_host: text("DOCKER_HOST")?,
        docker_context: text("DOCKER_CONTEXT")?,
        docker_config: path("DOCKER_CONFIG")?,
        docker_tls_verify: text("DOCKER_TLS_VERIFY")?,
        docker_cert_path: path("DOCKER_CERT_PATH")?,
        xdg_runtime_dir: path("XDG_RUNTIME_DIR")?,
        home: path("HOME")?,
        system_root: None,
    })
}

/// A time such as `90s`, `30m` or `1h30m`; a number alone has no unit and is refused, and so is nothing at all.
fn duration(value: &str) -> Result<Duration, String> {
    match humantime::parse_duration(value.trim()) {
        Ok(time) if time.is_zero() => Err("a limit of no time ends everything at once".to_owned()),
        Ok(time) => Ok(time),
        Err(e) => Err(format!("{e}; write it like 90s, 30m or 1h30m")),
    }
}

/// Different for each process, so that two controllers on one engine never take each other's containers for theirs.
fn instance_id() -> Result<String> {
    let random = getrandom::u64().map_err(|e| {
        Error::new(ErrorKind::Internal, "name this controller", format!("no random bytes: {e}"))
    })?;
    Ok(format!("{random:016x}"))
}

#[cfg(test)]
mod tests {
    use runner_docker::DockerHost;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<StackConfig> {
        StackConfig::from_env(&variables.iter().copied().collect())
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let config = read(&[]).unwrap();
        assert_eq!(config.lifecycle.image.as_str(), "cnap-runner:latest");
        assert_eq!(config.workspaces.root, PathBuf::from("data/workspace"));
        assert_eq!(config.lifecycle.turn.timeout, Duration::from_mins(30));
        assert_eq!(config.lifecycle.stop.shutdown, Duration::from_secs(30));
        assert!(config.agent.keys.is_empty());
        assert_eq!(config.docker.host, DockerHost::default());
        assert_eq!(config.search, Some(EndpointSources::default()), "the usual sockets");
    }

    #[test]
    fn our_own_name_for_the_engine_goes_before_dockers() {
        let config = read(&[
            ("DOCKER_HOST", "tcp://10.0.0.1:2375"),
            ("CNAP_RUNNER_DOCKER_HOST", "unix:///run/mine.sock"),
            ("DOCKER_CONTEXT", "far"),
            ("DOCKER_CONFIG", "/etc/docker-client"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/etc/certs"),
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("HOME", "/home/me"),
        ])
        .unwrap();
        assert_eq!(config.docker.host.to_string(), "unix:///run/mine.sock");
        let text = |text: &str| Some(text.to_owned());
        let want = EndpointSources {
            explicit: Some(Setting {
                name: "CNAP_RUNNER_DOCKER_HOST".to_owned(),
                value: "unix:///run/mine.sock".to_owned(),
            }),
            docker_host: text("tcp://10.0.0.1:2375"),
            docker_context: text("far"),
            docker_config: Some("/etc/docker-client".into()),
            docker_tls_verify: text("1"),
            docker_cert_path: Some("/etc/certs".into()),
            xdg_runtime_dir: Some("/run/user/7".into()),
            home: Some("/home/me".into()),
            system_root: None,
        };
        assert_eq!(config.search, Some(want));
    }

    #[test]
    fn every_variable_is_taken() {
        let config = read(&[
            ("DOCKER_HOST", "tcp://10.0.0.1:2375"),
            ("CNAP_RUNNER_IMAGE", "agent:2"),
            ("CNAP_RUNNER_WORKSPACE_DIR", "/srv/ws"),
            ("CNAP_RUNNER_MAX_RUNTIME", "1h30m"),
            ("CNAP_RUNNER_SHUTDOWN_TIMEOUT", "5s"),
            ("OPENAI_API_KEY", "sk-planted"),
            ("OPENCODE_API_KEY", " later "),
        ])
        .unwrap();
        assert_eq!(config.docker.host.to_string(), "tcp://10.0.0.1:2375");
        assert_eq!(config.lifecycle.image.as_str(), "agent:2");
        assert_eq!(config.workspaces.root, PathBuf::from("/srv/ws"));
        assert_eq!(config.lifecycle.turn.timeout, Duration::from_mins(90));
        assert_eq!(config.lifecycle.stop.shutdown, Duration::from_secs(5));
        assert_eq!(config.agent.keys["opencode"].expose(), "later");
        assert!(!format!("{config:?}").contains("sk-planted"), "a key must not be printed");
    }

    #[test]
    fn the_first_name_of_a_key_counts_and_an_empty_one_does_not() {
        let both = [("OPENCODE_API_KEY", "b"), ("OPEN_CODE_API_KEY", "a")];
        assert_eq!(read(&both).unwrap().agent.keys["opencode"].expose(), "a");
        let empty = [("OPENCODE_API_KEY", "b"), ("OPEN_CODE_API_KEY", " ")];
        assert_eq!(read(&empty).unwrap().agent.keys["opencode"].expose(), "b");
    }

    #[test]
    fn a_value_that_does_not_parse_names_its_variable() {
        for (name, value) in [
            ("DOCKER_HOST", "ssh://host"),
            ("DOCKER_HOST", "docker.sock"),
            ("CNAP_RUNNER_DOCKER_HOST", "docker.sock"),
            ("DOCKER_CONTEXT", "far"),
            ("CNAP_RUNNER_IMAGE", "Not An Image"),
            ("CNAP_RUNNER_MAX_RUNTIME", "30"),
            ("CNAP_RUNNER_MAX_RUNTIME", "soon"),
            ("CNAP_RUNNER_SHUTDOWN_TIMEOUT", "0s"),
        ] {
            let error = read(&[(name, value)]).expect_err(value);
            assert!(error.to_string().contains(name), "{name}={value}: {error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn two_controllers_have_two_names() {
        assert_ne!(read(&[]).unwrap().lifecycle.instance, read(&[]).unwrap().lifecycle.instance);
    }
}
