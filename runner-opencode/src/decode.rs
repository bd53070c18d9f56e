//! One frame of the event stream: what becomes of it.

use runner_core::session::AgentEvent;

use crate::convert;
use crate::error::Failure;
use crate::ids::Ids;
use crate::wire::event::{self, Envelope, Kind};
use crate::wire::head::Head;

/// What the ids of sessions begin with that exist only to be named in an event.
pub(crate) const MARKER: &str = "ses_0echo";

/// What the server calls the directory of events that belong to none.
const EVERYWHERE: &str = "global";

/// The event of a frame; `None` where it is not for this directory, or repeats another one.
pub(crate) fn decode(frame: &[u8], directory: &str, ids: &mut Ids) -> Option<Result<AgentEvent, Failure>> {
    match usual(frame, directory, ids) {
        Ok(event) => event.map(Ok),
        Err(Unusual) => match std::str::from_utf8(frame) {
            Ok(text) => unusual(text, directory, ids).map(Ok),
            Err(_) => Some(Err(Failure::NotText)),
        },
    }
}

/// A frame that has to be read as any JSON.
struct Unusual;

/// A frame as the server writes nearly all of them, read only as far as it is used.
fn usual(frame: &[u8], directory: &str, ids: &mut Ids) -> Result<Option<AgentEvent>, Unusual> {
    let head = Head::of(frame).ok_or(Unusual)?;
    let kind = std::str::from_utf8(head.kind).map_err(|_| Unusual)?;
    let known = Kind::of(kind);
    if known == Kind::Duplicate || !concerns(head.directory, directory) {
        return Ok(None);
    }
    let event = match known {
        Kind::Other => None,
        // Where the properties cannot be read, they may be followed by something.
        known => {
            let properties = std::str::from_utf8(head.properties).map_err(|_| Unusual)?;
            convert::event(known, properties, ids).map_err(|_| Unusual)?
        }
    };
    Ok(delivered(event.unwrap_or_else(|| AgentEvent::Other(kind.to_owned()))))
}

fn unusual(frame: &str, directory: &str, ids: &mut Ids) -> Option<AgentEvent> {
    let Envelope { directory: of, kind, properties } = match event::read(frame) {
        Ok(envelope) => envelope,
        Err(error) => {
            tracing::debug!(line = error.line(), column = error.column(), "a frame that is no event");
            return Some(AgentEvent::Other(String::new()));
        }
    };
    let known = Kind::of(&kind);
    if known == Kind::Duplicate || !concerns(of.as_deref().map(str::as_bytes), directory) {
        return None;
    }
    let event = convert::event(known, properties, ids).unwrap_or_else(|error| {
        tracing::debug!(event = %kind, line = error.line(), column = error.column(), "unreadable event");
        None
    });
    delivered(event.unwrap_or_else(|| AgentEvent::Other(kind.into_owned())))
}

fn concerns(of: Option<&[u8]>, directory: &str) -> bool {
    of.is_none_or(|of| of == directory.as_bytes() || of == EVERYWHERE.as_bytes())
}

/// All but what is left of an echo, ours or another stream's.
fn delivered(event: AgentEvent) -> Option<AgentEvent> {
    match event {
        AgentEvent::Status { ref session, .. } if session.as_str().starts_with(MARKER) => None,
        event => Some(event),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recordings::frames;

    const DIRECTORY: &str = "/workspace";

    #[test]
    fn recorded_frames_are_usual() {
        for frame in frames() {
            assert!(usual(frame.as_bytes(), DIRECTORY, &mut Ids::default()).is_ok(), "{frame}");
        }
    }

    #[test]
    fn an_event_is_the_same_read_as_any_json() {
        for frame in frames() {
            // Sorted, which puts the properties before the type.
            let sorted: serde_json::Value = serde_json::from_str(frame).unwrap();
            let decoded = |frame: &str| {
                let event = decode(frame.as_bytes(), DIRECTORY, &mut Ids::default());
                event.map(|event| event.expect("text"))
            };
            assert_eq!(decoded(frame), decoded(&sorted.to_string()), "{frame}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_event_at_most(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, DIRECTORY, &mut Ids::default());
        }
    }
}
