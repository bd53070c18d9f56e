//! Identifiers, valid once built: what reaches a path, a URL, a label or a container name has passed here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// Longest id, in bytes: leaves room for prefixes and suffixes within the 255 bytes of a file name.
const MAX_LEN: usize = 128;

fn invalid(what: &'static str, value: &str, why: &str, hint: &'static str) -> Error {
    // `{:?}` escapes control characters, so that a hostile id cannot forge a log line; the cut keeps it one line.
    let shown: String = value.chars().take(40).collect();
    Error::new(ErrorKind::InvalidInput, what, format!("{shown:?} {why}")).with_hint(hint)
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')
}

/// Whether every byte may stand in a container name and a file name, beginning with a letter or digit.
fn is_plain_name(value: &str) -> bool {
    value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric()) && value.bytes().all(is_name_byte)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Cheap to clone: every event carries some.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&&*self.0).finish()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(value: &str) -> Result<Self> {
                Self::new(value)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = String::deserialize(deserializer)?;
                Self::new(value).map_err(serde::de::Error::custom)
            }
        }
    };
}

id! {
    /// An agent: a configured persona with its workspace. It names a directory, so it is strict: letters, digits,
    /// `_`, `.` and `-`, beginning with a letter or digit, at most 128 bytes.
    ///
    /// ```
    /// use runner_core::AgentId;
    /// assert!(AgentId::new("writer-1").is_ok());
    /// assert!(AgentId::new("../x").is_err());
    /// ```
    AgentId
}

impl AgentId {
    /// Checks and keeps an agent id.
    pub fn new(value: impl AsRef<str>) -> Result<Self> {
        const HINT: &str =
            "use letters, digits, '_', '.' and '-', beginning with a letter or digit, at most 128 bytes";
        let value = value.as_ref();
        let why = if value.is_empty() {
            "is empty"
        } else if value.len() > MAX_LEN {
            "is too long"
        } else if !is_plain_name(value) {
            "has a character that cannot stand in a directory name"
        } else {
            return Ok(Self(value.into()));
        };
        Err(invalid("read an agent id", value, why, HINT))
    }
}

id! {
    /// A task: one piece of work that a controller tracks. Controllers choose these ids, so they may be any text
    /// of at most 128 bytes without white space, control characters, `/` and `\`, not beginning with `.` or `-`;
    /// use [`slug`](TaskId::slug) for names.
    TaskId
}

impl TaskId {
    /// Checks and keeps a task id.
    pub fn new(value: impl AsRef<str>) -> Result<Self> {
        const HINT: &str = "use at most 128 bytes without white space, control characters, '/' and '\\', \
                            not beginning with '.' or '-'";
        let value = value.as_ref();
        let why = if value.is_empty() {
            "is empty"
        } else if value.len() > MAX_LEN {
            "is too long"
        } else if value.starts_with(['.', '-']) {
            "begins with '.' or '-'"
        } else if value.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | '\\')) {
            "has white space, a control character or a slash"
        } else {
            return Ok(Self(value.into()));
        };
        Err(invalid("read a task id", value, why, HINT))
    }

    /// The id as a name that is legal for a container and a directory, and different for different ids.
    ///
    /// A legal id stays as it is. Any other gets its illegal characters replaced and a hash appended; so does a
    /// legal one that looks as if it had been through this already, or two ids could be given one name.
    ///
    /// ```
    /// use runner_core::TaskId;
    /// assert_eq!(TaskId::new("task-7")?.slug(), "task-7");
    /// assert!(TaskId::new("team:7")?.slug().starts_with("team_7-"));
    /// # Ok::<(), runner_core::Error>(())
    /// ```
    pub fn slug(&self) -> String {
        /// Hex digits of the hash that is appended: 64 bits.
        const DIGITS: usize = 16;
        /// Keeps the whole name within 63 bytes, the limit of a host name, which a container name may become.
        const KEPT: usize = 40;
        let looks_hashed = self
            .0
            .rsplit_once('-')
            .is_some_and(|(_, tail)| tail.len() == DIGITS && tail.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_plain_name(&self.0) && !looks_hashed && self.0.len() <= KEPT + DIGITS {
            return self.0.to_string();
        }
        let mut slug: String = self
            .0
            .chars()
            .map(|c| if u8::try_from(c).is_ok_and(is_name_byte) { c } else { '_' })
            .take(KEPT)
            .collect();
        if !slug.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            slug.insert(0, 'x');
        }
        let hash = Sha256::digest(self.0.as_bytes());
        let bits = hash.iter().take(DIGITS / 2).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        format!("{slug}-{bits:0DIGITS$x}")
    }
}

