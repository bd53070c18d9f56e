//! What a prompt asks the stub to do: directives become steps, one step per call of the model.

use std::time::Duration;

use super::options::{Word, duration, number, pace, size, text, words};
use super::scan::{Directive, scan};

/// A directive that cannot be followed. The server answers it with HTTP 400, so a slip in a prompt fails the turn
/// and says why, and never passes as an ordinary answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stub model: cannot follow `{directive}`: {problem}")]
pub(super) struct ScriptError {
    directive: String,
    problem: String,
}

impl ScriptError {
    pub(super) fn new(directive: &str, problem: impl Into<String>) -> Self {
        // Enough to recognise it; a prompt may be megabytes long.
        Self { directive: directive.chars().take(120).collect(), problem: problem.into() }
    }

    #[cfg(test)]
    pub(super) fn directive(&self) -> &str {
        &self.directive
    }
}

/// The steps of one prompt. Empty for a prompt without directives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
}

/// One answer of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) items: Vec<Item>,
    pub(super) finish: Option<&'static str>,
    pub(super) usage: UsageOverride,
}

/// Token counts that a prompt sets; what it leaves out is estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UsageOverride {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) reasoning: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Say(String),
    Think(String),
    Slow {
        every: Duration,
        count: u32,
    },
    /// A pause inside the stream.
    Wait(Duration),
    /// A pause before the response headers.
    Delay(Duration),
    Big(u64),
    Recall,
    Output,
    Empty,
    Tool {
        name: String,
        /// JSON as it goes on the wire; `malformed: arguments` puts broken JSON here.
        arguments: String,
        /// Fail the request when it does not offer this tool.
        must_exist: bool,
    },
    Fault {
        fault: Fault,
        /// How often it happens before the step goes on; `None`: always.
        times: Option<u32>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Status { code: u16, retry_after: Option<u64>, error_code: Option<String>, message: Option<String> },
    Html,
    HangHeaders,
    HangStream,
    Truncated,
    BrokenJson,
    ErrorChunk,
    Cut,
}

impl Fault {
    /// Decided before the response headers, so nothing can be said first.
    fn comes_first(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Html | Self::HangHeaders)
    }
}

/// Reads the directives of a prompt.
pub(super) fn parse(prompt: &str) -> Result<Script, ScriptError> {
    let mut builder = Builder::default();
    for directive in scan(prompt)? {
        builder.add(directive).map_err(|problem| ScriptError::new(directive.source, problem))?;
    }
    builder.finish()
}

#[derive(Default)]
struct Builder<'a> {
    done: Vec<Step>,
    current: Step,
    /// `[[and]]` was the last directive.
    joining: Option<Directive<'a>>,
}

impl<'a> Builder<'a> {
    fn add(&mut self, directive: Directive<'a>) -> Result<(), String> {
        if directive.name == "and" {
            return self.join(directive);
        }
        let joined = self.joining.take().is_some();
        if !joined && self.current.items.iter().any(Item::is_tool) {
            self.done.push(std::mem::take(&mut self.current));
        }
        match directive.name {
            "finish" => {
                self.check_reachable()?;
                set(&mut self.current.finish, finish_reason(directive.argument)?)?;
            }
            "tokens" => {
                self.check_reachable()?;
                self.current.usage = usage(directive.argument)?;
            }
            name => {
                let item = item(name, directive.argument)?;
                if joined && !item.is_tool() {
                    return Err("`and` joins tool calls only".to_owned());
                }
                self.check_reachable()?;
                self.check_place(&item)?;
                self.current.items.push(item);
            }
        }
        Ok(())
    }

    fn join(&mut self, directive: Directive<'a>) -> Result<(), String> {
        if !directive.argument.is_empty() {
            return Err("it takes no argument".to_owned());
        }
        if self.joining.is_some() || !self.current.items.last().is_some_and(Item::is_tool) {
            return Err("it must stand between two tool calls".to_owned());
        }
        self.joining = Some(directive);
        Ok(())
    }

