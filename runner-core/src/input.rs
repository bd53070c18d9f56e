//! What an agent asks a person, and what it is told.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::SessionId;

/// Something that needs a person, or a policy in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequest {
    /// The request's id; unique within its server.
    pub id: Arc<str>,
    /// The session that waits; may be a sub-agent's.
    pub session: SessionId,
    /// What is asked.
    pub kind: InputKind,
    /// The tool call that waits for it, where the server tells.
    pub call_id: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// Whether the agent may do something.
    Permission {
        /// The permission's name: a tool's (`bash`, `edit`), or what guards several of them (`external_directory`,
        /// `doom_loop`).
        permission: String,
        /// What it is about: commands, paths, addresses.
        patterns: Vec<String>,
        /// What the server would allow for the rest of its life if told [`InputAnswer::AllowAlways`].
        always: Vec<String>,
    },
    /// Questions, all to be answered together.
    Questions(Vec<Question>),
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// A word or two above it.
    pub header: String,
    /// The question.
    pub text: String,
    /// What may be chosen.
    pub options: Vec<QuestionOption>,
    /// Whether several may be.
    pub multiple: bool,
}

/// One of a question's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionOption {
    /// What is chosen, and what is answered.
    pub label: String,
    /// What it means.
    pub description: String,
}

impl InputRequest {
    /// The permission's name, or `question`.
    pub fn name(&self) -> &str {
        match &self.kind {
            InputKind::Permission { permission, .. } => permission,
            InputKind::Questions(_) => "question",
        }
    }
}

/// In one line, for people.
impl fmt::Display for InputRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let about = match &self.kind {
            InputKind::Permission { patterns, .. } => patterns.first(),
            InputKind::Questions(questions) => questions.first().map(|question| &question.text),
        };
        match about {
            Some(about) => write!(f, ": {}", about.lines().next().unwrap_or_default()),
            None => Ok(()),
        }
    }
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputAnswer {
    /// It may, this once.
    Allow,
    /// It may, and the same again as long as its server lives.
    AllowAlways,
    /// It may not, or the question stays unanswered. Without a message the agent's turn ends; with one, the agent
    /// reads it and goes on. A message to a question is not passed on.
    Deny {
        /// What it should do instead.
        message: Option<String>,
    },
    /// The chosen labels, or words of one's own, for each question in its order.
    Answers(Vec<Vec<String>>),
}

impl InputAnswer {
    /// Refused without a word.
    pub fn deny() -> Self {
        Self::Deny { message: None }
    }

    /// Refuses an answer of the wrong kind for a request.
    pub fn check(&self, request: &InputRequest) -> Result<()> {
        let refuse = |message: String, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "answer a request", message)
                .with_session(&request.session)
                .with_hint(hint))
        };
        match (self, &request.kind) {
            (Self::Deny { .. }, _) | (Self::Allow | Self::AllowAlways, InputKind::Permission { .. }) => {
                Ok(())
            }
            (Self::Answers(given), InputKind::Questions(asked)) if given.len() == asked.len() => Ok(()),
            (Self::Answers(given), InputKind::Questions(asked)) => refuse(
                format!("{} answers for {} questions", given.len(), asked.len()),
                "give one list for each question; an empty one leaves it open",
            ),
            (Self::Answers(_), InputKind::Permission { .. }) => {
                refuse(format!("{} is a permission and no question", request.name()), "allow or deny it")
            }
            (Self::Allow | Self::AllowAlways, InputKind::Questions(_)) => {
                refuse("a question cannot be allowed".to_owned(), "answer or deny it")
            }
        }
    }
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnsweredBy {
    /// The caller, through [`Runner::answer`](crate::Runner::answer).
    Caller,
    /// Nobody did in time, and the configured default was given.
    Deadline,
    /// The server itself: the turn was aborted, another request of the session was refused, or somebody else
    /// answered.
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: InputKind) -> InputRequest {
        InputRequest { id: "r".into(), session: SessionId::new("ses_1").unwrap(), kind, call_id: None }
    }

    #[test]
    fn an_answer_must_be_of_the_requests_kind() {
        let permission = request(InputKind::Permission {
            permission: "bash".into(),
            patterns: vec!["rm -rf x\nsecond line".into()],
            always: Vec::new(),
        });
        let question = Question {
            header: "Colour".into(),
            text: "Which colour?".into(),
            options: Vec::new(),
            multiple: false,
        };
        let questions = request(InputKind::Questions(vec![question.clone(), question]));
        assert_eq!(permission.to_string(), "bash: rm -rf x");
        assert_eq!(questions.to_string(), "question: Which colour?");
        let answers = |n: usize| InputAnswer::Answers(vec![Vec::new(); n]);
        for (answer, to, good) in [
            (InputAnswer::Allow, &permission, true),
            (InputAnswer::AllowAlways, &permission, true),
            (InputAnswer::deny(), &permission, true),
            (answers(1), &permission, false),
            (InputAnswer::Allow, &questions, false),
            (InputAnswer::deny(), &questions, true),
            (answers(2), &questions, true),
            (answers(1), &questions, false),
        ] {
            let checked = answer.check(to);
            assert_eq!(checked.is_ok(), good, "{answer:?} to {to}");
            assert!(checked.err().is_none_or(|e| e.hint().is_some()));
        }
    }
}
