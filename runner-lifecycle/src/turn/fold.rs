//! What the events and read-backs of one turn add up to. Pure: no I/O, no clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use runner_core::event::RunEventKind;
use runner_core::input::InputRequest;
use runner_core::session::{
    AgentEvent, AgentFailure, Finish, Message, MessageInfo, Part, PartBody, Role, SessionStatus, ToolState,
    Usage,
};
use runner_core::{MessageId, SessionId};

/// A part of the answer, and how much of it was passed on.
#[derive(Debug)]
struct PartTrack {
    name: Arc<str>,
    reasoning: bool,
    /// What was passed on.
    passed: String,
    /// Its text, where that is not what was passed on: the server trimmed it, or gave it up.
    text: Option<String>,
    /// Whether the next delta continues what was passed on. After a gap it may not.
    continuous: bool,
}

impl PartTrack {
    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or(&self.passed)
    }
}

/// Where a part was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// On the stream.
    Streamed,
    /// By reading a session that works: its text may lag behind the stream.
    Read,
    /// By reading a session that is idle: the last word.
    ReadAtEnd,
}

/// One of the agent's messages.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) info: MessageInfo,
    /// Its text parts, in the order they appeared.
    texts: Vec<Arc<str>>,
    has_tools: bool,
}

/// Everything known about the turn so far.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own; all combinations occur")]
pub(crate) struct TurnFold {
    session: SessionId,
    /// Ours, and what the server itself adds as the user's after it (a compaction's "continue").
    prompts: Vec<MessageId>,
    /// Those of the turn before, of which late news may still come.
    earlier: Vec<MessageId>,
    pub(super) answers: Vec<Answer>,
    parts: HashMap<Arc<str>, PartTrack>,
    /// Tool calls by part, each with the last state that was passed on. Not by the model's own id for the call: some
    /// models use the same ones in every message.
    tools: HashMap<Arc<str>, ToolState>,
    /// Requests and ends of steps that were passed on, by id.
    passed_on: HashSet<Arc<str>>,
    /// The session and its sub-agents'.
    tree: HashSet<SessionId>,
    pub(super) failure: Option<AgentFailure>,
    /// Whether the prompt itself was seen, on the stream or by reading back.
    prompt_seen: bool,
    /// Whether the stream itself showed the prompt: the first event of the turn.
    prompt_streamed: bool,
    /// Whether nothing is known to be missing on the stream since.
    gapless: bool,
    /// Whether the session was read while it was idle, and nothing was seen since.
    read: bool,
    idle: bool,
    pub(super) endless: u32,
    asked: Vec<InputRequest>,
    settled: Vec<Arc<str>>,
}

impl TurnFold {
    /// `stale` are requests of earlier turns, which are nobody's any more.
    pub(crate) fn new(
        session: SessionId,
        prompt: MessageId,
        earlier: Vec<MessageId>,
        stale: &[Arc<str>],
    ) -> Self {
        Self {
            tree: HashSet::from([session.clone()]),
            session,
            prompts: vec![prompt],
            earlier,
            answers: Vec::new(),
            parts: HashMap::new(),
            tools: HashMap::new(),
            passed_on: stale.iter().cloned().collect(),
            failure: None,
            prompt_seen: false,
            prompt_streamed: false,
            gapless: true,
            read: false,
            idle: false,
            endless: 0,
            asked: Vec::new(),
            settled: Vec::new(),
        }
    }

    /// Whether the stream has shown the whole turn so far, so that reading it back would tell nothing new.
    pub(crate) fn is_gapless(&self) -> bool {
        self.gapless && self.prompt_streamed
    }

