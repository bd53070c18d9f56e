//! Asks one address whether an engine answers. Every probe ends within its limit.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::http::{self, Reply, Request};

/// A local engine answers a ping within milliseconds, a loaded one within a second.
const LIMIT: Duration = Duration::from_secs(3);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Name and version.
    Engine(String),
    NotThere,
    PermissionDenied,
    /// The socket exists and nobody listens: left behind by an engine that is gone.
    NobodyListens,
    Silence,
    /// Something answers that is no engine.
    Other(String),
    /// An address that neither xtask nor the runner can use.
    Unusable(String),
}

impl Answer {
    /// Completes "HOST: …".
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Engine(about) => format!("{about} answers"),
            Self::NotThere => "not there".to_owned(),
            Self::PermissionDenied => "permission denied".to_owned(),
            Self::NobodyListens => "nobody listens there".to_owned(),
            Self::Silence => format!("no answer within {} s", LIMIT.as_secs()),
            Self::Other(what) | Self::Unusable(what) => what.clone(),
        }
    }
}

pub(crate) fn probe(host: &str) -> Answer {
    within(LIMIT, host)
}

/// Connecting to a Unix socket has no time limit of its own, so the whole exchange is watched from outside.
fn within(limit: Duration, host: &str) -> Answer {
    let (sender, receiver) = mpsc::channel();
    let host = host.to_owned();
    thread::spawn(move || sender.send(exchange(&host, limit)));
    receiver.recv_timeout(limit + limit / 2).unwrap_or(Answer::Silence)
}

fn exchange(host: &str, limit: Duration) -> Answer {
    let get = |target: &str| {
        let request = Request::get(target);
        match host.split_once("://") {
            Some(("unix", path)) => Ok(http::over_unix(Path::new(path), &request, limit)),
            Some(("tcp" | "http", address)) => {
                Ok(http::over_tcp(address.trim_end_matches('/'), &request, limit))
            }
            Some((scheme @ ("ssh" | "https" | "npipe"), _)) => Err(format!(
                "{scheme} is not supported: the runner mounts directories of this machine, so the engine has to be on it \
                 (or be reached through a forwarded socket)"
            )),
            _ => Err("this is no address of an engine; examples: unix:///var/run/docker.sock, tcp://127.0.0.1:2375".to_owned()),
        }
    };
    match get("/_ping") {
        Err(unusable) => Answer::Unusable(unusable),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::NotFound => Answer::NotThere,
            ErrorKind::PermissionDenied => Answer::PermissionDenied,
            ErrorKind::ConnectionRefused => Answer::NobodyListens,
            ErrorKind::TimedOut => Answer::Silence,
            _ => Answer::Other(error.to_string()),
        },
        Ok(Ok(reply)) if reply.status != 200 => {
            Answer::Other(format!("answers a ping with status {}", reply.status))
        }
        // A web server says 200 to anything; an engine says which API it speaks.
        Ok(Ok(reply)) => match reply.header("api-version") {
            None => Answer::Other("answers, but is no Docker engine".to_owned()),
            Some(api) => {
                let version = get("/version").ok().and_then(Result::ok);
                Answer::Engine(about(version.as_ref(), api))
            }
        },
    }
}

/// "Docker 20.10.24, API 1.41"; Podman names itself among its components.
fn about(version: Option<&Reply>, api: &str) -> String {
    let known = version.and_then(|reply| serde_json::from_str::<serde_json::Value>(&reply.body).ok());
    let text = |value: Option<&serde_json::Value>| value.and_then(|v| v.as_str()).map(ToOwned::to_owned);
    let number = known
        .as_ref()
        .and_then(|known| text(known.get("Version")))
        .unwrap_or_else(|| "of unknown version".to_owned());
    let podman = known
        .as_ref()
        .and_then(|known| text(known.pointer("/Components/0/Name")))
        .is_some_and(|name| name.contains("Podman"));
    format!("{} {number}, API {api}", if podman { "Podman" } else { "Docker" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    fn listening(reply: &'static str) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("engine.sock");
        let listener = UnixListener::bind(&path).expect("bind");
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.read(&mut [0; 1024]);
                if reply.is_empty() {
                    std::mem::forget(stream);
                } else {
                    let _ = stream.write_all(reply.as_bytes());
                }
            }
        });
        (directory, format!("unix://{}", path.display()))
    }

    #[test]
    fn an_engine_is_recognised() {
        let reply = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n\r\n{\"Version\":\"20.10.24\"}";
        let (_directory, host) = listening(reply);
        assert_eq!(probe(&host), Answer::Engine("Docker 20.10.24, API 1.41".to_owned()));
    }

    #[test]
    fn podman_is_named() {
        let reply = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\n\r\n{\"Version\":\"4.3\",\"Components\":[{\"Name\":\"Podman Engine\"}]}";
        let (_directory, host) = listening(reply);
        assert_eq!(probe(&host), Answer::Engine("Podman 4.3, API 1.41".to_owned()));
    }

    #[test]
    fn a_server_that_is_no_engine_is_not_taken_for_one() {
        let (_directory, host) = listening("HTTP/1.1 200 OK\r\nServer: web\r\n\r\nhello");
        assert_eq!(probe(&host), Answer::Other("answers, but is no Docker engine".to_owned()));
        let (_directory, host) = listening("HTTP/1.1 503 Busy\r\nApi-Version: 1.41\r\n\r\n");
        assert_eq!(probe(&host), Answer::Other("answers a ping with status 503".to_owned()));
    }

    #[test]
    fn silence_is_no_answer() {
        let (_directory, host) = listening("");
        assert_eq!(within(Duration::from_millis(100), &host), Answer::Silence);
    }

    #[test]
    fn a_missing_and_a_deserted_socket_differ() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("engine.sock");
        let host = format!("unix://{}", path.display());
        assert_eq!(probe(&host), Answer::NotThere);
        drop(UnixListener::bind(&path).expect("bind"));
        assert_eq!(probe(&host), Answer::NobodyListens);
    }

    #[test]
    fn addresses_that_cannot_be_used_say_why() {
        assert!(
            matches!(probe("ssh://me@there"), Answer::Unusable(why) if why.contains("ssh is not supported"))
        );
        assert!(
            matches!(probe("nonsense"), Answer::Unusable(why) if why.contains("no address of an engine"))
        );
    }
}
