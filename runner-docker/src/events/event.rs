//! One line of an engine's events → a domain event. Pure, and lenient: every line stands for itself, and a word
//! that this library does not know is told as it is.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use runner_core::container::Labels;
use runner_core::runtime_event::{ContainerEvent, ContainerEventKind};
use runner_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::convert;
use crate::error::clean;
use crate::stamp::Stamp;

/// What an engine adds to a container's labels in every event of it, overwriting labels of these names.
const ALWAYS: &[&str] = &["image", "name"];

/// An event with what is needed to recognize it when it is told again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) event: ContainerEvent,
    /// Its moment; `None` where the engine tells none, and then it cannot be recognized.
    pub(crate) stamp: Option<Stamp>,
    /// Tells events of one moment apart.
    pub(crate) key: u64,
}

/// What a line holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An event of a container that carries the labels.
    Ours(Told),
    /// An event of something else.
    Other,
    /// Not an event.
    Garbage,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "Type")]
    about: Option<Value>,
    #[serde(rename = "Action")]
    action: Option<Value>,
    #[serde(rename = "Actor")]
    actor: Option<Actor>,
    time: Option<Value>,
    #[serde(rename = "timeNano")]
    time_nano: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<Value>,
    #[serde(rename = "Attributes")]
    attributes: Option<Map<String, Value>>,
}

/// Refuses labels that no event could be found by.
pub(crate) fn check_labels(operation: &'static str, labels: &Labels) -> Result<()> {
    match ALWAYS.iter().find(|name| labels.contains_key(**name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(
            ErrorKind::InvalidInput,
            operation,
            format!("events cannot be chosen by a label named {name:?}: the engine puts its own value there"),
        )
        .with_hint("use a label with a prefix of its own")),
    }
}

/// Reads a line. `unknown_moment` is taken for the time of an event that has none.
pub(crate) fn read(line: &[u8], wanted: &Labels, unknown_moment: SystemTime) -> Line {
    let Ok(message) = serde_json::from_slice::<Message>(line) else { return Line::Garbage };
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let (Some(action), Some(actor)) = (text(&message.action), message.actor) else { return Line::Other };
    if text(&message.about).as_deref() != Some("container") {
        return Line::Other;
    }
    let Some(id) = text(&actor.id).and_then(|id| convert::id(&id).ok()) else { return Line::Other };
    let mut attributes: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in actor.attributes.unwrap_or_default() {
        if let Value::String(value) = value {
            attributes.insert(key, value);
        }
    }
    // The engine's filter is not trusted. Before its own words are taken out: a label may have the name of one.
    if !wanted.iter().all(|(key, value)| attributes.get(key) == Some(value)) {
        return Line::Other;
    }
    let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_i64).filter(|n| *n > 0);
    let seconds = || number(&message.time).and_then(|n| n.checked_mul(1_000_000_000));
    let stamp = number(&message.time_nano).or_else(seconds).map(Stamp::from_nanos);
    let mut hasher = DefaultHasher::new();
    (&action, id.as_str(), &attributes).hash(&mut hasher);
    let kind = kind(&action, &attributes);
    let name = attributes.get("name").map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default();
    attributes
        .retain(|key, _| !ALWAYS.contains(&key.as_str()) && !own_words(&action).contains(&key.as_str()));
    let at = stamp.and_then(Stamp::time).unwrap_or(unknown_moment);
    let event = ContainerEvent { at, id, name, labels: attributes, kind };
    Line::Ours(Told { event, stamp, key: hasher.finish() })
}

/// What happened, in the words of Docker and of Podman.
fn kind(action: &str, attributes: &BTreeMap<String, String>) -> ContainerEventKind {
    use ContainerEventKind as Kind;
    let attribute = |name: &str| attributes.get(name);
    match action {
        "create" => Kind::Created,
        "start" => Kind::Started,
        // A label of that name overwrites the engine's value (measured on 20.10): a hint, as all events are.
        "die" | "died" => Kind::Died {
            code: attribute("exitCode")
                .or_else(|| attribute("containerExitCode"))
                .and_then(|text| text.parse().ok()),
        },
        "oom" => Kind::OutOfMemory,
        "kill" => Kind::Signaled { signal: attribute("signal").and_then(|text| text.parse().ok()) },
        "stop" => Kind::Stopped,
        "pause" => Kind::Paused,
        "unpause" => Kind::Unpaused,
        "update" => Kind::Updated,
        "destroy" | "remove" => Kind::Removed,
        // "exec_create: " is followed by the whole command, which may hold anything.
        exec if exec.starts_with("exec_") => {
            Kind::Other(exec.split(':').next().unwrap_or_default().trim().to_owned())
        }
        other => Kind::Other(clean(other)),
    }
}

