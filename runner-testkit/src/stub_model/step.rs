//! Decides what one request is answered with. Pure: everything comes from the request and its script, except how
//! often a `times=` fault already happened, which the caller knows.

use std::time::Duration;

use super::request::{ChatRequest, RequestKind};
use super::script::{Fault, Item, Script, ScriptError, Step, UsageOverride, parse};

/// Quoted texts are clipped here: an answer that repeats a megabyte proves nothing more.
const QUOTE: usize = 2_000;

/// What to do with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Before the response headers.
    pub(super) delay: Duration,
    pub(super) reply: Reply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Status { code: u16, retry_after: Option<u64>, error_code: Option<String>, message: String },
    Html,
    HangHeaders,
    Answer(Answer),
}

/// A model's answer, not yet cut into chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) pieces: Vec<Piece>,
    pub(super) ending: Ending,
    pub(super) usage: Usage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Think(String),
    Ticks { every: Duration, count: u32 },
    Filler(u64),
    Wait(Duration),
    Call { id: String, name: String, arguments: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Finish(&'static str),
    /// Closed properly, without `finish_reason` and `[DONE]`.
    Truncated,
    BrokenJson,
    ErrorChunk,
    /// The connection breaks.
    Cut,
    /// Nothing more comes and the connection stays.
    Stall,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cached: u64,
    pub(super) reasoning: u64,
}

/// How the server behaves where a prompt leaves it open.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Manner {
    /// A prompt without directives also writes a file.
    pub(super) demo: bool,
}

/// Which fault of which step: what `times=` is counted by, besides the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FaultPlace {
    pub(super) step: usize,
    pub(super) item: usize,
}

/// Decides. `fires` is asked at most once per counted fault, in order, and says whether it happens this time.
pub(super) fn decide(
    request: &ChatRequest,
    manner: Manner,
    mut fires: impl FnMut(FaultPlace, u32) -> bool,
) -> Result<Plan, ScriptError> {
    match request.kind() {
        RequestKind::Turn => {}
        // Never scripted: the prompt that these quote belongs to the turn.
        RequestKind::Title => return Ok(said(request, "Stub conversation")),
        RequestKind::Summary => return Ok(said(request, "A conversation with the stub model.")),
    }
    let prompt = request.prompt().unwrap_or_default();
    let script = parse(&prompt)?;
    let at = request.step();
    if manner.demo && script == Script::default() && request.offers("bash") {
        return Ok(answer(request, demo_pieces(request, &prompt, at), None, UsageOverride::default()));
    }
    let unscripted = Step::default();
    let step = script.steps.get(at).unwrap_or(&unscripted);
    follow(request, &prompt, at, step, |item, times| fires(FaultPlace { step: at, item }, times))
}

fn follow(
    request: &ChatRequest,
    prompt: &str,
    at: usize,
    step: &Step,
    mut fires: impl FnMut(usize, u32) -> bool,
) -> Result<Plan, ScriptError> {
    let mut delay = Duration::ZERO;
    let mut pieces = Vec::new();
    let mut ending = None;
    let mut calls = 0;
    for (index, item) in step.items.iter().enumerate() {
        match item {
            Item::Say(text) => push_text(&mut pieces, Piece::Text(text.clone())),
            Item::Recall => push_text(&mut pieces, Piece::Text(recall(request))),
            Item::Output => push_text(&mut pieces, Piece::Text(outputs(request))),
            Item::Slow { every, count } => {
                push_text(&mut pieces, Piece::Ticks { every: *every, count: *count });
            }
            Item::Big(bytes) => push_text(&mut pieces, Piece::Filler(*bytes)),
            Item::Think(text) => pieces.push(Piece::Think(text.clone())),
            Item::Wait(time) => pieces.push(Piece::Wait(*time)),
            Item::Delay(time) => delay += *time,
            Item::Empty => {}
            Item::Tool { name, arguments, must_exist } => {
                if *must_exist && !request.offers(name) {
                    return Err(ScriptError::new(name, "the request offers no tool of this name"));
                }
                pieces.push(call(request, at, calls, name, arguments.clone()));
                calls += 1;
            }
            Item::Fault { fault, times } => {
                if times.is_some_and(|times| !fires(index, times)) {
                    continue;
                }
                match reply_of(fault) {
                    Ok(end) => ending = Some(end),
                    Err(reply) => return Ok(Plan { delay, reply }),
                }
                break;
            }
        }
    }
    let silent = step.items.contains(&Item::Empty) || step.items.iter().any(Item::is_content);
    if !silent && ending.is_none() {
        pieces.push(Piece::Text(if at == 0 { plain(prompt) } else { outputs(request) }));
    }
    let mut plan = answer(request, pieces, step.finish, step.usage);
    if let (Reply::Answer(answer), Some(end)) = (&mut plan.reply, ending) {
        answer.ending = end;
    }
    plan.delay = delay;
    Ok(plan)
}

