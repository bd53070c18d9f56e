//! Events: `{"directory", "project", "payload": {"id", "type", "properties"}}`, the keys of each object in any order.
//!
//! Reading is on the hot path: a model writes thousands of `message.part.delta`. The usual order, `type` before
//! `properties`, is read in one pass with nothing copied. Any other order, and a known event whose properties are
//! not what we expect, is read a second time through a raw value; that costs twice and happens hardly ever.
//!
//! Serde's tagged enumerations would copy each object into a tree before looking at its tag.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::NamedError;
use super::message::{Info, Part, part};
use super::session::{Session, Status};
use super::{Text, cut};

/// One event, with the directory it belongs to where it has one.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) directory: Option<Cow<'a, str>>,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) event: Event<'a>,
}

/// What an event says.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Connected,
    Heartbeat,
    SessionCreated(Session<'a>),
    Status(SessionStatus<'a>),
    Idle(Idle<'a>),
    Message(Box<Info<'a>>),
    Part(Box<Part<'a>>),
    Delta(Delta<'a>),
    Failure(Failure<'a>),
    Permission(Permission<'a>),
    Question(Question<'a>),
    Disposed,
    /// Of a type we do not use.
    Other,
    /// Of a type we use, with properties that we cannot read.
    Unreadable(serde_json::Error),
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

#[derive(Debug, Deserialize)]
pub(crate) struct Permission<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
    #[serde(rename = "permission", borrow)]
    pub(crate) what: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Question<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
}

#[derive(Deserialize)]
struct InfoOf<T> {
    info: T,
}

#[derive(Deserialize)]
struct PartOf<T> {
    part: T,
}

/// Whether a frame is the durable duplicate of an event that is delivered anyway, found without reading it: such a
/// frame is as large as the event it repeats.
///
/// What stands before the payload are strings, and in a string a quote is escaped, so that the first `"payload":` is
/// the frame's own.
pub(crate) fn is_duplicate(frame: &str) -> bool {
    const PAYLOAD: &str = "\"payload\":";
    /// The frame's directory and project come first.
    const HEAD: usize = 1024;
    let head = cut(frame, HEAD);
    head.find(PAYLOAD)
        .and_then(|at| head.get(at + PAYLOAD.len()..))
        .is_some_and(|payload| payload.starts_with("{\"type\":\"sync\","))
}

/// Reads one frame. An error means that it is no event at all.
pub(crate) fn read(frame: &str) -> Result<Envelope<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct OnePass<'a> {
        #[serde(borrow)]
        directory: Option<Text<'a>>,
        #[serde(borrow)]
        payload: Payload<'a>,
    }
    if let Ok(OnePass { directory, payload: Payload { kind, event } }) = serde_json::from_str(frame) {
        return Ok(Envelope { directory: directory.map(|d| d.0), kind, event });
    }
    read_twice(frame)
}

fn read_twice(frame: &str) -> Result<Envelope<'_>, serde_json::Error> {
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
    let event = Properties(&kind)
        .deserialize(&mut serde_json::Deserializer::from_str(properties))
        .or_else(|error| unusual_part(&kind, properties).ok_or(error))
        .unwrap_or_else(Event::Unreadable);
    Ok(Envelope { directory: directory.map(|d| d.0), kind, event })
}

/// A part of a kind we do not know may look as it likes.
fn unusual_part<'a>(kind: &str, properties: &'a str) -> Option<Event<'a>> {
    if kind != PART_UPDATED {
        return None;
    }
    let PartOf { part: raw } = serde_json::from_str::<PartOf<&'a RawValue>>(properties).ok()?;
    part(raw.get()).ok().map(|part| Event::Part(Box::new(part)))
}

const PART_UPDATED: &str = "message.part.updated";

struct Payload<'a> {
    kind: Cow<'a, str>,
    event: Event<'a>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Type,
    Properties,
    #[serde(other)]
    Other,
}

impl<'a, 'de: 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnePass;
        impl<'de> Visitor<'de> for OnePass {
            type Value = Payload<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a payload with its type before its properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut kind: Option<Text<'de>> = None;
                let mut event = None;
                while let Some(key) = map.next_key()? {
                    match (key, &kind) {
                        (Key::Type, _) => kind = Some(map.next_value()?),
                        (Key::Properties, Some(kind)) => event = Some(map.next_value_seed(Properties(kind))?),
                        (Key::Properties, None) => return Err(serde::de::Error::missing_field("type")),
                        (Key::Other, _) => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                match (kind, event) {
                    (Some(Text(kind)), Some(event)) => Ok(Payload { kind, event }),
                    (Some(_), None) => Err(serde::de::Error::missing_field("properties")),
                    (None, _) => Err(serde::de::Error::missing_field("type")),
                }
            }
        }
        deserializer.deserialize_map(OnePass)
    }
}

/// Reads properties, knowing the event's type.
struct Properties<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Properties<'_> {
    type Value = Event<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let skipped = |event| move |_: IgnoredAny| event;
        match self.0 {
            "message.part.delta" => Deserialize::deserialize(deserializer).map(Event::Delta),
            PART_UPDATED => PartOf::deserialize(deserializer).map(|p| Event::Part(Box::new(p.part))),
            "message.updated" => InfoOf::deserialize(deserializer).map(|m| Event::Message(Box::new(m.info))),
            "session.status" => Deserialize::deserialize(deserializer).map(Event::Status),
            "session.idle" => Deserialize::deserialize(deserializer).map(Event::Idle),
            "session.error" => Deserialize::deserialize(deserializer).map(Event::Failure),
            "session.created" => InfoOf::deserialize(deserializer).map(|s| Event::SessionCreated(s.info)),
            "permission.asked" => Deserialize::deserialize(deserializer).map(Event::Permission),
            "question.asked" => Deserialize::deserialize(deserializer).map(Event::Question),
            "server.heartbeat" => IgnoredAny::deserialize(deserializer).map(skipped(Event::Heartbeat)),
            "server.connected" => IgnoredAny::deserialize(deserializer).map(skipped(Event::Connected)),
            "server.instance.disposed" | "global.disposed" => {
                IgnoredAny::deserialize(deserializer).map(skipped(Event::Disposed))
            }
            _ => IgnoredAny::deserialize(deserializer).map(skipped(Event::Other)),
        }
    }
}
