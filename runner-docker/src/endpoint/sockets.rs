//! The usual sockets, where nobody says where the engine is.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runner_core::{Error, ErrorKind, Result};

use super::{EndpointSources, FIND, Found, Origin};
use crate::connect::greet;
use crate::error::EngineError;
use crate::host::DockerHost;

/// A socket, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    engine: &'static str,
}

/// Why a place is not it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Missing,
    /// There is a socket.
    Forbidden,
    /// There may be one.
    Hidden,
    Refused,
    Silent(Duration),
    Other(String),
}

/// In the order in which they are asked: the system's engine before a user's own, as the `docker` command does, and
/// Docker before Podman, which is often installed beside it.
pub(super) fn usual(sources: &EndpointSources) -> Vec<Place> {
    let root = sources.system_root.clone().unwrap_or_else(|| PathBuf::from("/"));
    let runtime = sources.xdg_runtime_dir.as_ref();
    let home = sources.home.as_ref();
    let places = [
        (Some(&root), "var/run/docker.sock", "Docker"),
        (runtime, "docker.sock", "rootless Docker"),
        (home, ".docker/run/docker.sock", "Docker Desktop"),
        (home, ".docker/desktop/docker.sock", "Docker Desktop for Linux"),
        (home, ".colima/default/docker.sock", "Colima"),
        (home, ".config/colima/default/docker.sock", "Colima"),
        (runtime, "podman/podman.sock", "rootless Podman"),
        (Some(&root), "run/podman/podman.sock", "Podman"),
    ];
    let absolute = |(base, path, engine): (Option<&PathBuf>, &str, _)| {
        // A relative or empty base would mean another socket in every working directory.
        base.filter(|base| base.is_absolute()).map(|base| Place { path: base.join(path), engine })
    };
    places.into_iter().filter_map(absolute).collect()
}

/// Asks one after the other, until an engine answers. Not all at once: systemd starts an engine that is asked.
pub(super) async fn search(places: Vec<Place>, limit: Duration) -> Result<Found> {
    let mut tried = Vec::new();
    for place in places {
        let host = DockerHost::Unix(place.path.clone());
        match Box::pin(greet(&host, limit)).await {
            Ok(()) => return Ok(Found { host, origin: Origin::UsualSocket(place.engine) }),
            Err(e) => tried.push((answer(e, &place.path), place)),
        }
    }
    Err(nothing(&tried))
}

fn answer(error: EngineError, path: &Path) -> Answer {
    match error {
        EngineError::Dial { source, .. } => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Answer::Missing,
            // The directory of an engine that does not run may be closed as well.
            io::ErrorKind::PermissionDenied if path.symlink_metadata().is_ok() => Answer::Forbidden,
            io::ErrorKind::PermissionDenied => Answer::Hidden,
            io::ErrorKind::ConnectionRefused => Answer::Refused,
            _ => Answer::Other(source.to_string()),
        },
        EngineError::Timeout { after } => Answer::Silent(after),
        EngineError::Decode { message } => Answer::Other(format!("not a container engine ({message})")),
        other => Answer::Other(other.to_string()),
    }
}

impl Answer {
    fn reason(&self) -> String {
        match self {
            Self::Missing => "not there".to_owned(),
            Self::Forbidden => "this user may not use it".to_owned(),
            Self::Hidden => "this user may not look there".to_owned(),
            Self::Refused => "nobody listens".to_owned(),
            Self::Silent(after) => format!("no answer within {after:?}"),
            Self::Other(what) => what.clone(),
        }
    }
}

fn nothing(tried: &[(Answer, Place)]) -> Error {
    let list: Vec<String> = tried
        .iter()
        .map(|(answer, place)| format!("{} ({}): {}", place.path.display(), place.engine, answer.reason()))
        .collect();
    let list = list.join("; ");
    if let Some((_, place)) = tried.iter().find(|(answer, _)| *answer == Answer::Forbidden) {
        let socket = place.path.display();
        let message = format!("there is a socket at {socket}, and this user may not use it; tried: {list}");
        return Error::new(ErrorKind::PermissionDenied, FIND, message).with_hint(format!(
            "join the group that owns {socket} (often `sudo usermod -aG docker \"$USER\"`, then log in again), or use \
             a rootless engine"
        ));
    }
    Error::new(ErrorKind::EngineUnavailable, FIND, format!("no engine answers; tried: {list}"))
        .temporary()
        .with_hint(
            "start one (`systemctl start docker`, Docker Desktop, `colima start`, `podman system service`), or name it \
             by DOCKER_HOST",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(answers: &[Answer]) -> Vec<(Answer, Place)> {
        let place = |n| Place { path: PathBuf::from(format!("/s{n}")), engine: "Docker" };
        answers.iter().cloned().enumerate().map(|(n, answer)| (answer, place(n))).collect()
    }

    #[test]
    fn the_usual_sockets_in_their_order() {
        let sources = EndpointSources {
            xdg_runtime_dir: Some("/run/user/7".into()),
            home: Some("/home/me".into()),
            ..EndpointSources::default()
        };
        let paths: Vec<_> =
            usual(&sources).into_iter().map(|place| place.path.display().to_string()).collect();
        assert_eq!(
            paths,
            [
                "/var/run/docker.sock",
                "/run/user/7/docker.sock",
                "/home/me/.docker/run/docker.sock",
                "/home/me/.docker/desktop/docker.sock",
                "/home/me/.colima/default/docker.sock",
                "/home/me/.config/colima/default/docker.sock",
                "/run/user/7/podman/podman.sock",
                "/run/podman/podman.sock",
            ]
        );
        let bare = EndpointSources {
            xdg_runtime_dir: Some("".into()),
            home: Some("here".into()),
            ..EndpointSources::default()
        };
        assert_eq!(usual(&bare).len(), 2, "relative bases are none");
    }

    #[test]
    fn every_place_is_named_with_its_reason() {
        let answers = [
            Answer::Missing,
            Answer::Hidden,
            Answer::Refused,
            Answer::Silent(Duration::from_secs(2)),
            Answer::Other("odd".to_owned()),
        ];
        let e = nothing(&tried(&answers));
        assert_eq!((e.kind(), e.retry()), (ErrorKind::EngineUnavailable, runner_core::Retry::Temporary));
        for part in [
            "/s0 (Docker): not there",
            "/s1",
            "may not look",
            "nobody listens",
            "within 2s",
            "/s4 (Docker): odd",
        ] {
            assert!(e.message().contains(part), "{part}: {e}");
        }
        assert!(e.hint().is_some());
    }

    #[test]
    fn a_forbidden_socket_is_the_reason_where_no_engine_answers() {
        let e = nothing(&tried(&[Answer::Missing, Answer::Forbidden, Answer::Refused]));
        assert_eq!((e.kind(), e.retry()), (ErrorKind::PermissionDenied, runner_core::Retry::Permanent));
        assert!(e.message().contains("/s1") && e.message().contains("/s2"), "{e}");
        assert!(e.hint().is_some_and(|hint| hint.contains("group that owns /s1")), "{e}");
    }

    #[test]
    fn no_permission_means_a_socket_only_where_one_is() {
        let denied =
            || EngineError::Dial { host: String::new(), source: io::ErrorKind::PermissionDenied.into() };
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("x.sock");
        assert_eq!(answer(denied(), &there), Answer::Hidden);
        std::fs::write(&there, "").unwrap();
        assert_eq!(answer(denied(), &there), Answer::Forbidden);
    }
}