    fn check_reachable(&self) -> Result<(), String> {
        match self.current.items.last() {
            Some(Item::Fault { times: None, .. }) => {
                Err("it is never reached: the fault before it has no `times=`".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check_place(&self, item: &Item) -> Result<(), String> {
        let said = self.current.items.iter().any(Item::is_content);
        let empty = self.current.items.contains(&Item::Empty);
        match item {
            Item::Fault { fault, .. } if fault.comes_first() && said => {
                Err("it replaces the response, so it must come before what the same answer says".to_owned())
            }
            Item::Delay(_) if said => {
                Err("it delays the response headers, so it must come before what the answer says; inside \
                     an answer use `wait`"
                    .to_owned())
            }
            Item::Empty if said || empty => Err("this answer is not empty".to_owned()),
            _ if item.is_content() && empty => Err("the answer was declared `empty`".to_owned()),
            _ => Ok(()),
        }
    }

    fn finish(mut self) -> Result<Script, ScriptError> {
        if let Some(dangling) = self.joining {
            return Err(ScriptError::new(dangling.source, "it must stand between two tool calls"));
        }
        if self.current != Step::default() {
            self.done.push(self.current);
        }
        Ok(Script { steps: std::mem::take(&mut self.done) })
    }
}

impl Item {
    pub(super) fn is_tool(&self) -> bool {
        matches!(self, Self::Tool { .. })
    }

    /// Something that the answer carries, as opposed to how it is delivered.
    pub(super) fn is_content(&self) -> bool {
        matches!(
            self,
            Self::Say(_) | Self::Slow { .. } | Self::Big(_) | Self::Recall | Self::Output | Self::Tool { .. }
        )
    }
}

fn item(name: &str, argument: &str) -> Result<Item, String> {
    Ok(match name {
        "say" => Item::Say(text(argument)?),
        "think" => Item::Think(text(argument)?),
        "slow" => {
            let (every, count) = pace(argument)?;
            Item::Slow { every, count }
        }
        "wait" => Item::Wait(duration(argument)?),
        "delay" => Item::Delay(duration(argument)?),
        "big" => Item::Big(size(argument)?),
        "recall" => bare(argument, Item::Recall)?,
        "output" => bare(argument, Item::Output)?,
        "empty" => bare(argument, Item::Empty)?,
        "run" => builtin_tool("bash", "command", text(argument)?),
        "read" => builtin_tool("read", "filePath", text(argument)?),
        "tool" => tool(argument)?,
        "status" => status(argument)?,
        "malformed" => malformed(argument)?,
        "hang" => hang(argument)?,
        _ => return Err(format!("there is no directive `{name}` (write `\\[[` for ordinary text)")),
    })
}

fn bare(argument: &str, item: Item) -> Result<Item, String> {
    if argument.is_empty() { Ok(item) } else { Err("it takes no argument".to_owned()) }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), String> {
    if slot.replace(value).is_some() { Err("it is given twice for one answer".to_owned()) } else { Ok(()) }
}

fn builtin_tool(name: &str, field: &str, value: String) -> Item {
    let arguments = serde_json::Value::Object([(field.to_owned(), value.into())].into_iter().collect());
    Item::Tool { name: name.to_owned(), arguments: arguments.to_string(), must_exist: true }
}

fn tool(argument: &str) -> Result<Item, String> {
    let stop = argument.find(|c: char| c.is_whitespace() || c == '{').unwrap_or(argument.len());
    let (name, arguments) = argument.split_at(stop);
    if name.is_empty() {
        return Err("it needs the name of a tool".to_owned());
    }
    let arguments = match arguments.trim() {
        "" => "{}",
        given => given,
    };
    // Kept as written: the scripted text is what reaches the client.
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments)
        .map_err(|error| format!("its arguments are not a JSON object: {error}"))?;
    Ok(Item::Tool { name: name.to_owned(), arguments: arguments.to_owned(), must_exist: false })
}

fn status(argument: &str) -> Result<Item, String> {
    let (mut code, mut retry_after, mut times, mut error_code, mut message) = (None, None, None, None, None);
    for word in words(argument)? {
        match word {
            Word::Bare(text) => set(&mut code, number::<u16>("status", text)?)?,
            Word::Pair("retry-after", value) => set(&mut retry_after, number("retry-after", &value)?)?,
            Word::Pair("times", value) => set(&mut times, times_value(&value)?)?,
            Word::Pair("code", value) => set(&mut error_code, value)?,
            Word::Pair("message", value) => set(&mut message, value)?,
            Word::Pair(name, _) => return Err(format!("it has no option `{name}`")),
        }
    }
    match code {
        Some(code @ 400..=599) => {
            Ok(Item::Fault { fault: Fault::Status { code, retry_after, error_code, message }, times })
        }
        _ => Err("it needs an error code from 400 to 599".to_owned()),
    }
}

fn malformed(argument: &str) -> Result<Item, String> {
    let (kind, times) = kind_and_times(argument)?;
    let fault = match kind {
        "html" => Fault::Html,
        "truncated" => Fault::Truncated,
        "json" => Fault::BrokenJson,
        "error" => Fault::ErrorChunk,
        "cut" => Fault::Cut,
        "arguments" if times.is_none() => {
            return Ok(Item::Tool {
                name: "bash".to_owned(),
                arguments: "{\"command\": \"echo".to_owned(),
                must_exist: false,
            });
        }
        "arguments" => return Err("`malformed: arguments` happens once and takes no `times=`".to_owned()),
        _ => return Err("it is one of html, truncated, json, error, cut, arguments".to_owned()),
    };
    Ok(Item::Fault { fault, times })
}

fn hang(argument: &str) -> Result<Item, String> {
    let (kind, times) = kind_and_times(argument)?;
    let fault = match kind {
        "" | "headers" => Fault::HangHeaders,
        "stream" => Fault::HangStream,
        _ => return Err("it is one of headers, stream".to_owned()),
    };
    Ok(Item::Fault { fault, times })
}

fn kind_and_times(argument: &str) -> Result<(&str, Option<u32>), String> {
    let (mut kind, mut times) = (None, None);
    for word in words(argument)? {
        match word {
            Word::Bare(text) => set(&mut kind, text)?,
            Word::Pair("times", value) => set(&mut times, times_value(&value)?)?,
            Word::Pair(name, _) => return Err(format!("it has no option `{name}`")),
        }
    }
    Ok((kind.unwrap_or_default(), times))
}

fn times_value(value: &str) -> Result<u32, String> {
    match number("times", value)? {
        0 => Err("`times=0` would do nothing".to_owned()),
        times => Ok(times),
    }
}

fn finish_reason(argument: &str) -> Result<&'static str, String> {
    ["stop", "length", "content_filter", "tool_calls", "other"]
        .into_iter()
        .find(|reason| *reason == argument)
        .ok_or_else(|| "it is one of stop, length, content_filter, tool_calls, other".to_owned())
}

fn usage(argument: &str) -> Result<UsageOverride, String> {
    let mut usage = UsageOverride::default();
    for word in words(argument)? {
        let Word::Pair(name, value) = word else {
            return Err("it takes in=, out=, cached= and reasoning=".to_owned());
        };
        let slot = match name {
            "in" => &mut usage.input,
            "out" => &mut usage.output,
            "cached" => &mut usage.cached,
            "reasoning" => &mut usage.reasoning,
            _ => return Err(format!("it has no option `{name}`")),
        };
        set(slot, number(name, &value)?)?;
    }
    if usage == UsageOverride::default() { Err("it needs at least one count".to_owned()) } else { Ok(usage) }
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
