//! What the facts of a turn say about its end. Pure.

use runner_core::session::{AgentFailure, Finish};

use super::fold::TurnFold;

/// So many model calls in a row that ended for no known reason and gave nothing are a loop: the server goes on
/// for ever (facts: about eight a second), and no setting of its own stops it.
const ENDLESS_STEPS: u32 = 8;

/// Whether a turn has ended, and how, as far as its facts tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// It goes on.
    Open,
    /// The agent answered and is done.
    Completed,
    /// It ended without a usable answer.
    Failed(TurnFailure),
}

/// Why a turn ended without a usable answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TurnFailure {
    /// The agent, its server or the model's provider reported this.
    Reported(AgentFailure),
    /// The answer was cut at the limit of the model's output.
    CutOff,
    /// The provider withheld the answer.
    Withheld,
    /// The agent stopped after a tool call, without an answer: a permission was refused.
    StoppedAfterTool,
    /// The agent is done and wrote nothing.
    Empty,
    /// The model ended for a reason that is not known.
    OddFinish(String),
    /// The model ends again and again without a reason and without a word.
    Endless(u32),
}

impl TurnFold {
    /// How the turn stands by its facts. Only a session that is idle has ended a turn; whether it is, the caller
    /// knows from the stream ([`is_idle`](Self::is_idle)) or by asking.
    pub(crate) fn verdict(&self, idle: bool) -> Verdict {
        if self.endless >= ENDLESS_STEPS {
            return Verdict::Failed(TurnFailure::Endless(self.endless));
        }
        // Not `last_answer`: a turn whose last message is a summary is still being continued.
        let Some(last) = self.answers.last() else { return Verdict::Open };
        if !idle || !last.info.completed || last.info.summary {
            return Verdict::Open;
        }
        if let Some(failure) = &last.info.error {
            return Verdict::Failed(TurnFailure::Reported(failure.clone()));
        }
        match &last.info.finish {
            Some(Finish::Stop) if self.text().trim().is_empty() => Verdict::Failed(TurnFailure::Empty),
            Some(Finish::Stop) => Verdict::Completed,
            Some(Finish::Length) => Verdict::Failed(TurnFailure::CutOff),
            Some(Finish::ContentFilter) => Verdict::Failed(TurnFailure::Withheld),
            Some(Finish::ToolCalls) => Verdict::Failed(TurnFailure::StoppedAfterTool),
            Some(Finish::Other(name)) => Verdict::Failed(TurnFailure::OddFinish(name.clone())),
            Some(other) => Verdict::Failed(TurnFailure::OddFinish(format!("{other:?}"))),
            None => match &self.failure {
                Some(failure) => Verdict::Failed(TurnFailure::Reported(failure.clone())),
                None => Verdict::Failed(TurnFailure::OddFinish("none".to_owned())),
            },
        }
    }
}