/// The ending that a fault inside the stream is, or the reply that a fault before it is.
fn reply_of(fault: &Fault) -> Result<Ending, Reply> {
    Ok(match fault {
        Fault::HangStream => Ending::Stall,
        Fault::Truncated => Ending::Truncated,
        Fault::BrokenJson => Ending::BrokenJson,
        Fault::ErrorChunk => Ending::ErrorChunk,
        Fault::Cut => Ending::Cut,
        Fault::Html => return Err(Reply::Html),
        Fault::HangHeaders => return Err(Reply::HangHeaders),
        Fault::Status { code, retry_after, error_code, message } => {
            return Err(Reply::Status {
                code: *code,
                retry_after: *retry_after,
                error_code: error_code.clone(),
                message: message.clone().unwrap_or_else(|| format!("scripted status {code}")),
            });
        }
    })
}

fn push_text(pieces: &mut Vec<Piece>, piece: Piece) {
    let after_text =
        pieces.iter().any(|p| matches!(p, Piece::Text(_) | Piece::Ticks { .. } | Piece::Filler(_)));
    if after_text {
        pieces.push(Piece::Text("\n".to_owned()));
    }
    pieces.push(piece);
}

fn said(request: &ChatRequest, text: &str) -> Plan {
    answer(request, vec![Piece::Text(text.to_owned())], None, UsageOverride::default())
}

fn answer(
    request: &ChatRequest,
    pieces: Vec<Piece>,
    finish: Option<&'static str>,
    usage: UsageOverride,
) -> Plan {
    let calls = pieces.iter().any(|piece| matches!(piece, Piece::Call { .. }));
    let finish = finish.unwrap_or(if calls { "tool_calls" } else { "stop" });
    let usage = usage.over(estimate(request, &pieces));
    Plan {
        delay: Duration::ZERO,
        reply: Reply::Answer(Answer { pieces, ending: Ending::Finish(finish), usage }),
    }
}

/// The id tells the calls of a conversation apart and is the same when a request is repeated.
fn call(request: &ChatRequest, step: usize, index: usize, name: &str, arguments: String) -> Piece {
    let id = format!("call_{}_{step}_{index}", request.user_messages());
    Piece::Call { id, name: name.to_owned(), arguments }
}

fn plain(prompt: &str) -> String {
    format!("Hello from the stub model. You said: {}", clip(prompt))
}

fn outputs(request: &ChatRequest) -> String {
    let outputs = request.tool_outputs();
    if outputs.is_empty() {
        return "Done.".to_owned();
    }
    let quoted: Vec<_> = outputs.iter().map(|output| clip(output.trim_end())).collect();
    format!("Done. The tool answered:\n{}", quoted.join("\n"))
}

fn recall(request: &ChatRequest) -> String {
    let mut lines = Vec::new();
    for message in request.earlier() {
        if message.role != "user" && message.role != "assistant" {
            continue;
        }
        let text = message.text();
        if !text.is_empty() {
            lines.push(format!("- {}: {}", message.role, clip(&text)));
        }
        lines.extend(message.calls().iter().map(|call| format!("- called {}", call.function.name)));
    }
    if lines.is_empty() {
        return "I remember nothing before this.".to_owned();
    }
    format!("I remember:\n{}", lines.join("\n"))
}

fn demo_pieces(request: &ChatRequest, prompt: &str, at: usize) -> Vec<Piece> {
    if at > 0 {
        let text =
            format!("{}\nThat is the whole trick of the stub model; hello.txt stays in the workspace.", {
                outputs(request)
            });
        return vec![Piece::Text(text)];
    }
    let quoted = clip(prompt).replace('\'', r"'\''");
    let command = format!("printf '%s\\n' '{quoted}' > hello.txt && cat hello.txt");
    let arguments = serde_json::json!({ "command": command }).to_string();
    vec![
        Piece::Text(
            "I will write your words into hello.txt with a shell command and read them back.".to_owned(),
        ),
        call(request, at, 0, "bash", arguments),
    ]
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(QUOTE) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Four bytes a token, as everybody estimates.
fn estimate(request: &ChatRequest, pieces: &[Piece]) -> Usage {
    let read: usize = request.messages.iter().map(|message| message.text().len()).sum();
    let (mut written, mut thought) = (0, 0);
    for piece in pieces {
        match piece {
            Piece::Text(text) => written += text.len() as u64,
            Piece::Think(text) => thought += text.len() as u64,
            Piece::Call { arguments, .. } => written += arguments.len() as u64,
            Piece::Filler(bytes) => written += bytes,
            Piece::Ticks { count, .. } => written += 4 * u64::from(*count),
            Piece::Wait(_) => {}
        }
    }
    let reasoning = thought.div_ceil(4);
    Usage { input: read.div_ceil(4) as u64, output: written.div_ceil(4) + reasoning, cached: 0, reasoning }
}

impl UsageOverride {
    fn over(self, estimated: Usage) -> Usage {
        Usage {
            input: self.input.unwrap_or(estimated.input),
            output: self.output.unwrap_or(estimated.output),
            cached: self.cached.unwrap_or(estimated.cached),
            reasoning: self.reasoning.unwrap_or(estimated.reasoning),
        }
    }
}

#[cfg(test)]
#[path = "step_tests.rs"]
mod tests;
