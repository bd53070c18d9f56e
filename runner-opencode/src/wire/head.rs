//! The head of an event: what stands before its properties, found without reading those.
//!
//! Half of a server's events are duplicates or of types we do not use, and their properties are as large as those of
//! the others. The server writes the heads of all events in one way, without white space and without escapes, so that
//! a few comparisons tell what an event is. Whatever looks different has no head, and is read by
//! [`event::read`](super::event::read), which knows any way.

use memchr::memchr2;

/// `{"directory":D,"project":…,"payload":{"id":…,"type":T,"properties":P}}`, or without what is in front of the
/// payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) directory: Option<&'a [u8]>,
    pub(crate) kind: &'a [u8],
    /// What stands between the properties' key and the last two braces. These are the properties, unless it cannot
    /// be read: something else may follow them. Nothing for a duplicate, which has none.
    pub(crate) properties: &'a [u8],
}

impl<'a> Head<'a> {
    pub(crate) fn of(frame: &'a [u8]) -> Option<Self> {
        let rest = frame.strip_prefix(b"{")?;
        let (directory, rest) = optional(rest, b"\"directory\":\"")?;
        let (_, rest) = optional(rest, b"\"project\":\"")?;
        let rest = rest.strip_prefix(b"\"payload\":{")?;
        let (_, rest) = optional(rest, b"\"id\":\"")?;
        let (kind, rest) = optional(rest, b"\"type\":\"")?;
        let kind = kind?;
        // A duplicate has its event under another key.
        let properties = match rest.strip_prefix(b"\"properties\":") {
            Some(rest) => rest.strip_suffix(b"}}")?,
            None if kind == b"sync" => &[],
            None => return None,
        };
        Some(Self { directory, kind, properties })
    }
}

/// The text of a member if it is next, and what is behind its comma.
fn optional<'a>(text: &'a [u8], key: &[u8]) -> Option<(Option<&'a [u8]>, &'a [u8])> {
    let Some(value) = text.strip_prefix(key) else { return Some((None, text)) };
    let (value, behind) = value.split_at_checked(memchr2(b'"', b'\\', value)?)?;
    Some((Some(value), behind.strip_prefix(b"\",")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(frame: &str) -> Option<(Option<&str>, &str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).expect("text");
        Head::of(frame.as_bytes()).map(|h| (h.directory.map(text), text(h.kind), text(h.properties)))
    }

    #[test]
    fn the_servers_own_way_is_known() {
        let full = r#"{"directory":"/w","project":"global","payload":{"id":"e","type":"a.b","properties":{"x":"}}"}}}"#;
        assert_eq!(head(full), Some((Some("/w"), "a.b", r#"{"x":"}}"}"#)));
        let bare = r#"{"payload":{"type":"a","properties":{}}}"#;
        assert_eq!(head(bare), Some((None, "a", "{}")));
        let duplicate = r#"{"directory":"/w","payload":{"type":"sync","syncEvent":{"type":"x"},"id":"e"}}"#;
        assert_eq!(head(duplicate), Some((Some("/w"), "sync", "")));
    }

    #[test]
    fn anything_else_has_no_head() {
        for other in [
            "",
            "{}",
            "[]",
            r#"{"payload":{"type":"a"}}"#,
            r#"{"payload":{"type":"a","syncEvent":{}}}"#,
            r#"{"payload":{"properties":{},"type":"a"}}"#,
            r#"{"payload":{"type":"a","properties":{}},"directory":"/w"}"#,
            r#"{"directory":"/w\n","payload":{"type":"a","properties":{}}}"#,
            r#"{"directory":7,"payload":{"type":"a","properties":{}}}"#,
            r#"{ "payload":{"type":"a","properties":{}}}"#,
            r#"{"payload":{"id":"e","type":"a","properties":{}"#,
        ] {
            // A directory behind the payload would be overlooked, were the last braces not the payload's and its own.
            assert_eq!(head(other), None, "{other}");
        }
    }
}
