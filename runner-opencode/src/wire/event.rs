//! Events: `{"directory", "project", "payload": {"id", "type", "properties"}}`, the keys of each object in any order.
//!
//! Reading is on the hot path: a model writes thousands of `message.part.delta`. What an event is, is known before its
//! properties are read ([`Head`](super::head::Head) in the usual order of keys, [`read`] in any), so that they are read
//! once and straight into the type's own form, borrowed. Serde's tagged enumerations would copy each object into a
//! tree before looking at its tag.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Text;
use super::error::NamedError;
use super::session::Status;

/// One event, with the directory it belongs to where it has one.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) directory: Option<Cow<'a, str>>,
    pub(crate) kind: Cow<'a, str>,
    /// In JSON; `null` where there are none.
    pub(crate) properties: &'a str,
}

/// The types of events that mean something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connected,
    Heartbeat,
    SessionCreated,
    Status,
    Idle,
    Message,
    Part,
    Delta,
    Failure,
    Permission,
    Questions,
    InputSettled,
    Disposed,
    /// The durable form of an event, which is delivered as itself anyway.
    Duplicate,
    Other,
}

impl Kind {
    pub(crate) fn of(kind: &str) -> Self {
        match kind {
            "message.part.delta" => Self::Delta,
            "message.part.updated" => Self::Part,
            "message.updated" => Self::Message,
            "session.status" => Self::Status,
            "session.idle" => Self::Idle,
            "session.error" => Self::Failure,
            "session.created" => Self::SessionCreated,
            "permission.asked" => Self::Permission,
            "question.asked" => Self::Questions,
            "permission.replied" | "question.replied" | "question.rejected" => Self::InputSettled,
            "server.heartbeat" => Self::Heartbeat,
            "server.connected" => Self::Connected,
            "server.instance.disposed" | "global.disposed" => Self::Disposed,
            "sync" => Self::Duplicate,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct SessionStatus<'a> {
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) status: Status<'a>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Idle<'a> {
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Delta<'a> {
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
    #[serde(rename = "messageID", borrow)]
    pub(crate) message: Cow<'a, str>,
    #[serde(rename = "partID", borrow)]
    pub(crate) part: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) field: Cow<'a, str>,
    #[serde(rename = "delta", borrow)]
    pub(crate) text: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Failure<'a> {
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) error: Option<NamedError<'a>>,
}

/// `message.updated` and `session.created`.
#[derive(Debug, Deserialize)]
pub(crate) struct InfoOf<T> {
    pub(crate) info: T,
}

/// `message.part.updated`.
#[derive(Debug, Deserialize)]
pub(crate) struct PartOf<T> {
    pub(crate) part: T,
}

/// Reads what an event is, whatever the order of its keys. An error means that it is no event at all.
pub(crate) fn read(frame: &str) -> Result<Envelope<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        directory: Option<Text<'a>>,
        #[serde(borrow)]
        payload: RawPayload<'a>,
    }
    #[derive(Deserialize)]
    struct RawPayload<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        properties: Option<&'a RawValue>,
    }
    let Raw { directory, payload: RawPayload { kind, properties } } = serde_json::from_str(frame)?;
    let properties = properties.map_or("null", RawValue::get);
    Ok(Envelope { directory: directory.map(|d| d.0), kind, properties })
}