/// What an engine adds to a container's labels in events of one action.
fn own_words(action: &str) -> &'static [&'static str] {
    match action {
        "die" | "died" => &["exitCode", "execDuration", "containerExitCode"],
        "kill" => &["signal"],
        "rename" => &["oldName"],
        "commit" => &["comment", "imageID", "imageRef"],
        "resize" => &["height", "width"],
        exec if exec.starts_with("exec_") => &["execID", "exitCode"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wanted() -> Labels {
        Labels::from([("obs.ev".to_owned(), "1".to_owned())])
    }

    fn ours(line: &str) -> Told {
        match read(line.trim().as_bytes(), &wanted(), SystemTime::UNIX_EPOCH) {
            Line::Ours(told) => told,
            other => panic!("{other:?} for {line}"),
        }
    }

    fn event(action: &str, attributes: &str) -> String {
        format!(
            r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"abc","Attributes":{{"obs.ev":"1"{attributes}}}}},
                "scope":"local","time":1,"timeNano":1500000000}}"#
        )
    }

    /// The life of three containers, as engine 20.10.24 tells it.
    #[test]
    fn a_recorded_life_is_understood() {
        use ContainerEventKind as Kind;
        let kinds: Vec<Kind> = include_str!("../../tests/fixtures/events.jsonl")
            .lines()
            .map(|line| ours(line).event.kind)
            .collect();
        let other = |text: &str| Kind::Other(text.to_owned());
        let killed = |signal| Kind::Signaled { signal: Some(signal) };
        let died = |code| Kind::Died { code: Some(code) };
        let want = [
            // One with labels that have the names of the engine's own words: they win over those (!).
            vec![Kind::Created, Kind::Started, other("exec_create"), other("exec_start"), other("exec_die")],
            vec![Kind::Paused, Kind::Unpaused, Kind::Updated, Kind::Signaled { signal: None }, died(77)],
            vec![other("rename"), other("archive-path"), Kind::Removed],
            // One that is stopped, started, restarted and removed by force.
            vec![Kind::Created, Kind::Started, killed(15), died(143), Kind::Stopped, Kind::Started],
            vec![killed(15), killed(9), died(143), Kind::Stopped, Kind::Started, other("restart")],
            vec![killed(9), died(137), Kind::Removed],
            // One that runs out of memory.
            vec![Kind::Created, Kind::Started, Kind::OutOfMemory, died(137), Kind::Removed],
        ]
        .concat();
        assert_eq!(kinds, want);
    }

    #[test]
    fn labels_are_separated_from_the_engines_words() {
        let told = ours(include_str!("../../tests/fixtures/events.jsonl").lines().next().unwrap());
        assert_eq!(told.event.name, "obs-e");
        assert_eq!(told.event.at, SystemTime::UNIX_EPOCH + Duration::from_nanos(1_795_589_857_812_131_875));
        assert_eq!(told.stamp, Some(Stamp::from_nanos(1_795_589_857_812_131_875)));
        let labels = &told.event.labels;
        let has = |key: &str| labels.get(key).map(String::as_str);
        assert_eq!(
            (has("obs.ev"), has("empty"), has("name"), has("image")),
            (Some("1"), Some(""), None, None)
        );
        assert_eq!(has("exitCode"), Some("77"), "a creation has no exit code of its own");

        let died = ours(&event("die", r#","exitCode":"5","execDuration":"1","image":"i","name":"/n""#)).event;
        assert_eq!((died.name.as_str(), died.labels), ("n", wanted()));
        assert_eq!(ours(&event("exec_create: sh -c secret", "")).event.kind, {
            ContainerEventKind::Other("exec_create".to_owned())
        });
        let health = ours(&event("health_status: healthy", "")).event.kind;
        assert_eq!(health, ContainerEventKind::Other("health_status: healthy".to_owned()));
    }

    #[test]
    fn podmans_words_are_known() {
        let died = ours(&event("died", r#","containerExitCode":"3""#)).event;
        assert_eq!((died.kind, died.labels), (ContainerEventKind::Died { code: Some(3) }, wanted()));
        assert_eq!(ours(&event("remove", "")).event.kind, ContainerEventKind::Removed);
    }

    #[test]
    fn odd_lines_say_nothing_and_break_nothing() {
        let read = |line: &str| read(line.as_bytes(), &wanted(), SystemTime::UNIX_EPOCH);
        for line in ["", "{", "garbage", "[1]", "\u{0}", r#"{"Actor":3}"#, r#"{"Actor":{"Attributes":[]}}"#] {
            assert_eq!(read(line), Line::Garbage, "{line:?}");
        }
        let foreign = event("start", "").replace(r#""obs.ev":"1""#, r#""obs.ev":"11""#);
        let network = event("start", "").replace("container", "network");
        for line in [
            "{}",
            foreign.as_str(),
            network.as_str(),
            &network.replace("network", "surprise"),
            &event("start", "").replace("\"abc\"", "\"../abc\""),
            &event("start", "").replace("\"abc\"", "7"),
            &event("start", "").replace("\"start\"", "null"),
        ] {
            assert_eq!(read(line), Line::Other, "{line}");
        }
        // Unknown words, odd values and odd times are no reason to lose the event.
        assert_eq!(ours(&event("levitate", "")).event.kind, ContainerEventKind::Other("levitate".to_owned()));
        for code in ["x", "", "99999999999999999999"] {
            let died = ours(&event("die", &format!(r#","exitCode":"{code}""#))).event.kind;
            assert_eq!(died, ContainerEventKind::Died { code: None }, "{code}");
        }
        assert_eq!(ours(&event("start", r#","n":5,"o":null"#)).event.labels, wanted());
        let seconds = event("start", "").replace("1500000000", "null");
        assert_eq!(ours(&seconds).stamp, Some(Stamp::from_nanos(1_000_000_000)));
        let timeless = event("start", "").replace("1500000000", "\"x\"").replace(":1,", ":-1,");
        assert_eq!((ours(&timeless).stamp, ours(&timeless).event.at), (None, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn events_of_one_moment_are_told_apart() {
        let key = |line: String| ours(&line).key;
        assert_eq!(key(event("kill", "")), key(event("kill", "")));
        assert_ne!(key(event("kill", "")), key(event("die", "")));
        assert_ne!(key(event("kill", r#","signal":"15""#)), key(event("kill", r#","signal":"9""#)));
        assert_ne!(key(event("kill", "")), key(event("kill", "").replace("abc", "abd")));
    }

    #[test]
    fn a_label_that_no_event_shows_is_refused() {
        check_labels("x", &wanted()).unwrap();
        for name in ["name", "image"] {
            let labels = Labels::from([(name.to_owned(), "a".to_owned())]);
            assert_eq!(check_labels("x", &labels).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        }
    }
}