id! {
    /// An OpenCode conversation. Made by the server; checked so that it can stand in a URL path.
    SessionId
}

id! {
    /// A message in a session; ours carry an id that we chose, so that events are attributed, not guessed.
    MessageId
}

id! {
    /// A container, by the id that the engine gave it.
    ContainerId
}

macro_rules! foreign_id {
    ($name:ident, $operation:literal) => {
        impl $name {
            /// Checks and keeps an id that a peer gave us: letters, digits, `_`, `.` and `-` only, because it is
            /// pasted into URLs.
            pub fn new(value: impl AsRef<str>) -> Result<Self> {
                let value = value.as_ref();
                if value.len() <= MAX_LEN && is_plain_name(value) {
                    return Ok(Self(value.into()));
                }
                Err(invalid(
                    $operation,
                    value,
                    "cannot stand in a URL",
                    "this id should come from the server itself",
                ))
            }
        }
    };
}
foreign_id!(SessionId, "read a session id");
foreign_id!(MessageId, "read a message id");
foreign_id!(ContainerId, "read a container id");

impl ContainerId {
    /// The first twelve characters, as every Docker tool shows it.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_agent_ids_are_refused_by_name() {
        let long = "a".repeat(129);
        for bad in
            ["", ".", "..", "../x", "a/b", "/etc", "-rf", ".git", "a b", "a\n", "a\0b", "é", "~", &long]
        {
            let e = AgentId::new(bad).expect_err(bad);
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{bad:?}");
            assert!(e.hint().is_some());
            assert!(!e.to_string().contains('\n'), "{bad:?} must not break a log line");
        }
    }

    #[test]
    fn hostile_task_ids_are_refused_and_odd_ones_kept() {
        for bad in ["", "..", "a/b", "a\\b", "a b", "a\tb", "\u{202f}x", "-x", "a\u{7}"] {
            assert!(TaskId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["t", "team:7#b", "작업-1", "550e8400-e29b-41d4-a716-446655440000", "A_b.c"] {
            assert_eq!(TaskId::new(good).expect(good).as_str(), good);
        }
    }

    #[test]
    fn slugs_are_legal_and_differ_where_ids_differ() {
        let odd = TaskId::new("team:7").unwrap().slug();
        let longest = "a".repeat(128);
        // The third is what the first turns into: a hostile twin must not get the same name.
        let ids = ["team:7", "team_7", &odd, "작업-1", "작업-2", "_x", &longest, &longest[1..], "a", "A"];
        let mut seen = std::collections::BTreeSet::new();
        for id in ids {
            let slug = TaskId::new(id).unwrap().slug();
            assert!(is_plain_name(&slug) && slug.len() <= 63, "{id} -> {slug}");
            assert!(seen.insert(slug.clone()), "{id} -> {slug} is taken");
        }
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(TaskId::new(uuid).unwrap().slug(), uuid);
    }

    #[test]
    fn ids_of_peers_cannot_bend_a_url() {
        for bad in ["", "ses_1/../x", "ses?x=1", "a#b", "%2e", "a b"] {
            assert!(SessionId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ContainerId::new("0123456789abcdef").unwrap().short(), "0123456789ab");
        assert_eq!(ContainerId::new("012").unwrap().short(), "012");
    }

    #[test]
    fn deserializing_checks_too() {
        assert!(serde_json::from_str::<AgentId>("\"../x\"").is_err());
        assert_eq!(serde_json::from_str::<TaskId>("\"t\"").unwrap().as_str(), "t");
    }
}
