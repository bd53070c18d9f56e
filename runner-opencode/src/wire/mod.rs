//! OpenCode's wire format, as far as we use it, borrowed from the bytes that were received.
//!
//! Everything here is tolerant: fields we do not know are ignored, values of enumerations we do not know survive as
//! text, numbers may be missing. What the values mean is in [`convert`](crate::convert).

pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod head;
pub(crate) mod input;
pub(crate) mod message;
pub(crate) mod quick;
pub(crate) mod session;
mod walk;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Text, borrowed where it has no escapes. Plain `Option<Cow<str>>` would always be copied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A count. JavaScript writes `null` for what is not a number, and may write a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Number(f64);

impl Number {
    pub(crate) fn amount(self) -> f64 {
        if self.0.is_finite() && self.0 > 0.0 { self.0 } else { 0.0 }
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float-to-integer cast saturates, and amount() is never negative"
    )]
    pub(crate) fn count(self) -> u64 {
        self.amount() as u64
    }
}

impl From<u32> for Number {
    fn from(count: u32) -> Self {
        Self(f64::from(count))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<f64>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// Whether something is plainly `true`. Where the field means a flag for one kind of object and a structure for
/// another, the structure is not a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }
            fn visit_unit<E>(self) -> Result<Flag, E> {
                Ok(Flag(false))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Flag, E> {
                Ok(Flag(false))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Flag, E> {
                Ok(Flag(false))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Flag, E> {
                Ok(Flag(false))
            }
            fn visit_str<E>(self, _: &str) -> Result<Flag, E> {
                Ok(Flag(false))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flag, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Flag(false))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Flag, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Flag(false))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

/// At most so many bytes of a text, cut between characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_numbers_and_flags_survive() {
        for (json, count) in [("7", 7), ("7.9", 7), ("-1", 0), ("null", 0), ("1e300", u64::MAX)] {
            assert_eq!(serde_json::from_str::<Number>(json).expect(json).count(), count, "{json}");
        }
        for json in ["false", "null", "1", "-1", "0.5", "\"true\"", "{\"a\":[1]}", "[true]"] {
            assert_eq!(serde_json::from_str::<Flag>(json).expect(json), Flag(false), "{json}");
        }
        assert_eq!(serde_json::from_str::<Flag>("true").unwrap(), Flag(true));
    }

    #[test]
    fn text_is_borrowed_unless_it_has_escapes() {
        assert!(matches!(serde_json::from_str::<Text<'_>>("\"abc\"").unwrap().0, Cow::Borrowed("abc")));
        assert!(matches!(serde_json::from_str::<Text<'_>>("\"a\\nc\"").unwrap().0, Cow::Owned(_)));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        for (text, max, expected) in
            [("abc", 9, "abc"), ("abc", 2, "ab"), ("é", 1, ""), ("aé", 2, "a"), ("", 0, "")]
        {
            assert_eq!(cut(text, max), expected);
        }
    }
}
