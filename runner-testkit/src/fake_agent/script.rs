//! What one turn does, as a list of steps and an end.

use std::time::Duration;

use runner_core::input::{InputKind, Question, QuestionOption};
use runner_core::session::{AgentEvent, AgentFailure, Finish, Usage};
use serde_json::Value;

/// One step of a turn.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Wait(Duration),
    Hold,
    Text(Vec<String>),
    Reasoning(Vec<String>),
    ToolBegins { tool: String, input: Value },
    ToolProgress(String),
    ToolEnds { ok: bool, text: String },
    SubAgent(Box<TurnScript>),
    Retry { attempt: u32, message: String, wait: Duration },
    Ask(InputKind),
    Failure(AgentFailure),
    Summary(String),
    Break(Finish),
    Event(AgentEvent),
}

/// How a turn ends.
#[derive(Debug, Clone)]
pub(super) enum End {
    Finish(Finish),
    NoFinish,
    Failure { failure: AgentFailure, stored_after: Duration },
    ModelRefused(AgentFailure),
    AgentRefused(AgentFailure),
    EmptySteps { every: Duration },
    Never,
}

/// What one turn does. Without an end of its own it finishes as `stop`.
///
/// Steps are grouped into messages as a model does it: text and tool calls that follow it share a message; what
/// comes after a tool call opens the next one.
///
/// ```
/// use std::time::Duration;
/// use runner_core::session::Finish;
/// use runner_testkit::fake_agent::{TurnScript, provider_error};
/// let slow = TurnScript::new().wait(Duration::from_secs(3)).text("at last");
/// let cut = TurnScript::answer("and then").finish(Finish::Length);
/// let hangs = TurnScript::new().text("let me think").never_ends();
/// let fails = TurnScript::new().retry(1, "overloaded", Duration::from_secs(2)).fail(provider_error(529, "overloaded"));
/// let asks = TurnScript::new()
///     .tool_begins("bash", serde_json::json!({ "command": "rm x" }))
///     .permission("bash") // goes on at `FakeAgent::resume`
///     .tool_ends("removed")
///     .text("done");
/// # drop((slow, cut, hangs, fails, asks));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TurnScript {
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
    pub(super) pace: Duration,
    pub(super) usage: Usage,
    pub(super) stays_busy: bool,
}

impl Default for TurnScript {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            end: End::Finish(Finish::Stop),
            pace: Duration::ZERO,
            usage: Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() },
            stays_busy: false,
        }
    }
}

impl TurnScript {
    /// A turn without steps. As it is, it is the empty answer: `stop` without text and without an error.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ordinary turn: this text, a word at a time, and `stop`.
    pub fn answer(text: impl AsRef<str>) -> Self {
        Self::new().text_deltas(text.as_ref().split_inclusive(' '))
    }

    /// Ends as `stop` without text and without an error.
    pub fn empty() -> Self {
        Self::new()
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Does nothing for a while.
    pub fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// Does nothing until [`FakeAgent::resume`](super::FakeAgent::resume).
    pub fn hold(self) -> Self {
        self.step(Step::Hold)
    }

    /// Writes text, in one delta.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.text_deltas([text])
    }

    /// Writes text, in these deltas.
    pub fn text_deltas<I: IntoIterator<Item = S>, S: Into<String>>(self, deltas: I) -> Self {
        self.step(Step::Text(deltas.into_iter().map(Into::into).collect()))
    }

    /// Thinks, in one delta.
    pub fn reasoning(self, text: impl Into<String>) -> Self {
        self.step(Step::Reasoning(vec![text.into()]))
    }

    /// Calls a tool that succeeds at once: pending, running, completed.
    pub fn tool(self, tool: impl Into<String>, input: Value, output: impl Into<String>) -> Self {
        self.tool_begins(tool, input).tool_ends(output)
    }

    /// Calls a tool, which then runs until one of the three steps below, or for ever.
    pub fn tool_begins(self, tool: impl Into<String>, input: Value) -> Self {
        self.step(Step::ToolBegins { tool: tool.into(), input })
    }

    /// The running tool has written this so far.
    pub fn tool_progress(self, output: impl Into<String>) -> Self {
        self.step(Step::ToolProgress(output.into()))
    }

    /// The running tool succeeds.
    pub fn tool_ends(self, output: impl Into<String>) -> Self {
        self.step(Step::ToolEnds { ok: true, text: output.into() })
    }

    /// The running tool fails.
    pub fn tool_fails(self, error: impl Into<String>) -> Self {
        self.step(Step::ToolEnds { ok: false, text: error.into() })
    }

