//! Requests for permissions and answers, in events and in lists alike, and what is sent back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Flag, Text};

/// `permission.asked`, and an element of `GET /permission`. The metadata is left out: it is the tool's own, and as
/// large as a whole file.
#[derive(Debug, Deserialize)]
pub(crate) struct Permission<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
    #[serde(rename = "permission", borrow)]
    pub(crate) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) patterns: Vec<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) always: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(crate) tool: Option<ToolOf<'a>>,
}

/// `question.asked`, and an element of `GET /question`.
#[derive(Debug, Deserialize)]
pub(crate) struct Questions<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
    #[serde(rename = "questions", borrow, default)]
    pub(crate) all: Vec<Question<'a>>,
    #[serde(borrow)]
    pub(crate) tool: Option<ToolOf<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Question<'a> {
    #[serde(rename = "question", borrow)]
    pub(crate) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) header: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) options: Vec<QuestionOption<'a>>,
    #[serde(default)]
    pub(crate) multiple: Flag,
}

#[derive(Debug, Deserialize)]
pub(crate) struct QuestionOption<'a> {
    #[serde(borrow)]
    pub(crate) label: Text<'a>,
    #[serde(borrow)]
    pub(crate) description: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ToolOf<'a> {
    #[serde(rename = "callID", borrow)]
    pub(crate) call: Option<Text<'a>>,
}

/// `permission.replied`, `question.replied` and `question.rejected`.
#[derive(Debug, Deserialize)]
pub(crate) struct Settled<'a> {
    #[serde(rename = "sessionID", borrow)]
    pub(crate) session: Cow<'a, str>,
    #[serde(rename = "requestID", borrow)]
    pub(crate) request: Cow<'a, str>,
}

/// A list whose elements are read one by one, so that an odd one hides no other.
pub(crate) type List<'a> = Vec<&'a RawValue>;

/// The body of `POST /permission/{id}/reply`.
#[derive(Debug, Serialize)]
pub(crate) struct PermissionReply<'a> {
    pub(crate) reply: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<&'a str>,
}

/// The body of `POST /question/{id}/reply`.
#[derive(Debug, Serialize)]
pub(crate) struct QuestionReply<'a> {
    pub(crate) answers: &'a [Vec<String>],
}
