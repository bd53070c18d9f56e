//! Answers on the wire: as server-sent chunks, one at a time and never all in memory, or as one JSON object.

use std::iter::{empty, once};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::step::{Answer, Ending, Piece, Usage};

/// Bytes of filler per chunk.
const FILLER_CHUNK: u64 = 16_384;
/// Characters of a tool call's arguments per chunk: small, so that clients have to put them together.
const ARGUMENTS_CHUNK: usize = 16;

/// What the server does next with a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Send(Bytes),
    Pause(Duration),
    Stall,
    Cut,
}

/// What every chunk of one answer repeats.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) model: String,
}

type Frames = Box<dyn Iterator<Item = Frame> + Send>;

/// The frames of an answer, made as they are asked for. `pace` is waited before each piece of text.
pub(super) fn frames(answer: Answer, head: Head, pace: Duration) -> impl Iterator<Item = Frame> + Send {
    let Answer { pieces, ending, usage } = answer;
    let first = head.delta(&json!({"role": "assistant", "content": ""}));
    let last = ending_frames(ending, &head, usage);
    let mut calls = 0_usize;
    let middle = pieces.into_iter().flat_map(move |piece| {
        let index = calls;
        calls += usize::from(matches!(piece, Piece::Call { .. }));
        piece_frames(piece, index, head.clone(), pace)
    });
    once(first).chain(middle).chain(last)
}

fn piece_frames(piece: Piece, index: usize, head: Head, pace: Duration) -> Frames {
    match piece {
        Piece::Text(text) => words(&text, "content", &head, pace),
        Piece::Think(text) => words(&text, "reasoning_content", &head, pace),
        Piece::Wait(time) => Box::new(once(Frame::Pause(time))),
        Piece::Ticks { every, count } => Box::new((1..=count).flat_map(move |tick| {
            [Frame::Pause(every), head.delta(&json!({"content": tick_text(tick, count)}))]
        })),
        Piece::Filler(bytes) => {
            Box::new(filler(bytes).map(move |text| head.delta(&json!({ "content": text }))))
        }
        Piece::Call { id, name, arguments } => {
            let opening = head.delta(&json!({"tool_calls": [
                {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}));
            let rest: Vec<_> = split_chars(&arguments, ARGUMENTS_CHUNK)
                .map(|part| {
                    head.delta(&json!({"tool_calls": [{"index": index, "function": {"arguments": part}}]}))
                })
                .collect();
            Box::new(once(opening).chain(rest))
        }
    }
}

fn words(text: &str, field: &'static str, head: &Head, pace: Duration) -> Frames {
    let text = text.to_owned();
    let head = head.clone();
    let mut at = 0;
    let pieces = std::iter::from_fn(move || {
        let word = text.get(at..)?.split_inclusive(char::is_whitespace).next()?;
        at += word.len();
        Some(head.delta(&json!({ field: word })))
    });
    if pace.is_zero() {
        Box::new(pieces)
    } else {
        Box::new(pieces.flat_map(move |frame| [Frame::Pause(pace), frame]))
    }
}

fn ending_frames(ending: Ending, head: &Head, usage: Usage) -> Frames {
    match ending {
        Ending::Finish(reason) => {
            let mut chunk = head.chunk(&json!({}), Some(reason));
            if let Some(fields) = chunk.as_object_mut() {
                fields.insert("usage".to_owned(), usage_json(usage));
            }
            Box::new([event(&chunk), Frame::Send(Bytes::from_static(b"data: [DONE]\n\n"))].into_iter())
        }
        Ending::Truncated => Box::new(empty()),
        Ending::BrokenJson => {
            Box::new(once(Frame::Send(Bytes::from_static(b"data: {\"choices\": [{\"delta\": {\"con\n\n"))))
        }
        Ending::ErrorChunk => Box::new(once(event(&error_chunk()))),
        Ending::Cut => Box::new(once(Frame::Cut)),
        Ending::Stall => Box::new(once(Frame::Stall)),
    }
}

impl Head {
    fn chunk(&self, delta: &Value, finish: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            // No clock: nothing reads it, and recordings stay comparable.
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        })
    }

    fn delta(&self, delta: &Value) -> Frame {
        event(&self.chunk(delta, None))
    }
}

fn event(data: &Value) -> Frame {
    Frame::Send(Bytes::from(format!("data: {data}\n\n")))
}

/// What an answer is without streaming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    /// The pauses of the stream, together.
    pub(super) delay: Duration,
    pub(super) body: WholeBody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WholeBody {
    Json(Bytes),
    Stall,
    Cut,
}

/// The answer as one JSON object.
pub(super) fn whole(answer: Answer, head: &Head) -> Whole {
    let (mut text, mut thought, mut calls) = (String::new(), String::new(), Vec::new());
    let mut delay = Duration::ZERO;
    for piece in answer.pieces {
        match piece {
            Piece::Text(part) => text.push_str(&part),
            Piece::Think(part) => thought.push_str(&part),
            Piece::Wait(time) => delay += time,
            Piece::Ticks { every, count } => {
                delay += every.saturating_mul(count);
                text.extend((1..=count).map(|tick| tick_text(tick, count)));
            }
            Piece::Filler(bytes) => text.extend(filler(bytes)),
            Piece::Call { id, name, arguments } => calls.push(json!(
                {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            )),
        }
    }
    let finish = match answer.ending {
        Ending::Finish(reason) => Some(reason),
        _ => None,
    };
    let mut message = json!({"role": "assistant", "content": text});
    if let Some(fields) = message.as_object_mut() {
        if !thought.is_empty() {
            fields.insert("reasoning_content".to_owned(), thought.into());
        }
        if !calls.is_empty() {
            fields.insert("tool_calls".to_owned(), calls.into());
        }
    }
    let completion = json!({
        "id": head.id,
        "object": "chat.completion",
        "created": 0,
        "model": head.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": usage_json(answer.usage),
    })
    .to_string();
    let body = match answer.ending {
        Ending::Finish(_) | Ending::Truncated => WholeBody::Json(completion.into()),
        Ending::BrokenJson => WholeBody::Json(Bytes::from_static(b"{\"choices\": [{\"message\": {\"con")),
        Ending::ErrorChunk => WholeBody::Json(error_chunk().to_string().into()),
        Ending::Cut => WholeBody::Cut,
        Ending::Stall => WholeBody::Stall,
    };
    Whole { delay, body }
}

fn error_chunk() -> Value {
    json!({"error": {
        "message": "scripted error inside the stream", "type": "server_error", "param": null, "code": null}})
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn tick_text(tick: u32, count: u32) -> String {
    format!("{tick}/{count} ")
}

fn filler(bytes: u64) -> impl Iterator<Item = String> + Send {
    let mut left = bytes;
    std::iter::from_fn(move || {
        let now = left.min(FILLER_CHUNK);
        left -= now;
        (now > 0).then(|| "stub model ".chars().cycle().take(usize::try_from(now).unwrap_or(0)).collect())
    })
}

/// Pieces of at most `most` characters.
fn split_chars(text: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(most).map_or(rest.len(), |(at, _)| at);
        let (part, after) = rest.split_at(end);
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
#[path = "chunks_tests.rs"]
mod tests;
