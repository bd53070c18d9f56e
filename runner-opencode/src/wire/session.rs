//! Sessions, their status, and the health of the server.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Number, Text};

/// The answer of `GET /global/health`.
#[derive(Debug, Deserialize)]
pub(crate) struct Health<'a> {
    pub(crate) healthy: Option<bool>,
    #[serde(borrow)]
    pub(crate) version: Cow<'a, str>,
}

/// The body of `POST /session`.
#[derive(Debug, Serialize)]
pub(crate) struct CreateSession<'a> {
    pub(crate) title: &'a str,
}

/// A session.
#[derive(Debug, Deserialize)]
pub(crate) struct Session<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(rename = "parentID", borrow)]
    pub(crate) parent: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) directory: Option<Text<'a>>,
}

/// What a session does.
#[derive(Debug, Deserialize)]
pub(crate) struct Status<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(default)]
    pub(crate) attempt: Number,
    #[serde(borrow)]
    pub(crate) message: Option<Text<'a>>,
    pub(crate) next: Option<Number>,
}

/// The answer of `GET /session/status`: only sessions that do something are in it. The values are kept raw so that
/// one session's odd status spoils no other's.
pub(crate) type StatusMap<'a> = HashMap<String, &'a RawValue>;

/// The body of `POST /session/{id}/prompt_async`.
///
/// It has no `tools`: that field replaces the permission rules of the session.
#[derive(Debug, Serialize)]
pub(crate) struct SendPrompt<'a> {
    #[serde(rename = "messageID")]
    pub(crate) message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<Model<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<&'a str>,
    pub(crate) parts: Vec<InputPart<'a>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Model<'a> {
    #[serde(rename = "providerID")]
    pub(crate) provider: &'a str,
    #[serde(rename = "modelID")]
    pub(crate) model: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum InputPart<'a> {
    Text {
        text: &'a str,
    },
    File {
        mime: &'a str,
        filename: &'a str,
        /// A `data:` address with the whole file.
        url: String,
    },
}
