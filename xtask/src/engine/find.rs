//! The choice among the candidates, and the explanation where there is none.

use super::candidates::{Candidate, Origin, Surroundings, candidates};
use super::probe::{Answer, probe};
use super::{Engine, surroundings};
use crate::failure::{Failure, Outcome};

/// Finds an engine that answers, or says for every place why not.
pub(crate) fn find(flag: Option<&str>) -> Outcome<Engine> {
    let around = surroundings::read(flag);
    choose(&around, probe).map_err(|nothing| nothing.failure())
}

/// As [`find`], without the explanation. `Err`: there is an order (`--host`, `DOCKER_HOST`) that nothing may replace, or one without
/// permission.
pub(crate) fn find_or_none(flag: Option<&str>) -> Outcome<Option<Engine>> {
    let around = surroundings::read(flag);
    match choose(&around, probe) {
        Ok(engine) => Ok(Some(engine)),
        Err(nothing) if nothing.may_be_started() => Ok(None),
        Err(nothing) => Err(nothing.failure()),
    }
}

/// Every place that was asked, with its answer.
#[derive(Debug)]
struct Nothing {
    tried: Vec<(Candidate, Answer)>,
    notes: Vec<String>,
}

fn choose(around: &Surroundings, probe: impl Fn(&str) -> Answer) -> Result<Engine, Nothing> {
    let mut notes = Vec::new();
    if let Some(Err(why)) = &around.context {
        notes.push(why.clone());
    }
    let mut tried = Vec::new();
    for candidate in candidates(around) {
        match probe(&candidate.host) {
            Answer::Engine(about) => {
                let earlier = tried.iter().map(|(candidate, answer)| place(candidate, answer));
                return Ok(Engine {
                    passed_over: notes.into_iter().chain(earlier).collect(),
                    host: candidate.host,
                    about,
                    origin: candidate.origin.to_string(),
                });
            }
            answer => tried.push((candidate, answer)),
        }
    }
    Err(Nothing { tried, notes })
}

fn place(candidate: &Candidate, answer: &Answer) -> String {
    format!("{} ({}): {}", candidate.host, candidate.origin, answer.reason())
}

impl Nothing {
    fn order(&self) -> Option<&(Candidate, Answer)> {
        self.tried.iter().find(|(candidate, _)| candidate.origin.is_order())
    }

    fn without_permission(&self) -> Option<&Candidate> {
        let mut denied = self.tried.iter().filter(|(_, answer)| *answer == Answer::PermissionDenied);
        denied.next().map(|(candidate, _)| candidate)
    }

    /// A second engine must not be started beside one that was named, or beside one that we may not use.
    fn may_be_started(&self) -> bool {
        self.order().is_none() && self.without_permission().is_none()
    }

    fn failure(&self) -> Failure {
        if let Some((candidate, answer)) = self.order() {
            let origin = &candidate.origin;
            let help = match (answer, origin) {
                (Answer::PermissionDenied, _) => permission_help(candidate),
                (_, Origin::DockerHost) => {
                    "start that engine, or unset DOCKER_HOST so that the usual places are searched".to_owned()
                }
                _ => {
                    "start that engine, or leave --host out so that the usual places are searched".to_owned()
                }
            };
            return Failure::new(format!(
                "no engine at {} (from {origin}): {}",
                candidate.host,
                answer.reason()
            ))
            .help(help);
        }
        if let Some(candidate) = self.without_permission() {
            return Failure::new(format!(
                "there is an engine at {}, and this user may not use it",
                candidate.host
            ))
            .help(permission_help(candidate));
        }
        let mut message = String::from("no Docker engine was found:");
        let places = self.tried.iter().map(|(candidate, answer)| place(candidate, answer));
        for line in self.notes.iter().cloned().chain(places) {
            message.push_str("\n  ");
            message.push_str(&line);
        }
        Failure::new(message).help(
            "start Docker (Docker Desktop, `colima start`, `systemctl start docker`, `podman system service`);\n\
             on Debian or Ubuntu, as root: `cargo xtask engine up --install` installs and starts one",
        )
    }
}

fn permission_help(candidate: &Candidate) -> String {
    let socket = candidate.host.strip_prefix("unix://").unwrap_or(&candidate.host);
    format!(
        "join the group that owns {socket} (usually `sudo usermod -aG docker \"$USER\"`, then log in again), or run this with sudo"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::candidates::Context;

    /// Answers by address; what is not listed is not there.
    fn answers<'a>(known: &'a [(&'a str, Answer)]) -> impl Fn(&str) -> Answer + 'a {
        |host| known.iter().find(|(at, _)| *at == host).map_or(Answer::NotThere, |(_, answer)| answer.clone())
    }

    fn engine() -> Answer {
        Answer::Engine("Docker 1, API 1.41".to_owned())
    }

    const SYSTEM: &str = "unix:///var/run/docker.sock";
    const PODMAN: &str = "unix:///run/podman/podman.sock";

    #[test]
    fn the_first_that_answers_wins_and_the_earlier_ones_say_why_not() {
        let context = Some(Ok(Context { name: "old".to_owned(), host: "unix:///old".to_owned() }));
        let around = Surroundings { context, ..Surroundings::default() };
        let known = [("unix:///old", Answer::NobodyListens), (PODMAN, engine())];
        let found = choose(&around, answers(&known)).expect("found");
        assert_eq!((found.host.as_str(), found.origin.as_str()), (PODMAN, "the usual socket of Podman"));
        assert_eq!(
            found.passed_over,
            [
                "unix:///old (the Docker context \"old\"): nobody listens there",
                "unix:///var/run/docker.sock (the usual socket of Docker): not there",
            ]
        );
    }

    #[test]
    fn a_silent_docker_host_is_never_replaced() {
        let around = Surroundings { docker_host: Some("unix:///mine".to_owned()), ..Surroundings::default() };
        let known = [(SYSTEM, engine()), ("unix:///mine", Answer::Silence)];
        let nothing = choose(&around, answers(&known)).expect_err("no fallback");
        assert!(!nothing.may_be_started());
        let text = nothing.failure().to_string();
        assert!(
            text.contains("unix:///mine (from DOCKER_HOST): no answer") && text.contains("unset DOCKER_HOST"),
            "{text}"
        );
    }

    #[test]
    fn no_permission_is_told_apart_from_not_there() {
        let known = [(SYSTEM, Answer::PermissionDenied)];
        let nothing = choose(&Surroundings::default(), answers(&known)).expect_err("denied");
        assert!(!nothing.may_be_started());
        let text = nothing.failure().to_string();
        assert!(text.contains("may not use it") && text.contains("usermod -aG docker"), "{text}");
    }

    #[test]
    fn an_engine_that_may_be_used_wins_over_one_that_may_not() {
        let known = [(SYSTEM, Answer::PermissionDenied), (PODMAN, engine())];
        assert_eq!(choose(&Surroundings::default(), answers(&known)).expect("found").host, PODMAN);
    }

    #[test]
    fn where_nothing_is_each_place_is_named_with_the_way_out() {
        let around = Surroundings {
            context: Some(Err("no Docker context: because".to_owned())),
            ..Surroundings::default()
        };
        let nothing = choose(&around, answers(&[])).expect_err("nothing");
        assert!(nothing.may_be_started());
        let text = nothing.failure().to_string();
        for part in ["no Docker context: because", SYSTEM, PODMAN, "not there", "engine up --install"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
