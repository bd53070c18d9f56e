use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::head::Head;
use super::*;
use crate::recordings::{change, frames};

/// Both readings of the text, where both read something.
fn both<'a, T: Deserialize<'a> + Debug>(
    quick: impl FnOnce(&'a str) -> Option<T>,
    json: &'a str,
) -> Option<[String; 2]> {
    Some([format!("{:?}", quick(json)?), format!("{:?}", serde_json::from_str::<T>(json).ok()?)])
}

fn of_every_type(json: &str) -> [Option<[String; 2]>; 4] {
    [both(delta, json), both(status, json), both(message, json), both(part, json)]
}

/// The properties of all recorded events of the type.
fn recorded(kind: &str) -> Vec<String> {
    let all: Vec<_> = frames()
        .iter()
        .filter_map(|frame| Head::of(frame.as_bytes()))
        .filter(|head| head.kind == kind.as_bytes())
        .map(|head| String::from_utf8(head.properties.to_owned()).unwrap())
        .collect();
    assert!(!all.is_empty(), "no recording has {kind}");
    all
}

#[test]
fn every_recorded_event_of_these_types_is_read_quickly() {
    let is_retry = |json: &&String| json.contains("\"retry\"");
    for json in recorded("message.part.delta") {
        assert!(delta(&json).is_some(), "{json}");
    }
    for json in recorded("session.status").iter().filter(|json| !is_retry(json)) {
        assert!(status(json).is_some(), "{json}");
    }
    for json in recorded("message.updated") {
        assert!(message(&json).is_some(), "{json}");
    }
    for json in recorded("message.part.updated") {
        assert!(part(&json).is_some(), "{json}");
    }
}

#[test]
fn what_is_odd_is_left_to_the_general_reading_or_read_alike() {
    for odd in [
        "",
        "{",
        "{}",
        "null",
        r#"{"info":null}"#,
        r#"{"sessionID":"s","sessionID":"t","status":{"type":"busy"}}"#,
        r#"{"sessionID":"s","status":{"type":"busy"},"status":{"type":"idle"}}"#,
        r#"{"sessionID":"s","status":{"type":"busy","attempt":3}}"#,
        r#"{"sessionID":"s","status":{"type":"b\u0075sy"}}"#,
        r#"{"session\u0049D":"s","status":{"type":"busy"}}"#,
        r#"{"sessionID":"s","messageID":"m","partID":"p","field":"text","delta":"\"\\\n é"}"#,
        r#"{"sessionID":"s","messageID":"m","partID":"p","field":"text","delta":"open}"#,
        r#"{"sessionID":"s","messageID":"m","partID":"p","field":"text","delta":"x"} "#,
        r#"{"info":{"id":"m","sessionID":"s","role":"user","cost":null,"time":{"completed":null},"error":null}}"#,
        r#"{"info":{"id":"m","sessionID":"s","role":"user","cost":-1.5e3,"tokens":{"input":007,"output":1234567890123}}}"#,
        r#"{"info":{"id":"m","sessionID":"s","role":"user","summary":{"diffs":[{"a":"]}"}]},"parentID":null}}"#,
        r#"{"part":{"id":"p","messageID":"m","type":"tool","state":{"status":"running","metadata":null,"input":[1,{}]}}}"#,
        r#"{"part":{"id":"p","messageID":"m","type":"tool","state":null,"tokens":{"cache":{"read":0,"write":01}}}}"#,
    ] {
        for [quick, general] in of_every_type(odd).into_iter().flatten() {
            assert_eq!(quick, general, "{odd}");
        }
    }
}

proptest! {
    /// Recorded properties with a few bytes changed, taken out or put in: mostly no JSON any more, sometimes another.
    #[test]
    fn both_readings_agree_on_anything_near_a_recording(
        kind in prop::sample::select(vec!["message.part.delta", "session.status", "message.updated", "message.part.updated"]),
        which in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), 0..3_usize, prop::sample::select(br#"{}[]":,\ 0129aetn"#.to_vec())), 0..4),
    ) {
        let mut bytes = which.get(&recorded(kind)).clone().into_bytes();
        for (at, how, byte) in changes {
            change(&mut bytes, at, how, byte);
        }
        let json = String::from_utf8_lossy(&bytes);
        for [quick, general] in of_every_type(&json).into_iter().flatten() {
            prop_assert_eq!(quick, general);
        }
    }

    #[test]
    fn no_text_makes_a_walk_panic(text in any::<String>()) {
        of_every_type(&text);
        of_every_type(&format!("{{{text}}}"));
    }
}
