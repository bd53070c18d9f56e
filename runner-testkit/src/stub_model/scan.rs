//! Finds `[[name: argument]]` in a prompt; knows nothing about what the names mean.

use serde::de::IgnoredAny;

use super::script::ScriptError;

/// One directive as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directive<'a> {
    pub(super) name: &'a str,
    /// What follows the colon, trimmed; empty when there is no colon.
    pub(super) argument: &'a str,
    /// The whole directive with its brackets, for error messages.
    pub(super) source: &'a str,
}

const OPEN: &str = "[[";
const CLOSE: &str = "]]";

/// All directives of `text` in order. Everything between them is commentary and is skipped.
///
/// Strict where a slip would otherwise be silent: an opened directive must close, and a prompt with directives
/// must not have closing brackets left over (the sign of a directive that ended earlier than its author thought).
pub(super) fn scan(text: &str) -> Result<Vec<Directive<'_>>, ScriptError> {
    let mut found = Vec::new();
    let mut rest = text;
    let (mut literal_opens, mut literal_closes) = (0, 0);
    while let Some(at) = rest.find(OPEN) {
        let (before, from) = rest.split_at(at);
        literal_closes += before.matches(CLOSE).count();
        if before.ends_with('\\') || !opens_directive(from) {
            literal_opens += 1;
            rest = from.get(OPEN.len()..).unwrap_or_default();
            continue;
        }
        let directive = take(from)?;
        rest = from.get(directive.source.len()..).unwrap_or_default();
        found.push(directive);
    }
    literal_closes += rest.matches(CLOSE).count();
    match found.last() {
        Some(last) if literal_closes > literal_opens => Err(ScriptError::new(
            last.source,
            "the prompt has a `]]` that closes nothing; did a directive end too early? (nested `[[ ]]` must balance)",
        )),
        _ => Ok(found),
    }
}

/// `[[ -f x ]]` and `[[1, 2]]` are ordinary text; `[[` before a letter is meant for us.
fn opens_directive(from: &str) -> bool {
    from.get(OPEN.len()..)
        .map(|inner| inner.trim_start_matches([' ', '\t']))
        .is_some_and(|inner| inner.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// The directive at the very start of `from`.
fn take(from: &str) -> Result<Directive<'_>, ScriptError> {
    let inner = from.get(OPEN.len()..).unwrap_or_default();
    let blanks = inner.len() - inner.trim_start_matches([' ', '\t']).len();
    let named = inner.get(blanks..).unwrap_or_default();
    let name_len =
        named.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(named.len());
    let (name, after) = named.split_at(name_len);

    // A JSON argument may hold any brackets, so its end is found by reading it as JSON.
    let json = if name == "tool" { json_span(after).map_err(|why| ScriptError::new(from, why))? } else { 0 };
    let searched = after.get(json..).unwrap_or_default();
    let Some(end) = closing(searched) else {
        return Err(ScriptError::new(from, "it is not closed with `]]`"));
    };
    let body = after.get(..json + end).unwrap_or_default();
    let length = OPEN.len() + blanks + name_len + json + end + CLOSE.len();
    let source = from.get(..length).unwrap_or(from);

    let body = body.trim();
    let argument = match body.strip_prefix(':') {
        Some(argument) => argument.trim(),
        None if body.is_empty() => "",
        None => {
            return Err(ScriptError::new(source, format!("expected `:` or `]]` after `{name}`")));
        }
    };
    Ok(Directive { name, argument, source })
}

/// How many bytes at the start of `text` reach to the end of its first JSON object; 0 without one.
fn json_span(text: &str) -> Result<usize, String> {
    let Some(start) = text.find('{') else { return Ok(0) };
    if text.find(CLOSE).is_some_and(|close| close < start) {
        return Ok(0);
    }
    let mut values =
        serde_json::Deserializer::from_str(text.get(start..).unwrap_or_default()).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(start + values.byte_offset()),
        Some(Err(error)) => Err(format!("its arguments are not JSON: {error}")),
        None => Ok(0),
    }
}

/// Where the `]]` that balances an already opened `[[` starts. In an odd run of `]` the first one is text
/// (`[[run: echo a[1]]]`).
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 1;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let run = bytes.iter().skip(at).take_while(|other| **other == byte).count();
        match byte {
            b'[' => depth += run / 2,
            b']' if run / 2 >= depth => return Some(at + run % 2 + (depth - 1) * 2),
            b']' => depth -= run / 2,
            _ => {}
        }
        at += run;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_found_where_they_are_meant() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("just words", &[]),
            ("[[say: hi]]", &[("say", "hi")]),
            ("before [[say: hi]] after", &[("say", "hi")]),
            ("[[ say : hi ]]", &[("say", "hi")]),
            ("[[empty]]", &[("empty", "")]),
            ("[[say:]]", &[("say", "")]),
            ("[[say: a]]\n[[hang]]", &[("say", "a"), ("hang", "")]),
            ("[[say: two\nlines]]", &[("say", "two\nlines")]),
            ("[[run: if [[ -f x ]]; then echo; fi]]", &[("run", "if [[ -f x ]]; then echo; fi")]),
            ("[[run: echo a[1]]]", &[("run", "echo a[1]")]),
            ("[[say: [[[x]]]]]", &[("say", "[[[x]]]")]),
            (r#"[[tool: t {"a":[1,[2]]}]] [[say: b]]"#, &[("tool", r#"t {"a":[1,[2]]}"#), ("say", "b")]),
            (r#"[[tool: t {"a":"]]"}]]"#, &[("tool", r#"t {"a":"]]"}"#)]),
            (r#"[[tool: task {"prompt":"[[run: ls]]"}]]"#, &[("tool", r#"task {"prompt":"[[run: ls]]"}"#)]),
            (r"[[tool: t]] and {", &[("tool", "t")]),
            // Ordinary text.
            ("if [[ -f x ]]; then", &[]),
            ("[[ $a == b ]]", &[]),
            ("[[1, 2], [3]]", &[]),
            (r"\[[say: hi]]", &[]),
            ("m[a[0]]", &[]),
            ("[[ -f x ]] [[say: yes]]", &[("say", "yes")]),
            ("日本 [[say: 語]] é", &[("say", "語")]),
        ];
        for (text, expected) in cases {
            let found = scan(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let pairs: Vec<_> = found.iter().map(|d| (d.name, d.argument)).collect();
            assert_eq!(&pairs, expected, "{text}");
        }
    }

    #[test]
    fn slips_are_errors_that_name_the_directive() {
        let cases = [
            ("[[say: hi", "[[say: hi", "not closed"),
            ("[[say hi]]", "[[say hi]]", "expected `:`"),
            ("[[say: a[b[0]]]]", "[[say: a[b[0]]", "closes nothing"),
            ("[[tool: bash {oops}]]", "[[tool: bash {oops}]]", "not JSON"),
            ("[[tool: bash {\"a\":1}", "[[tool: bash", "not closed"),
            ("[[run: [[ -f x ]]", "[[run: [[ -f x ]]", "not closed"),
        ];
        for (text, directive, problem) in cases {
            let error = scan(text).expect_err(text);
            assert!(error.directive().starts_with(directive), "{text}: {}", error.directive());
            assert!(error.to_string().contains(problem), "{text}: {error}");
        }
    }
}
