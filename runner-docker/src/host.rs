//! Where an engine listens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use runner_core::{Error, ErrorKind, Result};

/// The port of an engine without TLS, where none is given.
const PLAIN_PORT: u16 = 2375;

/// The address of an engine.
///
/// Read from text with [`FromStr`]: `unix:///path`, an absolute path, `tcp://host:port` or `http://host:port`. What
/// cannot be honoured is an error, never another engine.
///
/// ```
/// use runner_docker::DockerHost;
/// assert_eq!("unix:///run/x.sock".parse::<DockerHost>()?, DockerHost::Unix("/run/x.sock".into()));
/// assert_eq!("tcp://10.0.0.1".parse::<DockerHost>()?.to_string(), "tcp://10.0.0.1:2375");
/// assert!("ssh://build.example".parse::<DockerHost>().is_err());
/// # Ok::<(), runner_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DockerHost {
    /// A Unix socket on this host.
    Unix(PathBuf),
    /// Plain HTTP over TCP. Whoever reaches that port is root on the engine's host: loopback or a tunnel only.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl Default for DockerHost {
    /// The socket where a system-wide Docker listens.
    fn default() -> Self {
        Self::Unix(PathBuf::from("/var/run/docker.sock"))
    }
}

impl DockerHost {
    /// The socket's path, where it is one: the engine then sees the same files as we do.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp { .. } => None,
        }
    }
}

fn refuse(kind: ErrorKind, value: &str, why: &str, hint: &str) -> Error {
    // What precedes an '@' may be a password.
    let shown = match (value.contains('@'), value.split_once("://")) {
        (true, Some((scheme, _))) => format!("{scheme}://…"),
        (true, None) => "the value".to_owned(),
        (false, _) => format!("{:?}", value.chars().take(200).collect::<String>()),
    };
    Error::new(kind, "read the engine's address", format!("{shown} {why}")).with_hint(hint)
}

impl FromStr for DockerHost {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self> {
        const FORMS: &str = "use unix:///path/to/docker.sock or tcp://host:port";
        const TUNNEL: &str = "forward its socket (ssh -N -L /tmp/docker.sock:/var/run/docker.sock HOST) and use \
                              unix:///tmp/docker.sock";
        let value = value.trim();
        if value.is_empty() {
            return Err(refuse(ErrorKind::InvalidInput, value, "is empty", FORMS));
        }
        let (scheme, rest) = match value.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("unix".to_owned(), value),
        };
        match scheme.as_str() {
            "unix" => {
                if !rest.starts_with('/') || rest.ends_with('/') || rest.contains('\0') {
                    let why = "does not name a socket by an absolute path";
                    return Err(refuse(ErrorKind::InvalidInput, value, why, FORMS));
                }
                Ok(Self::Unix(PathBuf::from(rest)))
            }
            "tcp" | "http" => tcp(rest).ok_or_else(|| {
                refuse(ErrorKind::InvalidInput, value, "is not a host with an optional port", FORMS)
            }),
            "https" => Err(refuse(
                ErrorKind::Unsupported,
                value,
                "needs TLS, which this build does not have",
                TUNNEL,
            )),
            "ssh" => Err(refuse(ErrorKind::Unsupported, value, "needs an SSH tunnel", TUNNEL)),
            _ => Err(refuse(ErrorKind::Unsupported, value, "has a scheme that is not supported", FORMS)),
        }
    }
}

fn tcp(rest: &str) -> Option<DockerHost> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = if let Some(inside) = rest.strip_prefix('[') {
        let (host, after) = inside.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some(""))?)
    } else {
        rest.split_once(':').unwrap_or((rest, ""))
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    let port = if port.is_empty() { PLAIN_PORT } else { port.parse().ok().filter(|p| *p != 0)? };
    (!host.is_empty() && host.bytes().all(legal)).then(|| DockerHost::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("unix:///var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("/run/podman/podman.sock", "unix:///run/podman/podman.sock"),
            (" UNIX:///a b/x.sock\n", "unix:///a b/x.sock"),
            ("tcp://localhost:1234", "tcp://localhost:1234"),
            ("http://localhost", "tcp://localhost:2375"),
            ("tcp://127.0.0.1:2375/", "tcp://127.0.0.1:2375"),
            ("tcp://[::1]:99", "tcp://[::1]:99"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
        ] {
            assert_eq!(text.parse::<DockerHost>().expect(text).to_string(), shown);
        }
        assert_eq!(DockerHost::default().to_string(), "unix:///var/run/docker.sock");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_a_way_out() {
        use ErrorKind::{InvalidInput, Unsupported};
        for (text, kind) in [
            ("", InvalidInput),
            ("docker.sock", InvalidInput),
            ("unix://docker.sock", InvalidInput),
            ("unix://", InvalidInput),
            ("unix:///run/", InvalidInput),
            ("tcp://", InvalidInput),
            ("tcp://host:0", InvalidInput),
            ("tcp://host:99999", InvalidInput),
            ("tcp://host:1/path", InvalidInput),
            ("tcp://[::1", InvalidInput),
            ("tcp://[x]:1", InvalidInput),
            ("tcp://::1:2375", InvalidInput),
            ("tcp://user:hunter2@host:1", InvalidInput),
            ("https://host:2376", Unsupported),
            ("ssh://user:hunter2@host", Unsupported),
            ("npipe:////./pipe/docker_engine", Unsupported),
            ("fd://3", Unsupported),
        ] {
            let e = text.parse::<DockerHost>().expect_err(text);
            assert_eq!(e.kind(), kind, "{text}");
            assert!(e.hint().is_some(), "{text}");
            assert!(!e.to_string().contains("hunter2"), "{e}");
        }
    }
}
