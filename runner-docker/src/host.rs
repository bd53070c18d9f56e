//! Where an engine listens.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use runner_core::{Error, ErrorKind, Result};

use crate::tls::{self, TlsFiles};

/// The ports of an engine without and with TLS, where none is given.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

const FORMS: &str = "use unix:///path/to/docker.sock or tcp://host:port";
/// Agents are published on the loopback of the engine's host, so a tunnel to the engine alone is not enough to run
/// them from here.
const TUNNEL: &str = "run this on that host; to reach only its engine, forward the socket (ssh -N -o \
                      ExitOnForwardFailure=yes -o StreamLocalBindUnlink=yes -L \
                      \"$HOME/.docker-remote.sock:/var/run/docker.sock\" HOST) and use \
                      unix:///home/YOU/.docker-remote.sock";

/// The address of an engine.
///
/// Read from text with [`FromStr`]: `unix:///path`, an absolute path, `tcp://host:port`, `http://host:port` or
/// `https://host:port`. What cannot be honoured is an error, never another engine.
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
    /// HTTP over TLS; the engine's certificate is verified, always. Needs the feature `tls`; without it, connecting
    /// is an error of kind [`ErrorKind::Unsupported`].
    Tls {
        /// Name or address, without brackets. The engine's certificate must be for it.
        host: String,
        /// Port.
        port: u16,
        /// Whom to trust, and who we are.
        files: TlsFiles,
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
            Self::Tcp { .. } | Self::Tls { .. } => None,
        }
    }

    /// Reads an address where something else says whether `tcp://` means TLS. The files are asked for only where
    /// they are needed, because asking may fail.
    pub(crate) fn read(value: &str, secure: bool, files: impl FnOnce() -> Result<TlsFiles>) -> Result<Self> {
        let value = value.trim();
        if value.is_empty() {
            return Err(refuse(ErrorKind::InvalidInput, value, "is empty", FORMS));
        }
        let (scheme, rest) = match value.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("unix".to_owned(), value),
        };
        let address = || {
            host_and_port(rest).ok_or_else(|| {
                refuse(ErrorKind::InvalidInput, value, "is not a host with an optional port", FORMS)
            })
        };
        match scheme.as_str() {
            "unix" => {
                if !rest.starts_with('/') || rest.ends_with('/') || rest.contains('\0') {
                    let why = "does not name a socket by an absolute path";
                    return Err(refuse(ErrorKind::InvalidInput, value, why, FORMS));
                }
                Ok(Self::Unix(PathBuf::from(rest)))
            }
            "http" if secure => Err(refuse(
                ErrorKind::InvalidInput,
                value,
                "asks for a plain connection where TLS is ordered as well",
                "use tcp:// or https://, or unset DOCKER_TLS_VERIFY",
            )),
            "tcp" | "http" if !secure => {
                let (host, port) = address()?;
                Ok(Self::Tcp { host, port: port.unwrap_or(PLAIN_PORT) })
            }
            "tcp" | "https" => {
                let (host, port) = address()?;
                if !tls::AVAILABLE {
                    let why = "needs TLS, which this build does not have";
                    return Err(refuse(ErrorKind::Unsupported, value, why, tls::BUILD_WITH_IT));
                }
                Ok(Self::Tls { host, port: port.unwrap_or(TLS_PORT), files: files()? })
            }
            "ssh" => Err(refuse(ErrorKind::Unsupported, value, "is not reached from here over SSH", TUNNEL)),
            _ => Err(refuse(ErrorKind::Unsupported, value, "has a scheme that is not supported", FORMS)),
        }
    }
}

impl FromStr for DockerHost {
    type Err = Error;

    /// `https://` trusts the system's roots and shows no certificate; for others, make a [`DockerHost::Tls`].
    fn from_str(value: &str) -> Result<Self> {
        Self::read(value, false, || Ok(TlsFiles::default()))
    }
}

/// An address as it may be shown: what precedes an '@' may be a password.
pub(crate) fn shown(value: &str) -> String {
    match (value.contains('@'), value.split_once("://")) {
        (true, Some((scheme, _))) if !scheme.contains('@') => format!("{scheme}://…"),
        (true, _) => "the value".to_owned(),
        (false, _) => format!("{:?}", value.chars().take(200).collect::<String>()),
    }
}

fn refuse(kind: ErrorKind, value: &str, why: &str, hint: &str) -> Error {
    Error::new(kind, "read the engine's address", format!("{} {why}", shown(value))).with_hint(hint)
}

fn host_and_port(rest: &str) -> Option<(String, Option<u16>)> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = if let Some(inside) = rest.strip_prefix('[') {
        let (host, after) = inside.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some(""))?)
    } else {
        rest.split_once(':').unwrap_or((rest, ""))
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    let port = if port.is_empty() { None } else { Some(port.parse().ok().filter(|p| *p != 0)?) };
    (!host.is_empty() && host.bytes().all(legal)).then(|| (host.to_owned(), port))
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix(path) => return write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } => ("tcp", host, port),
            Self::Tls { host, port, .. } => ("https", host, port),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
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
            ("https://", InvalidInput),
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
    #[test]
    fn tls_is_said_by_the_scheme_or_from_outside() {
        let files = || Ok(TlsFiles { ca: Some("/ca.pem".into()), client: None });
        let read = |text: &str, secure| DockerHost::read(text, secure, files);
        if !tls::AVAILABLE {
            for (text, secure) in [("https://h", false), ("tcp://h", true)] {
                let e = read(text, secure).expect_err(text);
                assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
                assert!(e.hint().is_some_and(|hint| hint.contains("feature `tls`")), "{e}");
            }
            return;
        }
        for (text, secure, want) in [
            ("https://h", false, "https://h:2376"),
            ("tcp://h", true, "https://h:2376"),
            ("tcp://[::1]:99", true, "https://[::1]:99"),
            ("tcp://h", false, "tcp://h:2375"),
            // A socket needs no TLS, whatever the environment says.
            ("unix:///x", true, "unix:///x"),
        ] {
            let host = read(text, secure).expect(text);
            assert_eq!(host.to_string(), want);
            if let DockerHost::Tls { files, .. } = host {
                assert_eq!(files.ca, Some("/ca.pem".into()));
            }
        }
        assert_eq!(read("http://h", true).expect_err("a contradiction").kind(), ErrorKind::InvalidInput);
    }
}