    /// Whether all there is to know about the turn is known: it was streamed whole, or read at its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_gapless() || self.read
    }

    /// The session was idle and its messages were read.
    pub(crate) fn note_read(&mut self) {
        self.read = true;
    }

    /// What was read is no longer the last word.
    pub(crate) fn forget_read(&mut self) {
        self.read = false;
    }

    /// Whether the session was found idle by asking, and nothing was seen since.
    pub(crate) fn was_read(&self) -> bool {
        self.read
    }

    /// Something may have been missed: the connection was made anew.
    pub(crate) fn note_gap(&mut self) {
        self.gapless = false;
        for part in self.parts.values_mut() {
            part.continuous = false;
        }
    }

    /// Whether the session said, after our prompt was seen, that it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle
    }

    /// The user's messages of this turn.
    pub(crate) fn prompts(&self) -> &[MessageId] {
        &self.prompts
    }

    /// Whether the server has stored our prompt.
    pub(crate) fn prompt_seen(&self) -> bool {
        self.prompt_seen
    }

    /// Takes in what the server says the session does.
    pub(crate) fn on_status(&mut self, status: &SessionStatus, out: &mut Vec<RunEventKind>) {
        match status {
            // An idle from before the prompt was seen belongs to the turn before.
            SessionStatus::Idle => self.idle = self.prompt_seen,
            SessionStatus::Busy => self.idle = false,
            SessionStatus::Retry { attempt, message, next_at_ms } => {
                self.idle = false;
                // A stream of the provider that broke half-way leaves a part that is never finished beside the
                // one that replaces it; only reading the session tells which counts.
                self.gapless = false;
                out.push(RunEventKind::Retry {
                    attempt: *attempt,
                    message: message.clone(),
                    next_at_ms: *next_at_ms,
                });
            }
        }
    }

    /// Takes in one event. Returns whether it belongs to this turn, that is, shows that something goes on.
    pub(crate) fn on_event(&mut self, event: &AgentEvent, out: &mut Vec<RunEventKind>) -> bool {
        let ours = self.take_in(event, out);
        if ours {
            self.read = false;
        }
        ours
    }

    fn take_in(&mut self, event: &AgentEvent, out: &mut Vec<RunEventKind>) -> bool {
        match event {
            AgentEvent::SessionCreated { session, parent } => {
                let ours = parent.as_ref().is_some_and(|p| self.tree.contains(p));
                if ours {
                    self.tree.insert(session.clone());
                }
                ours
            }
            AgentEvent::Status { session, status } => {
                if *session == self.session {
                    self.on_status(status, out);
                }
                self.tree.contains(session)
            }
            AgentEvent::Message(info) => {
                if info.session == self.session {
                    self.prompt_streamed |= self.prompts.contains(&info.id);
                    self.on_message(info);
                }
                self.tree.contains(&info.session)
            }
            AgentEvent::Part { session, part } => {
                if *session == self.session {
                    self.on_part(part, Seen::Streamed, out);
                }
                self.tree.contains(session)
            }
            AgentEvent::Delta { session, part, text, .. } => {
                if *session == self.session {
                    self.on_delta(part, text, out);
                }
                self.tree.contains(session)
            }
            AgentEvent::Failure { session, failure } => {
                let ours = session.as_ref().is_none_or(|s| *s == self.session)
                    // The turn before may have been aborted, and its report comes late.
                    && (self.prompt_seen || !failure.aborted);
                // The first report names the cause; later ones repeat it with a stack trace.
                if ours && !failure.recoverable && self.failure.is_none() {
                    self.failure = Some(failure.clone());
                }
                ours
            }
            AgentEvent::InputNeeded(request) => {
                self.on_request(request);
                true
            }
            AgentEvent::InputSettled { request, .. } => {
                self.settled.push(Arc::clone(request));
                true
            }
            _ => false,
        }
    }

    /// Takes in the session as it was read back; passes on what the stream did not show. Of a session that is
    /// `idle` it is the last word; of one that works, a text may lag behind the stream.
    pub(crate) fn on_read_back(&mut self, messages: &[Message], idle: bool, out: &mut Vec<RunEventKind>) {
        let first = self.prompts.first().cloned();
        for message in messages.iter().skip_while(|m| Some(&m.info.id) != first.as_ref()) {
            self.on_message(&message.info);
            for part in &message.parts {
                self.on_part(part, if idle { Seen::ReadAtEnd } else { Seen::Read }, out);
            }
        }
    }

    /// Takes in a request, seen on the stream or on the server's list. Whichever session asks: the server works
    /// for this runner alone, one turn at a time, and a sub-agent's session may have begun unseen.
    pub(crate) fn on_request(&mut self, request: &InputRequest) {
        if self.passed_on.insert(Arc::clone(&request.id)) {
            self.asked.push(request.clone());
        }
    }

    /// Requests that are new, and those that the server says are settled.
    pub(crate) fn take_requests(&mut self) -> (Vec<InputRequest>, Vec<Arc<str>>) {
        (std::mem::take(&mut self.asked), std::mem::take(&mut self.settled))
    }

    fn on_message(&mut self, info: &MessageInfo) {
        match info.role {
            Role::User => {
                let known = self.prompts.contains(&info.id);
                if known {
                    self.prompt_seen = true;
                } else if self.prompt_seen && !self.earlier.contains(&info.id) {
                    // One turn at a time, and nobody else prompts this session: what comes as the user's after
                    // our prompt was put there by the server for the same turn.
                    self.prompts.push(info.id.clone());
                }
            }
            Role::Assistant => {
                let ours = info.parent.as_ref().is_some_and(|p| self.prompts.contains(p));
                if !ours {
                    return;
                }
                self.prompt_seen = true;
                let was_done = self.answers.iter().any(|a| a.info.id == info.id && a.info.completed);
                if let Some(answer) = self.answers.iter_mut().find(|a| a.info.id == info.id) {
                    answer.info = info.clone();
                } else {
                    let answer = Answer { info: info.clone(), texts: Vec::new(), has_tools: false };
                    self.answers.push(answer);
                }
                if info.completed && !was_done {
                    self.count_endless(&info.id);
                }
            }
        }
    }

    fn count_endless(&mut self, id: &MessageId) {
        let Some(answer) = self.answers.iter().find(|a| a.info.id == *id) else { return };
        let odd = matches!(answer.info.finish, Some(Finish::Other(_) | Finish::ToolCalls));
        let gave_nothing =
            !answer.has_tools && answer.texts.iter().all(|t| self.text_of(t).trim().is_empty());
        self.endless = if odd && gave_nothing { self.endless + 1 } else { 0 };
    }

    fn text_of(&self, part: &str) -> &str {
        self.parts.get(part).map_or("", PartTrack::text)
    }

    fn on_part(&mut self, part: &Part, seen: Seen, out: &mut Vec<RunEventKind>) {
        // Only the agent's own messages: the user's text comes back as a part as well.
        let Some(answer) = self.answers.iter_mut().find(|a| a.info.id == part.message) else { return };
        match &part.body {
            PartBody::Text(whole) => {
                if !answer.texts.contains(&part.id) {
                    answer.texts.push(part.id.clone());
                }
                self.on_text(part, whole, false, seen, out);
            }
            PartBody::Reasoning(whole) => self.on_text(part, whole, true, seen, out),
            PartBody::Tool { call_id, tool, state } => {
                answer.has_tools = true;
                let passed = self.tools.get(&part.id);
                let news = passed.is_none_or(|old| !old.is_final() && old != state);
                if news {
                    self.tools.insert(part.id.clone(), state.clone());
                    out.push(RunEventKind::Tool {
                        call_id: call_id.clone(),
                        tool: tool.clone(),
                        state: state.clone(),
                    });
                }
            }
            // One per model call; the part's id tells a repetition apart.
            PartBody::StepFinish { usage } if self.passed_on.insert(part.id.clone()) => {
                out.push(RunEventKind::Step(*usage));
            }
            _ => {}
        }
    }

    fn on_text(
        &mut self,
        part: &Part,
        whole: &str,
        reasoning: bool,
        seen: Seen,
        out: &mut Vec<RunEventKind>,
    ) {
        let track = self.parts.entry(part.id.clone()).or_insert_with(|| PartTrack {
            name: Arc::clone(&part.id),
            reasoning,
            passed: String::new(),
            text: None,
            // Announced on the stream it begins here; read back, more may have been missed.
            continuous: seen == Seen::Streamed,
        });
        if let Some(news) = whole.strip_prefix(track.passed.as_str()) {
            if !news.is_empty() {
                out.push(grown(track, news));
                track.passed.push_str(news);
                track.continuous = true;
            }
            track.text = None;
        } else if seen == Seen::ReadAtEnd || !whole.is_empty() {
            // Trimmed at its end, or replaced. (An empty whole in the middle of a turn is the announcement, which
            // is all that the server has stored until the part is done.)
            track.text = Some(whole.to_owned());
        }
    }

    fn on_delta(&mut self, id: &str, news: &str, out: &mut Vec<RunEventKind>) {
        // A delta that may not continue what was passed on, or whose part was never announced, is left to the
        // part's whole: then the text comes later, and nothing is lost or twice.
        if let Some(track) = self.parts.get_mut(id).filter(|track| track.continuous) {
            track.passed.push_str(news);
            out.push(grown(track, news));
        }
    }

    /// The agent's answer so far: the text of its last message that is not a compaction's summary.
    pub(crate) fn text(&self) -> String {
        self.last_answer().map(|a| a.texts.iter().map(|id| self.text_of(id)).collect()).unwrap_or_default()
    }

    fn last_answer(&self) -> Option<&Answer> {
        self.answers.iter().rev().find(|a| !a.info.summary)
    }

    /// Tokens and cost of all the turn's messages.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for answer in &self.answers {
            sum.add(&answer.info.usage);
        }
        sum
    }

    /// What was reported to have failed, if anything.
    pub(crate) fn failure(&self) -> Option<&AgentFailure> {
        self.failure.as_ref()
    }
}

fn grown(track: &PartTrack, news: &str) -> RunEventKind {
    let (part, delta) = (Arc::clone(&track.name), news.to_owned());
    if track.reasoning { RunEventKind::Reasoning { part, delta } } else { RunEventKind::Text { part, delta } }
}
