//! The shapes in which the server reports what went wrong. Pure functions from bytes to a safe summary.
//!
//! Safe, because errors about the configuration echo its text, and errors about a value echo the value: either may
//! be a secret. What a person needs is kept: the name, the file, the place in it, and what was expected there.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Number, Text, cut};

/// Longest summary, in bytes.
const MAX_SUMMARY: usize = 200;

/// An error inside a message or an event: `{"name", "data": {"message", …}}`.
#[derive(Debug, Deserialize)]
pub(crate) struct NamedError<'a> {
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    /// Raw, so that a name we do not know may have whatever it likes.
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
}

/// What we read of an error's data. Left out on purpose: `responseBody`, `responseHeaders`, `metadata`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ErrorData<'a> {
    #[serde(borrow)]
    pub(crate) message: Option<Text<'a>>,
    #[serde(rename = "statusCode")]
    pub(crate) status: Option<Number>,
}

impl<'a> NamedError<'a> {
    pub(crate) fn data(&self) -> ErrorData<'a> {
        self.data.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }
}

/// An answer with an error status, reduced to what may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The server's name for the error; empty where it gave none.
    pub(crate) name: String,
    pub(crate) summary: String,
}

impl Refusal {
    /// Whether the server refuses its configuration, and not the request.
    pub(crate) fn is_about_configuration(&self) -> bool {
        self.name.starts_with("Config")
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(rename = "_tag", borrow)]
    tag: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    message: Option<Text<'a>>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
    #[serde(borrow, default)]
    issues: Vec<Issue<'a>>,
}

#[derive(Deserialize)]
struct Issue<'a> {
    #[serde(borrow, default)]
    path: Vec<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
}

