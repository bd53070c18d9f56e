//! JSON as the server writes it, read from front to back without a parser's generality: no white space, and no escapes
//! in keys. Each value is looked at once, by whoever knows what it should be, or skipped.
//!
//! A walk checks no more than it needs to find where each value ends, and gives up (`None`) on whatever looks
//! different; then `serde_json` reads the same text and decides.

use std::borrow::Cow;

use memchr::memchr2;
use serde::Deserialize;

use super::Number;

/// A place in a text.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    /// Walks over a text that is one object; `each` is given the keys and must walk over their values.
    pub(crate) fn all(text: &'a str, each: impl FnMut(&'a str, &mut Self) -> Option<()>) -> Option<()> {
        let mut walk = Self { text, at: 0 };
        walk.object(each)?;
        (walk.at == text.len()).then_some(())
    }

    pub(crate) fn object(&mut self, mut each: impl FnMut(&'a str, &mut Self) -> Option<()>) -> Option<()> {
        self.step(b'{')?;
        if self.step(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.key()?;
            each(key, self)?;
            if self.step(b',').is_none() {
                return self.step(b'}');
            }
        }
    }

    /// A string.
    pub(crate) fn text(&mut self) -> Option<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let begin = self.at + 1;
        let end = begin + memchr2(b'"', b'\\', self.bytes().get(begin..)?)?;
        if self.bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return self.text.get(begin..end).map(Cow::Borrowed);
        }
        self.read().map(Cow::Owned)
    }

    /// A number, of which most are counts.
    pub(crate) fn number(&mut self) -> Option<Number> {
        /// So many digits fit whatever they are.
        const SHORT: usize = 9;
        let begin = self.at;
        let digits = self.bytes().get(begin..)?.iter().take(SHORT).take_while(|byte| byte.is_ascii_digit());
        let (mut length, mut count) = (0, 0_u32);
        for digit in digits {
            length += 1;
            count = count * 10 + u32::from(digit - b'0');
        }
        let behind = self.bytes().get(begin + length)?;
        let no_leading_zero = length == 1 || self.peek() != Some(b'0');
        if length > 0 && no_leading_zero && matches!(behind, b',' | b'}') {
            self.at = begin + length;
            return Some(Number::from(count));
        }
        self.read()
    }

    /// Whatever `serde_json` makes of it.
    pub(crate) fn read<T: Deserialize<'a>>(&mut self) -> Option<T> {
        serde_json::from_str(self.json()?).ok()
    }

    /// Any value, as it stands.
    pub(crate) fn json(&mut self) -> Option<&'a str> {
        let begin = self.at;
        self.skip()?;
        self.text.get(begin..self.at)
    }

    /// Any value.
    pub(crate) fn skip(&mut self) -> Option<()> {
        let bytes = self.bytes();
        self.at = match self.peek()? {
            b'"' => string_end(bytes, self.at + 1),
            b'{' | b'[' => nested_end(bytes, self.at),
            _ => scalar_end(bytes, self.at),
        }?;
        Some(())
    }

    fn key(&mut self) -> Option<&'a str> {
        self.step(b'"')?;
        let begin = self.at;
        // Shorter than it takes to set a search by many bytes up.
        let length = self.bytes().get(begin..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        self.at = begin + length;
        self.step(b'"')?;
        self.step(b':')?;
        self.text.get(begin..begin + length)
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    fn step(&mut self, over: u8) -> Option<()> {
        if self.peek() != Some(over) {
            return None;
        }
        self.at += 1;
        Some(())
    }
}

/// Where the number or word ends that begins at `from`.
fn scalar_end(bytes: &[u8], from: usize) -> Option<usize> {
    let length = bytes.get(from..)?.iter().position(|byte| matches!(byte, b',' | b'}' | b']'))?;
    (length > 0).then_some(from + length)
}

/// Behind the closing quote of the string whose content begins at `from`.
fn string_end(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        from = at + 2;
    }
}

/// Behind the bracket that closes the one at `at`.
fn nested_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1)? - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}
