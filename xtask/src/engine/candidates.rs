//! Where an engine may be, in the order in which it is looked for. Pure.

/// What the machine and the person say about engines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// `--host`.
    pub(crate) flag: Option<String>,
    /// `DOCKER_HOST`.
    pub(crate) docker_host: Option<String>,
    /// The current Docker context, or why there is none to ask for.
    pub(crate) context: Option<Result<Context, String>>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime_directory: Option<String>,
    pub(crate) home: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) host: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// As in `DOCKER_HOST`.
    pub(crate) host: String,
    pub(crate) origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    DockerHost,
    Context(String),
    WellKnown(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("--host"),
            Self::DockerHost => f.write_str("DOCKER_HOST"),
            Self::Context(name) => write!(f, "the Docker context \"{name}\""),
            Self::WellKnown(of) => write!(f, "the usual socket of {of}"),
        }
    }
}

impl Origin {
    /// Somebody named this engine and no other: another one in its place would be a surprise.
    pub(crate) fn is_order(&self) -> bool {
        matches!(self, Self::Flag | Self::DockerHost)
    }
}

pub(crate) fn candidates(around: &Surroundings) -> Vec<Candidate> {
    for (host, origin) in [(&around.flag, Origin::Flag), (&around.docker_host, Origin::DockerHost)] {
        if let Some(host) = host {
            return vec![Candidate { host: host.clone(), origin }];
        }
    }
    let mut found: Vec<Candidate> = Vec::new();
    let mut add = |host: String, origin| {
        if !found.iter().any(|candidate| candidate.host == host) {
            found.push(Candidate { host, origin });
        }
    };
    if let Some(Ok(context)) = &around.context {
        add(context.host.clone(), Origin::Context(context.name.clone()));
    }
    let runtime = around.runtime_directory.as_deref();
    let home = around.home.as_deref();
    let sockets = [
        (Some(""), "/var/run/docker.sock", "Docker"),
        (runtime, "/docker.sock", "rootless Docker"),
        (home, "/.docker/run/docker.sock", "Docker Desktop"),
        (home, "/.docker/desktop/docker.sock", "Docker Desktop for Linux"),
        (home, "/.colima/default/docker.sock", "Colima"),
        (runtime, "/podman/podman.sock", "rootless Podman"),
        (Some(""), "/run/podman/podman.sock", "Podman"),
    ];
    for (base, path, of) in sockets {
        if let Some(base) = base {
            add(format!("unix://{}{path}", base.trim_end_matches('/')), Origin::WellKnown(of));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(around: &Surroundings) -> Vec<String> {
        candidates(around).into_iter().map(|candidate| candidate.host).collect()
    }

    fn full() -> Surroundings {
        Surroundings {
            flag: Some("unix:///flag".to_owned()),
            docker_host: Some("unix:///variable".to_owned()),
            context: Some(Ok(Context { name: "mine".to_owned(), host: "unix:///context".to_owned() })),
            runtime_directory: Some("/run/user/7/".to_owned()),
            home: Some("/home/me".to_owned()),
        }
    }

    #[test]
    fn an_order_excludes_everything_else() {
        let mut around = full();
        assert_eq!(hosts(&around), ["unix:///flag"]);
        around.flag = None;
        assert_eq!(hosts(&around), ["unix:///variable"]);
    }

    #[test]
    fn then_the_context_then_the_sockets() {
        let around = Surroundings { flag: None, docker_host: None, ..full() };
        assert_eq!(
            hosts(&around),
            [
                "unix:///context",
                "unix:///var/run/docker.sock",
                "unix:///run/user/7/docker.sock",
                "unix:///home/me/.docker/run/docker.sock",
                "unix:///home/me/.docker/desktop/docker.sock",
                "unix:///home/me/.colima/default/docker.sock",
                "unix:///run/user/7/podman/podman.sock",
                "unix:///run/podman/podman.sock",
            ]
        );
    }

    #[test]
    fn without_home_and_runtime_directory_the_system_sockets_remain() {
        assert_eq!(
            hosts(&Surroundings::default()),
            ["unix:///var/run/docker.sock", "unix:///run/podman/podman.sock"]
        );
    }

    #[test]
    fn a_context_that_names_a_usual_socket_is_asked_once() {
        let host = "unix:///var/run/docker.sock".to_owned();
        let context = Some(Ok(Context { name: "default".to_owned(), host: host.clone() }));
        let found = candidates(&Surroundings { context, ..Surroundings::default() });
        assert_eq!(found.iter().filter(|candidate| candidate.host == host).count(), 1);
        assert_eq!(found.first().map(|c| c.origin.clone()), Some(Origin::Context("default".to_owned())));
    }
}
