//! Which version of the engine's interface is spoken.
//!
//! bollard 0.21 sends no version, and an engine then answers in the newest that it knows: an update of the engine
//! would change its replies under a running controller. So the wire puts a version into every path: the newest that
//! both sides know. An engine that is too old, or too new, is refused by name when connecting, not in the middle of
//! a start.

use std::fmt;

use crate::error::{EngineError, clean};
use crate::json;

/// A version of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u16,
    minor: u16,
}

/// The oldest that is spoken: Docker 20.10 and Podman, and what the live tests have been run against.
const OLDEST: ApiVersion = ApiVersion { major: 1, minor: 41 };

/// The newest that is spoken: what bollard's types are made from.
const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 53 };

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn read(what: &str, text: &str) -> Result<ApiVersion, EngineError> {
    let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten();
    text.split_once('.')
        .and_then(|(major, minor)| Some(ApiVersion { major: number(major)?, minor: number(minor)? }))
        .ok_or_else(|| EngineError::Decode { message: format!("its {what} is {:?}", clean(text)) })
}

/// The version to speak with an engine.
pub(crate) fn negotiate(engine: &json::Version) -> Result<ApiVersion, EngineError> {
    let newest = read("ApiVersion", &engine.api)?;
    // An engine that does not say has no lower bound; if it has one after all, it refuses the first call.
    let oldest = match engine.oldest_api.as_str() {
        "" => newest.min(OLDEST),
        text => read("MinAPIVersion", text)?,
    };
    let version = newest.min(NEWEST);
    let hint = if newest < OLDEST {
        "update the engine: Docker 20.10 or later, Podman 3 or later"
    } else if oldest > version {
        "update this library, or let the engine accept older clients (Docker: DOCKER_MIN_API_VERSION)"
    } else {
        return Ok(version);
    };
    let message = format!(
        "the engine ({}) speaks the versions {oldest} to {newest} of the interface, and this library {OLDEST} to {NEWEST}",
        clean(&engine.product)
    );
    Err(EngineError::Version { message, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(newest: &str, oldest: &str) -> Result<String, EngineError> {
        let engine = json::Version {
            product: "1.2.3".to_owned(),
            api: newest.to_owned(),
            oldest_api: oldest.to_owned(),
            components: Vec::new(),
        };
        negotiate(&engine).map(|version| version.to_string())
    }

    #[test]
    fn the_newest_that_both_know_is_spoken() {
        for (newest, oldest, want) in [
            ("1.41", "1.12", "1.41"),
            ("1.52", "1.44", "1.52"),
            ("1.53", "1.53", "1.53"),
            ("1.60", "1.44", "1.53"),
            ("1.60", "1.53", "1.53"),
            // Podman.
            ("1.41", "1.24", "1.41"),
            ("2.0", "1.44", "1.53"),
            ("1.44", "", "1.44"),
        ] {
            assert_eq!(ask(newest, oldest).unwrap(), want, "{newest}, at least {oldest}");
        }
    }

    #[test]
    fn an_engine_without_a_common_version_is_refused_and_both_are_named() {
        for (newest, oldest, hint) in [
            ("1.60", "1.55", "update this library"),
            ("1.30", "1.12", "update the engine"),
            ("1.40", "", "update the engine"),
            ("2.1", "2.0", "update this library"),
        ] {
            let e = ask(newest, oldest).unwrap_err().into_core("connect");
            assert_eq!(e.kind(), runner_core::ErrorKind::UnsupportedVersion);
            assert_eq!(e.retry(), runner_core::Retry::Permanent);
            for part in [newest, oldest, "1.41", "1.53", "1.2.3"] {
                assert!(e.message().contains(part), "{part}: {e}");
            }
            assert!(e.hint().is_some_and(|h| h.contains(hint)), "{e}");
        }
    }

    #[test]
    fn what_is_no_version_is_a_broken_promise() {
        for (newest, oldest) in
            [("", ""), ("1", ""), ("1.x", ""), ("v1.41", ""), ("1.41.2", ""), ("1.+4", ""), ("1.41", "old")]
        {
            let e = ask(newest, oldest).unwrap_err().into_core("connect");
            assert_eq!(e.kind(), runner_core::ErrorKind::Protocol, "{newest:?}: {e}");
        }
        assert!(ask("1.99999", "").is_err(), "beyond every version");
    }

    #[test]
    fn ours_is_the_one_of_bollards_types() {
        let theirs = bollard::API_DEFAULT_VERSION;
        assert_eq!(
            (usize::from(NEWEST.major), usize::from(NEWEST.minor)),
            (theirs.major_version, theirs.minor_version),
            "after an update of bollard: run the live tests against an engine of that version, then raise NEWEST"
        );
    }
}
