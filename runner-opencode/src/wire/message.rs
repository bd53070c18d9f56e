//! Messages and their parts.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::NamedError;
use super::{Flag, Number, Text};

/// One element of `GET /session/{id}/message`. Parts are kept raw, so that a kind of part we do not know may look
/// as it likes.
#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) info: Info<'a>,
    #[serde(borrow, default)]
    pub(crate) parts: Vec<&'a RawValue>,
}

/// A message without its parts.
#[derive(Debug, Deserialize)]
pub(crate) struct Info<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) role: Cow<'a, str>,
    #[serde(rename = "parentID", borrow)]
    pub(crate) parent: Option<Text<'a>>,
    #[serde(default)]
    pub(crate) time: Time,
    #[serde(borrow)]
    pub(crate) finish: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) error: Option<NamedError<'a>>,
    /// A flag on the agent's messages, a list of changes on the user's.
    #[serde(default)]
    pub(crate) summary: Flag,
    #[serde(default)]
    pub(crate) cost: Number,
    #[serde(default)]
    pub(crate) tokens: Tokens,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Time {
    pub(crate) completed: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tokens {
    pub(crate) input: Number,
    pub(crate) output: Number,
    pub(crate) reasoning: Number,
    pub(crate) cache: Cache,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cache {
    pub(crate) read: Number,
    pub(crate) write: Number,
}

/// A part of a message. Flat and not an enumeration by `type`: serde would copy the whole object to look at the tag
/// first, and these are the most and the largest of all objects.
#[derive(Debug, Deserialize)]
pub(crate) struct Part<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "messageID", borrow)]
    pub(crate) message: Cow<'a, str>,
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Option<Text<'a>>,
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) tool: Option<Text<'a>>,
    #[serde(rename = "callID", borrow)]
    pub(crate) call: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) state: Option<Box<State<'a>>>,
    #[serde(default)]
    pub(crate) cost: Number,
    #[serde(default)]
    pub(crate) tokens: Tokens,
}

/// What every part has, whatever its kind.
#[derive(Debug, Deserialize)]
pub(crate) struct PartHead<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "messageID", borrow)]
    pub(crate) message: Cow<'a, str>,
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Option<Text<'a>>,
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
}

/// The state of a tool call.
#[derive(Debug, Deserialize)]
pub(crate) struct State<'a> {
    #[serde(borrow)]
    pub(crate) status: Cow<'a, str>,
    #[serde(default)]
    pub(crate) input: Value,
    #[serde(borrow)]
    pub(crate) output: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) error: Option<Text<'a>>,
    /// The tool's own, in JSON: anything, and possibly large.
    #[serde(borrow, default, deserialize_with = "raw")]
    pub(crate) metadata: Option<&'a str>,
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    Ok(Option::<&RawValue>::deserialize(deserializer)?.map(RawValue::get))
}

/// What a running tool tells in its metadata.
#[derive(Debug, Deserialize)]
pub(crate) struct Progress<'a> {
    #[serde(borrow)]
    pub(crate) output: Option<Text<'a>>,
}

/// Reads a part. One of a kind we know must be readable; any other needs only its head.
pub(crate) fn part(json: &str) -> Result<Part<'_>, serde_json::Error> {
    let full = serde_json::from_str::<Part<'_>>(json);
    let Err(unreadable) = full else { return full };
    match serde_json::from_str::<PartHead<'_>>(json) {
        Ok(head) if !KNOWN_PARTS.contains(&head.kind.as_ref()) => Ok(Part {
            id: head.id,
            message: head.message,
            session: head.session,
            kind: head.kind,
            text: None,
            tool: None,
            call: None,
            state: None,
            cost: Number::default(),
            tokens: Tokens::default(),
        }),
        Ok(_) | Err(_) => Err(unreadable),
    }
}

/// The kinds of parts whose content we use.
pub(crate) const KNOWN_PARTS: [&str; 4] = ["text", "reasoning", "tool", "step-finish"];
