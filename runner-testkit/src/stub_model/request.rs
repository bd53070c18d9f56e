//! The part of a chat completion request that the stub looks at.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    pub(super) messages: Vec<Message>,
    #[serde(default)]
    pub(super) tools: Vec<Tool>,
    #[serde(default)]
    pub(super) stream: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    pub(super) role: String,
    pub(super) content: Option<Content>,
    pub(super) tool_calls: Option<Vec<ToolCall>>,
}

/// Clients send one text as a string and several as a list of parts.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Part {
    /// Absent in images and files.
    #[serde(default)]
    pub(super) text: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tool {
    pub(super) function: FunctionName,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ToolCall {
    pub(super) function: FunctionName,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct FunctionName {
    pub(super) name: String,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestKind {
    /// A step of a turn: the user's prompt is to be answered.
    Turn,
    /// The agent wants a title for the conversation. It quotes the prompt, which must not be followed here.
    Title,
    /// The agent wants the conversation summarised (compaction).
    Summary,
}

impl Message {
    pub(super) fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
                texts.join("\n")
            }
        }
    }

    fn is(&self, role: &str) -> bool {
        self.role == role
    }

    pub(super) fn calls(&self) -> &[ToolCall] {
        self.tool_calls.as_deref().unwrap_or_default()
    }
}

impl ChatRequest {
    /// The system prompt; several system messages are joined.
    pub(super) fn system_prompt(&self) -> String {
        let texts: Vec<_> = self
            .messages
            .iter()
            .filter(|message| message.is("system") || message.is("developer"))
            .map(Message::text)
            .collect();
        texts.join("\n")
    }

    /// Recognised by the fixed first words of OpenCode's built-in helpers. The absence of tools alone proves nothing:
    /// an agent can be configured without any.
    pub(super) fn kind(&self) -> RequestKind {
        let system = self.system_prompt();
        let system = system.trim_start();
        if system.starts_with("You are a title generator") {
            RequestKind::Title
        } else if system.starts_with("You are a context summarization agent") {
            RequestKind::Summary
        } else {
            RequestKind::Turn
        }
    }

    fn last_user(&self) -> Option<usize> {
        self.messages.iter().rposition(|message| message.is("user"))
    }

    /// The prompt: the text of the last user message.
    pub(super) fn prompt(&self) -> Option<String> {
        self.messages.get(self.last_user()?).map(Message::text)
    }

    /// How many user messages there are, this prompt included.
    pub(super) fn user_messages(&self) -> usize {
        self.messages.iter().filter(|message| message.is("user")).count()
    }

    /// What came before this prompt.
    pub(super) fn earlier(&self) -> &[Message] {
        self.last_user().and_then(|at| self.messages.get(..at)).unwrap_or_default()
    }

    /// What the model and the tools did for this prompt so far.
    pub(super) fn since_prompt(&self) -> &[Message] {
        self.last_user().and_then(|at| self.messages.get(at + 1..)).unwrap_or_default()
    }

    /// The step that this request asks for: one more than the answers with tool calls so far. An answer without a
    /// tool call that the client kept (a cut stream) is asked for again, as a real model would be.
    pub(super) fn step(&self) -> usize {
        self.since_prompt()
            .iter()
            .filter(|message| message.is("assistant") && !message.calls().is_empty())
            .count()
    }

    pub(super) fn tool_outputs(&self) -> Vec<String> {
        self.since_prompt().iter().filter(|message| message.is("tool")).map(Message::text).collect()
    }

    pub(super) fn tool_names(&self) -> Vec<String> {
        self.tools.iter().map(|tool| tool.function.name.clone()).collect()
    }

    pub(super) fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|offered| offered.function.name == tool)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(messages: &Value) -> ChatRequest {
        serde_json::from_value(json!({"model": "m", "messages": messages})).expect("a chat request")
    }

    fn called(name: &str) -> Value {
        json!({"role": "assistant", "content": "", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": name, "arguments": "{}"}}]})
    }

    #[test]
    fn kinds_are_told_apart_by_the_system_prompt() {
        let cases = [
            ("You are a title generator. You output ONLY a thread title.", RequestKind::Title),
            ("You are a context summarization agent. You are given", RequestKind::Summary),
            ("You are opencode, an interactive CLI tool", RequestKind::Turn),
            ("", RequestKind::Turn),
        ];
        for (system, kind) in cases {
            let request = request(&json!([
                {"role": "system", "content": system},
                {"role": "user", "content": "[[run: ls]]"}]));
            assert_eq!(request.kind(), kind, "{system}");
        }
    }

    #[test]
    fn the_step_is_counted_from_the_last_prompt() {
        let user = |text: &str| json!({"role": "user", "content": text});
        let said = |text: &str| json!({"role": "assistant", "content": text});
        let tool = |text: &str| json!({"role": "tool", "tool_call_id": "c", "content": text});
        let cases = [
            (json!([user("a")]), 0, vec![]),
            (json!([user("a"), called("bash"), tool("x")]), 1, vec!["x"]),
            (json!([user("a"), called("bash"), tool("x"), called("bash"), tool("y")]), 2, vec!["x", "y"]),
            (json!([user("a"), said("half an ans")]), 0, vec![]),
            (json!([user("a"), called("bash"), tool("x"), said("done"), user("b")]), 0, vec![]),
            (json!([user("a"), user("b")]), 0, vec![]),
        ];
        for (messages, step, outputs) in cases {
            let request = request(&messages);
            assert_eq!(request.step(), step, "{messages}");
            assert_eq!(request.tool_outputs(), outputs, "{messages}");
        }
    }

    #[test]
    fn texts_are_read_in_every_shape() {
        let cases = [
            (json!("a"), "a"),
            (json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "a\nb"),
            (json!([{"type": "image_url", "image_url": {"url": "data:"}}]), ""),
            (json!(null), ""),
        ];
        for (content, text) in cases {
            let request = request(&json!([{"role": "user", "content": content}]));
            assert_eq!(request.prompt().as_deref(), Some(text), "{content}");
        }
        assert_eq!(request(&json!([])).prompt(), None);
    }
}
