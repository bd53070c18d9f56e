//! What a caller asks a runner to do.

use std::time::Duration;

use crate::attachment::Attachment;
use crate::error::{Error, ErrorKind, Result};
use crate::model::ModelId;

/// One turn to run, valid once built.
///
/// ```
/// use runner_core::RunRequest;
/// let request = RunRequest::new("Write a haiku into haiku.txt")?.with_model("anthropic/claude-sonnet-4-5".parse()?);
/// assert!(RunRequest::new("  \n").is_err());
/// # Ok::<(), runner_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    prompt: String,
    model: Option<ModelId>,
    system: Option<String>,
    timeout: Option<Duration>,
    mode: Option<String>,
    attachments: Vec<Attachment>,
}

impl RunRequest {
    /// A turn for the user's text. Text of white space only is [`ErrorKind::EmptyPrompt`].
    pub fn new(prompt: impl Into<String>) -> Result<Self> {
        let prompt = prompt.into();
        if prompt.trim().is_empty() {
            return Err(Error::new(ErrorKind::EmptyPrompt, "read the prompt", "there is no user text in it")
                .with_hint("give the agent something to do"));
        }
        Ok(Self { prompt, model: None, system: None, timeout: None, mode: None, attachments: Vec::new() })
    }

    /// Uses this model instead of the settings' own.
    #[must_use]
    pub fn with_model(mut self, model: ModelId) -> Self {
        self.model = Some(model);
        self
    }

    /// Adds a system prompt for this turn.
    #[must_use]
    pub fn with_system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// Ends the turn as timed out after this long, instead of the lifecycle's default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Uses this agent of the server's (a way of working: `build`, `plan`, or one that the settings define) instead of
    /// its default.
    #[must_use]
    pub fn with_mode(mut self, mode: impl Into<String>) -> Self {
        self.mode = Some(mode.into());
        self
    }

    /// Sends a file or an image along.
    #[must_use]
    pub fn with_attachment(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// The user's text.
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// The model, where the caller names one.
    pub fn model(&self) -> Option<&ModelId> {
        self.model.as_ref()
    }

    /// The system prompt of this turn.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// The server's agent, where the caller names one.
    pub fn mode(&self) -> Option<&str> {
        self.mode.as_deref()
    }

    /// What goes with the text.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The turn's time limit, where the caller sets one.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}
