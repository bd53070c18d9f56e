//! The small values inside a directive: `times=2`, `200ms x 10`, `2MB`, `"quoted text"`.

use std::time::Duration;

/// Longer than any test waits, short enough that a slip (`1000s`) is not a day.
const LONGEST: Duration = Duration::from_hours(1);
/// Enough to pass every limit that a client may have, small enough for a laptop.
const BIGGEST: u64 = 64_000_000;

/// One word of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Bare(&'a str),
    Pair(&'a str, String),
}

/// Splits `500 times=2, message="a b"` at blanks and commas.
pub(super) fn words(text: &str) -> Result<Vec<Word<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if rest.is_empty() {
            return Ok(found);
        }
        let stop = rest.find(|c: char| c.is_whitespace() || c == ',' || c == '=').unwrap_or(rest.len());
        let (head, tail) = rest.split_at(stop);
        let Some(value) = tail.strip_prefix('=') else {
            found.push(Word::Bare(head));
            rest = tail;
            continue;
        };
        if head.is_empty() {
            return Err("there is a `=` without a name".to_owned());
        }
        let (value, after) = if value.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(value).into_iter::<String>();
            match strings.next() {
                Some(Ok(text)) => (text, value.get(strings.byte_offset()..).unwrap_or_default()),
                _ => return Err(format!("the value of `{head}` is not a closed string")),
            }
        } else {
            let stop = value.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(value.len());
            let (text, after) = value.split_at(stop);
            (text.to_owned(), after)
        };
        if value.is_empty() {
            return Err(format!("`{head}` has no value"));
        }
        found.push(Word::Pair(head, value));
        rest = after;
    }
}

/// A whole number, with the name of the option in the complaint.
pub(super) fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("`{name}={value}` is not a whole number in range"))
}

/// `250ms`, `2s`, `1m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time such as 200ms, 2s or 1m (at most 60m)");
    let (digits, unit) = split_unit(text);
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let time = match unit {
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        "m" => Duration::from_secs(count.saturating_mul(60)),
        _ => return Err(wrong()),
    };
    if time > LONGEST { Err(wrong()) } else { Ok(time) }
}

/// `2MB`, `300KB`, `512` (bytes); decimal units.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size such as 2MB, 300KB or 512 (1 byte to 64MB)");
    let (digits, unit) = split_unit(text);
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        _ => return Err(wrong()),
    };
    match count.checked_mul(factor) {
        Some(bytes) if (1..=BIGGEST).contains(&bytes) => Ok(bytes),
        _ => Err(wrong()),
    }
}

/// `10 x 200ms` is not accepted, only `200ms x 10`: one way to write it.
pub(super) fn pace(text: &str) -> Result<(Duration, u32), String> {
    let (every, count) =
        text.split_once(['x', '×']).ok_or_else(|| format!("`{text}` is not a pace such as 200ms x 10"))?;
    let count = number("x", count.trim())?;
    if count == 0 {
        return Err("the number of pieces must be at least 1".to_owned());
    }
    Ok((duration(every.trim())?, count))
}

/// Text as written, or, to keep blanks and line ends exactly, as a JSON string.
pub(super) fn text(argument: &str) -> Result<String, String> {
    if argument.is_empty() {
        return Err("it needs a text".to_owned());
    }
    if argument.len() > 1 && argument.starts_with('"') && argument.ends_with('"') {
        return serde_json::from_str(argument)
            .map_err(|error| format!("its quoted text is not valid: {error}"));
    }
    Ok(argument.to_owned())
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split() {
        let pair = |name, value: &str| Word::Pair(name, value.to_owned());
        let cases = [
            ("", Ok(vec![])),
            ("500", Ok(vec![Word::Bare("500")])),
            ("500 times=2", Ok(vec![Word::Bare("500"), pair("times", "2")])),
            ("in=1,out=2", Ok(vec![pair("in", "1"), pair("out", "2")])),
            ("in=1, out=2", Ok(vec![pair("in", "1"), pair("out", "2")])),
            (
                r#"400 message="a, b \" c" x=1"#,
                Ok(vec![Word::Bare("400"), pair("message", "a, b \" c"), pair("x", "1")]),
            ),
            ("a=", Err("`a` has no value")),
            ("=a", Err("there is a `=` without a name")),
            (r#"a="open"#, Err("the value of `a` is not a closed string")),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn values_are_read_or_refused() {
        for (text, expected) in [
            ("200ms", Some(Duration::from_millis(200))),
            ("2s", Some(Duration::from_secs(2))),
            ("60m", Some(LONGEST)),
            ("61m", None),
            ("2", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615m", None),
        ] {
            assert_eq!(duration(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("512", Some(512)),
            ("512B", Some(512)),
            ("3KB", Some(3_000)),
            ("2MB", Some(2_000_000)),
            ("64MB", Some(BIGGEST)),
            ("65MB", None),
            ("0", None),
            ("2GB", None),
            ("two", None),
            ("18446744073709551615MB", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            ("200ms x 10", Some((Duration::from_millis(200), 10))),
            ("0ms x 1", Some((Duration::ZERO, 1))),
            ("1s×2", Some((Duration::from_secs(1), 2))),
            ("1s x 0", None),
            ("1s", None),
            ("x 3", None),
        ] {
            assert_eq!(pace(text).ok(), expected, "{text}");
        }
        for (argument, expected) in [
            ("hi", Some("hi")),
            (r#""a\n b ""#, Some("a\n b ")),
            (r#"""#, Some("\"")),
            (r#""a" and "b""#, None),
            ("", None),
        ] {
            assert_eq!(text(argument).ok().as_deref(), expected, "{argument}");
        }
    }
}
