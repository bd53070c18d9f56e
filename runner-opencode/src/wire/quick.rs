//! The types of events that come by the thousand, read by walking over them. It takes a sixth off all that an event
//! costs, from the socket to the reader (430 ns of CPU time and not 510, with 200,000 recorded events).
//!
//! Only a shortcut: where a walk gives up, `serde_json` decides, and where both read something, they read the same. A
//! walk may read what is broken in a place that nobody uses.

use serde::Deserialize;

use super::event::{Delta, InfoOf, PartOf, SessionStatus};
use super::message::{Cache, Info, Part, State, Time, Tokens};
use super::session::Status;
use super::walk::Walk;
use super::{Number, Text};

/// What the properties say: read by one of the functions below, or else as any JSON.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    quick: impl FnOnce(&'a str) -> Option<T>,
    properties: &'a str,
) -> Result<T, serde_json::Error> {
    quick(properties).map_or_else(|| serde_json::from_str(properties), Ok)
}

pub(crate) fn delta(properties: &str) -> Option<Delta<'_>> {
    let [mut session, mut message, mut part, mut field, mut text] = [const { None }; 5];
    Walk::all(properties, |key, walk| {
        let place = match key {
            "sessionID" => &mut session,
            "messageID" => &mut message,
            "partID" => &mut part,
            "field" => &mut field,
            "delta" => &mut text,
            _ => return walk.skip(),
        };
        once(place, walk.text()?)
    })?;
    Some(Delta { session: session?, message: message?, part: part?, field: field?, text: text? })
}

pub(crate) fn status(properties: &str) -> Option<SessionStatus<'_>> {
    let (mut session, mut status) = (None, None);
    Walk::all(properties, |key, walk| match key {
        "sessionID" => once(&mut session, walk.text()?),
        "status" => once(&mut status, status_itself(walk)?),
        _ => walk.skip(),
    })?;
    Some(SessionStatus { session: session?, status: status? })
}

/// All but a retry, which has more to it and is rare.
fn status_itself<'a>(walk: &mut Walk<'a>) -> Option<Status<'a>> {
    let mut kind = None;
    walk.object(|key, walk| match key {
        "type" => once(&mut kind, walk.text()?),
        _ => None,
    })?;
    Some(Status { kind: kind?, attempt: Number::default(), message: None, next: None })
}

pub(crate) fn message(properties: &str) -> Option<InfoOf<Info<'_>>> {
    let mut info = None;
    Walk::all(properties, |key, walk| match key {
        "info" => once(&mut info, self::info(walk)?),
        _ => walk.skip(),
    })?;
    Some(InfoOf { info: info? })
}

fn info<'a>(walk: &mut Walk<'a>) -> Option<Info<'a>> {
    let [mut id, mut session, mut role] = [const { None }; 3];
    let [mut parent, mut finish] = [const { None }; 2];
    let (mut time, mut error, mut summary, mut cost, mut tokens) = (None, None, None, None, None);
    walk.object(|key, walk| match key {
        "id" => once(&mut id, walk.text()?),
        "sessionID" => once(&mut session, walk.text()?),
        "role" => once(&mut role, walk.text()?),
        "parentID" => once(&mut parent, Text(walk.text()?)),
        "finish" => once(&mut finish, Text(walk.text()?)),
        "time" => once(&mut time, self::time(walk)?),
        "error" => once(&mut error, walk.read()?),
        "summary" => once(&mut summary, walk.read()?),
        "cost" => once(&mut cost, walk.number()?),
        "tokens" => once(&mut tokens, self::tokens(walk)?),
        _ => walk.skip(),
    })?;
    Some(Info {
        id: id?,
        session: session?,
        role: role?,
        parent,
        time: time.unwrap_or_default(),
        finish,
        error: error.flatten(),
        summary: summary.unwrap_or_default(),
        cost: cost.unwrap_or_default(),
        tokens: tokens.unwrap_or_default(),
    })
}