/// Reads an answer with an error status, whatever it looks like.
pub(crate) fn refusal(status: u16, body: &[u8]) -> Refusal {
    let plain = |summary: &str| Refusal { status, name: String::new(), summary: summary.to_owned() };
    if body.iter().all(u8::is_ascii_whitespace) {
        return plain("the answer is empty");
    }
    // `from_utf8` first: raw values are borrowed from text.
    let Some(parsed) = std::str::from_utf8(body).ok().and_then(|b| serde_json::from_str::<Body<'_>>(b).ok())
    else {
        return plain("the answer is not one of OpenCode's errors");
    };
    let name = parsed.name.or(parsed.tag).map(|name| safe(&name)).unwrap_or_default();
    let data: Data<'_> = parsed.data.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let mut parts: Vec<Cow<'_, str>> = Vec::new();
    if let Some(path) = &data.path {
        parts.push(Cow::Borrowed(path));
    }
    for issue in &data.issues {
        let mut text = String::from("at ");
        for (place, key) in issue.path.iter().enumerate() {
            let dot = if place > 0 { "." } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{dot}{}", key.get().trim_matches('"'));
        }
        if let Some(message) = &issue.message {
            let _ = write!(text, " ({})", without_values(message));
        }
        parts.push(Cow::Owned(text));
    }
    if let Some(message) = data.message.as_ref().or(parsed.message.as_ref()) {
        parts.push(Cow::Owned(without_values(message).to_owned()));
    }
    let summary = safe(&parts.join(": "));
    Refusal { status, name, summary }
}

/// The part of a message that does not repeat what was read: of an echoed configuration the place of the error, of
/// any other the first line up to the value that was found.
fn without_values(message: &str) -> &str {
    if let Some((_, errors)) = message.split_once("JSONC Input") {
        let errors = errors.split_once("--- Errors ---").map_or("", |(_, errors)| errors);
        return errors.lines().find(|line| is_place(line)).unwrap_or("it cannot be parsed");
    }
    let line = first_line(message);
    line.split_once(", got ").map_or(line, |(expected, _)| expected)
}

/// Whether a line is of the form `InvalidSymbol at line 1, column 43`, with nothing of the text in it.
fn is_place(line: &str) -> bool {
    let Some((what, place)) = line.split_once(" at line ") else { return false };
    let Some((row, column)) = place.split_once(", column ") else { return false };
    what.bytes().all(|b| b.is_ascii_alphabetic())
        && row.bytes().all(|b| b.is_ascii_digit())
        && column.bytes().all(|b| b.is_ascii_digit())
}

/// The first line that says something; stack traces follow it.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

fn safe(text: &str) -> String {
    one_line(text, MAX_SUMMARY)
}

/// At most so many bytes of a text, as one line that commands no terminal.
pub(crate) fn one_line(text: &str, max: usize) -> String {
    cut(text, max).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body as the real server sent it, name, summary.
    const SHAPES: &[(u16, &str, &str, &str)] = &[
        (
            404,
            r#"{"name":"NotFoundError","data":{"message":"Session not found: ses_nope"}}"#,
            "NotFoundError",
            "Session not found: ses_nope",
        ),
        (400, r#"{"_tag":"BadRequest"}"#, "BadRequest", ""),
        (
            400,
            r#"{"name":"BadRequest","data":{"message":"Expected array, got 3\n  at [\"parts\"]","kind":"Payload"}}"#,
            "BadRequest",
            "Expected array",
        ),
        (
            401,
            r#"{"_tag":"UnauthorizedError","message":"Authentication required"}"#,
            "UnauthorizedError",
            "Authentication required",
        ),
        (
            500,
            r#"{"name":"UnknownError","data":{"message":"Unexpected server error. Check server logs for details.","ref":"err_88f5d692"}}"#,
            "UnknownError",
            "Unexpected server error. Check server logs for details.",
        ),
        (401, "", "", "the answer is empty"),
        (500, "<!doctype html><html>", "", "the answer is not one of OpenCode's errors"),
        (500, r#"{"name":"UnknownErr"#, "", "the answer is not one of OpenCode's errors"),
        (500, r#"{"name":"New","data":7}"#, "New", ""),
    ];

    /// Errors about a configuration that holds a secret, as the real server sent them.
    const CONFIGURATION: &[(&str, &str, &str)] = &[
        (
            r#"{"name":"ConfigJsonError","data":{"path":"/run/opencode.json","message":"\n--- JSONC Input ---\n{\"model\": \"stub/m1\", \"apiKey\":\"sk-SECRET\" oops\n--- Errors ---\nInvalidSymbol at line 1, column 43\n   Line 1: {\"model\": \"stub/m1\", \"apiKey\":\"sk-SECRET\" oops\n   ^\n--- End ---"}}"#,
            "ConfigJsonError",
            "/run/opencode.json: InvalidSymbol at line 1, column 43",
        ),
        (
            r#"{"name":"ConfigInvalidError","data":{"path":"OPENCODE_CONFIG_CONTENT","issues":[{"path":["model"],"message":"Expected string | undefined, got 5"},{"path":["provider","x","options","apiKey"],"message":"Expected string | undefined, got [\"sk-SECRET\"]"}]}}"#,
            "ConfigInvalidError",
            "OPENCODE_CONFIG_CONTENT: at model (Expected string | undefined): at provider.x.options.apiKey (Expected string | undefined)",
        ),
        (
            r#"{"name":"ConfigInvalidError","data":{"path":"/run/opencode.json","issues":[{"path":["mcp","a"],"message":"Expected { readonly \"type\": \"local\", ... }, got {\"command\":[\"sk-SECRET\"]}"},{"path":["mcp","a","enabled"],"message":"Missing key"}]}}"#,
            "ConfigInvalidError",
            "/run/opencode.json: at mcp.a (Expected { readonly \"type\": \"local\", ... }): at mcp.a.enabled (Missing key)",
        ),
        (
            r#"{"name":"ConfigInvalidError","data":{"path":"/run/opencode.json","message":"bad file reference: \"{file:/run/keys/x}\" /run/keys/x does not exist"}}"#,
            "ConfigInvalidError",
            "/run/opencode.json: bad file reference: \"{file:/run/keys/x}\" /run/keys/x does not exist",
        ),
        (
            r#"{"name":"ConfigJsonError","data":{"path":"/x","message":"--- JSONC Input ---\nsk-SECRET at line 1, column 2\n"}}"#,
            "ConfigJsonError",
            "/x: it cannot be parsed",
        ),
    ];

    #[test]
    fn every_shape_is_read() {
        for (status, body, name, summary) in SHAPES {
            let read = refusal(*status, body.as_bytes());
            assert_eq!((read.name.as_str(), read.summary.as_str()), (*name, *summary), "{body}");
            assert_eq!(read.status, *status);
        }
        assert_eq!(refusal(500, b"\xff\xfe").summary, "the answer is not one of OpenCode's errors");
    }

    #[test]
    fn errors_about_the_configuration_say_where_and_never_what() {
        for (body, name, summary) in CONFIGURATION {
            let read = refusal(400, body.as_bytes());
            assert!(read.is_about_configuration());
            assert_eq!((read.name.as_str(), read.summary.as_str()), (*name, *summary));
            assert!(!format!("{read:?}").contains("SECRET"));
        }
    }

    #[test]
    fn a_summary_is_one_short_line() {
        let body = format!(r#"{{"name":"X","data":{{"message":"{}\u0007\nat trace"}}}}"#, "é".repeat(400));
        let read = refusal(500, body.as_bytes());
        assert!(read.summary.len() <= MAX_SUMMARY && read.summary.ends_with('é'), "{}", read.summary);
        assert!(!read.summary.contains(['\n', '\u{7}']));
    }
}