    /// Hands work to a sub-agent: a session of its own, with its own messages and its own idle, inside a call of
    /// the tool `task`.
    pub fn sub_agent(self, script: Self) -> Self {
        self.step(Step::SubAgent(Box::new(script)))
    }

    /// The provider fails and the server waits before it tries again.
    pub fn retry(self, attempt: u32, message: impl Into<String>, wait: Duration) -> Self {
        self.step(Step::Retry { attempt, message: message.into(), wait })
    }

    /// Asks for a permission and waits until it is answered, or until
    /// [`FakeAgent::resume`](super::FakeAgent::resume), which allows it. Denied without a word, the turn ends.
    pub fn permission(self, what: impl Into<String>) -> Self {
        let permission = what.into();
        self.step(Step::Ask(InputKind::Permission {
            patterns: vec![format!("{permission} something")],
            always: vec![format!("{permission} *")],
            permission,
        }))
    }

    /// Asks a question with these options and waits like [`permission`](Self::permission). What is answered is
    /// written as text.
    pub fn question<I: IntoIterator<Item = S>, S: Into<String>>(
        self,
        text: impl Into<String>,
        options: I,
    ) -> Self {
        let option = |label: S| QuestionOption { label: label.into(), description: String::new() };
        self.step(Step::Ask(InputKind::Questions(vec![Question {
            header: "Question".to_owned(),
            text: text.into(),
            options: options.into_iter().map(option).collect(),
            multiple: false,
        }])))
    }

    /// The session reports a failure and goes on, as it does for a context overflow.
    pub fn reports(self, failure: AgentFailure) -> Self {
        self.step(Step::Failure(failure))
    }

    /// Compaction: a summary message, which is not an answer.
    pub fn summary(self, text: impl Into<String>) -> Self {
        self.step(Step::Summary(text.into()))
    }

    /// Ends the message under way with this finish and goes on with another one.
    pub fn next_step(self, finish: Finish) -> Self {
        self.step(Step::Break(finish))
    }

    /// Sends any event.
    pub fn event(self, event: AgentEvent) -> Self {
        self.step(Step::Event(event))
    }

    /// The turn's last message ends with this finish.
    pub fn finish(self, finish: Finish) -> Self {
        self.end(End::Finish(finish))
    }

    /// The turn's last message is completed with neither a finish nor an error.
    pub fn no_finish(self) -> Self {
        self.end(End::NoFinish)
    }

    /// The turn fails the way a provider's error ends it: reported, idle, and only after that the error is stored
    /// in the message, and idle again.
    pub fn fail(self, failure: AgentFailure) -> Self {
        self.fail_and_store_after(failure, Duration::from_millis(5))
    }

    /// As [`fail`](Self::fail), with another time between the first idle and the error in the message.
    pub fn fail_and_store_after(self, failure: AgentFailure, stored_after: Duration) -> Self {
        self.end(End::Failure { failure, stored_after })
    }

    /// The turn ends the way an unknown model ends it: busy, reported, idle, reported again; no message at all.
    pub fn refuse_model(self, failure: AgentFailure) -> Self {
        self.end(End::ModelRefused(failure))
    }

    /// The turn ends the way an unknown agent ends it: reported twice, never busy and never idle.
    pub fn refuse_agent(self, failure: AgentFailure) -> Self {
        self.end(End::AgentRefused(failure))
    }

    /// After its steps the turn makes empty messages that finish as `unknown`, for ever.
    pub fn endless_steps(self, every: Duration) -> Self {
        self.end(End::EmptySteps { every })
    }

    /// After its steps the turn does nothing, and stays busy.
    pub fn never_ends(self) -> Self {
        self.end(End::Never)
    }

    /// The last message is completed, but the session stays busy and no idle comes.
    pub fn stays_busy(mut self) -> Self {
        self.stays_busy = true;
        self
    }

    /// Waits so long before each step and each delta.
    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// What each message of the turn uses.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }
}

/// A failure by name and message.
pub fn failure(name: impl Into<String>, message: impl Into<String>) -> AgentFailure {
    let (name, message) = (name.into(), message.into());
    AgentFailure { name, message, status: None, aborted: false, recoverable: false }
}

/// The failure of a model's provider with this HTTP status.
pub fn provider_error(status: u16, message: impl Into<String>) -> AgentFailure {
    AgentFailure { status: Some(status), ..failure("APIError", message) }
}

/// How the server reports an abort.
pub fn aborted() -> AgentFailure {
    AgentFailure { aborted: true, ..failure("MessageAbortedError", "Aborted") }
}