fn time(walk: &mut Walk<'_>) -> Option<Time> {
    let mut completed = None;
    walk.object(|key, walk| match key {
        "completed" => once(&mut completed, walk.read()?),
        _ => walk.skip(),
    })?;
    Some(Time { completed: completed.flatten() })
}

fn tokens(walk: &mut Walk<'_>) -> Option<Tokens> {
    let [mut input, mut output, mut reasoning] = [const { None }; 3];
    let mut cache = None;
    walk.object(|key, walk| match key {
        "input" => once(&mut input, walk.number()?),
        "output" => once(&mut output, walk.number()?),
        "reasoning" => once(&mut reasoning, walk.number()?),
        "cache" => once(&mut cache, self::cache(walk)?),
        _ => walk.skip(),
    })?;
    Some(Tokens {
        input: input.unwrap_or_default(),
        output: output.unwrap_or_default(),
        reasoning: reasoning.unwrap_or_default(),
        cache: cache.unwrap_or_default(),
    })
}

fn cache(walk: &mut Walk<'_>) -> Option<Cache> {
    let (mut read, mut write) = (None, None);
    walk.object(|key, walk| match key {
        "read" => once(&mut read, walk.number()?),
        "write" => once(&mut write, walk.number()?),
        _ => walk.skip(),
    })?;
    Some(Cache { read: read.unwrap_or_default(), write: write.unwrap_or_default() })
}

pub(crate) fn part(properties: &str) -> Option<PartOf<Part<'_>>> {
    let mut part = None;
    Walk::all(properties, |key, walk| match key {
        "part" => once(&mut part, part_itself(walk)?),
        _ => walk.skip(),
    })?;
    Some(PartOf { part: part? })
}

fn part_itself<'a>(walk: &mut Walk<'a>) -> Option<Part<'a>> {
    let [mut id, mut message, mut kind] = [const { None }; 3];
    let [mut session, mut text, mut tool, mut call] = [const { None }; 4];
    let (mut state, mut cost, mut tokens) = (None, None, None);
    walk.object(|key, walk| match key {
        "id" => once(&mut id, walk.text()?),
        "messageID" => once(&mut message, walk.text()?),
        "type" => once(&mut kind, walk.text()?),
        "sessionID" => once(&mut session, Text(walk.text()?)),
        "text" => once(&mut text, Text(walk.text()?)),
        "tool" => once(&mut tool, Text(walk.text()?)),
        "callID" => once(&mut call, Text(walk.text()?)),
        "state" => once(&mut state, Box::new(self::state(walk)?)),
        "cost" => once(&mut cost, walk.number()?),
        "tokens" => once(&mut tokens, self::tokens(walk)?),
        _ => walk.skip(),
    })?;
    Some(Part {
        id: id?,
        message: message?,
        session,
        kind: kind?,
        text,
        tool,
        call,
        state,
        cost: cost.unwrap_or_default(),
        tokens: tokens.unwrap_or_default(),
    })
}

fn state<'a>(walk: &mut Walk<'a>) -> Option<State<'a>> {
    let (mut status, mut input, mut output, mut error, mut metadata) = (None, None, None, None, None);
    walk.object(|key, walk| match key {
        "status" => once(&mut status, walk.text()?),
        "input" => once(&mut input, walk.read()?),
        "output" => once(&mut output, Text(walk.text()?)),
        "error" => once(&mut error, Text(walk.text()?)),
        "metadata" => once(&mut metadata, Some(walk.json()?).filter(|json| *json != "null")),
        _ => walk.skip(),
    })?;
    Some(State {
        status: status?,
        input: input.unwrap_or_default(),
        output,
        error,
        metadata: metadata.flatten(),
    })
}

/// A key that comes twice is nothing that a walk decides about.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

#[cfg(test)]
#[path = "quick_tests.rs"]
mod tests;
