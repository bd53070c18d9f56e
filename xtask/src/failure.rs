//! The one error of xtask: what went wrong, the way out, the exit code.

use std::fmt;

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Shown to a person, so it names the thing and, where there is one, the way out.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    help: Option<String>,
    code: u8,
}

/// What a shell reports for a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, code: 1 }
    }

    pub(crate) fn interrupted() -> Self {
        Self { message: "interrupted".to_owned(), help: None, code: INTERRUPTED }
    }

    /// A command that already said why it failed: only its exit code goes on.
    pub(crate) fn exit(message: impl Into<String>, code: i32) -> Self {
        Self { message: message.into(), help: None, code: u8::try_from(code).unwrap_or(1).max(1) }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  what to do: {}", help.replace('\n', "\n              ")),
            None => Ok(()),
        }
    }
}

/// Adds what was being done to an error of the standard library.
pub(crate) trait During<T> {
    fn during(self, doing: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    fn during(self, doing: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Failure::new(format!("{}: {error}", doing())))
    }
}
