//! What can go wrong here, and its one conversion into the ports' error.

use std::time::Duration;

use runner_core::{Error, ErrorKind};

use crate::wire::error::Refusal;

/// What the failures of the transport come from.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Cause {
    /// A call.
    Client(#[from] reqwest::Error),
    /// The connection of an event stream.
    Socket(#[from] std::io::Error),
}

/// Why a call failed. `Display` is the message of the port's error; nothing secret may get into it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The address or the credentials cannot be used at all.
    #[error("{0}")]
    Address(String),
    /// No connection was made, so nothing was sent.
    #[error("the server cannot be reached")]
    Connect(#[source] Cause),
    /// The connection was made and broke.
    #[error("the connection to the server broke")]
    Broken(#[source] Cause),
    /// The request could not be built or the answer was of no HTTP kind.
    #[error("the exchange with the server failed")]
    Exchange(#[source] Cause),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("{}", refused(.0))]
    Refused(Refusal),
    /// The web interface answers every unknown path with 200 and a page.
    #[error("the answer is {found}, not {expected}: the server does not know this call")]
    ContentType { found: String, expected: &'static str },
    #[error("the answer has status {found}, not {expected}")]
    Status { found: u16, expected: u16 },
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer cannot be read ({what} at line {line}, column {column})")]
    Unreadable { what: &'static str, line: usize, column: usize },
    #[error("the server runs OpenCode {found}; this library is proved with {supported}")]
    Version { found: String, supported: &'static str },
    #[error("the server answers and says that it is not healthy")]
    Unhealthy,
    #[error("the server works in {found:?}, not in {expected:?}, so its events would not be recognised")]
    Directory { found: String, expected: String },
    #[error("the server gave an id that cannot be one")]
    Id(#[source] Error),
    #[error("the event stream began with {0:?}, not with server.connected")]
    NotConnected(String),
    #[error("the event stream ended before its first event")]
    EndedEarly,
    #[error(
        "the event stream showed more than {0} bytes of other events and not the one that was made to prove it"
    )]
    NotProved(usize),
    #[error("the event stream was silent for {0:?}")]
    Silent(Duration),
    #[error("a frame of the event stream is larger than {0} bytes")]
    FrameTooLarge(usize),
    #[error("the event stream is not text")]
    NotText,
}

fn refused(refusal: &Refusal) -> String {
    let what = if refusal.is_about_configuration() { "the server's configuration is broken: " } else { "" };
    let colon = if refusal.name.is_empty() || refusal.summary.is_empty() { "" } else { ": " };
    format!("{what}{}{colon}{} (status {})", refusal.name, refusal.summary, refusal.status)
}

impl Failure {
    /// Sorts what the HTTP client reports. Its address is left out: the operation says what was asked.
    pub(crate) fn transport(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() {
            Self::Connect(error.into())
        } else if error.is_builder() || error.is_redirect() {
            Self::Exchange(error.into())
        } else {
            Self::Broken(error.into())
        }
    }

    /// The connection of an event stream was not made.
    pub(crate) fn unconnected(error: std::io::Error) -> Self {
        Self::Connect(error.into())
    }

    /// The connection of an event stream broke, or carries no HTTP.
    pub(crate) fn broken(error: std::io::Error) -> Self {
        Self::Broken(error.into())
    }

    /// An answer that is not what we know. The parser's own text may repeat a value, so only the place is kept.
    pub(crate) fn unreadable(error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "it is cut off",
            serde_json::error::Category::Syntax => "it is not JSON",
            serde_json::error::Category::Data | serde_json::error::Category::Io => "it has an unknown form",
        };
        Self::Unreadable { what, line: error.line(), column: error.column() }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Address(_) => ErrorKind::InvalidInput,
            Self::Connect(_) | Self::Broken(_) | Self::Unhealthy | Self::EndedEarly | Self::NotProved(_) => {
                ErrorKind::Connection
            }
            Self::Timeout(_) | Self::Silent(_) => ErrorKind::Timeout,
            Self::Refused(refusal) => refusal_kind(refusal),
            Self::Version { .. } => ErrorKind::UnsupportedVersion,
            Self::Exchange(_)
            | Self::ContentType { .. }
            | Self::Status { .. }
            | Self::TooLarge(_)
            | Self::Unreadable { .. }
            | Self::Directory { .. }
            | Self::Id(_)
            | Self::NotConnected(_)
            | Self::FrameTooLarge(_)
            | Self::NotText => ErrorKind::Protocol,
        }
    }

    fn is_temporary(&self) -> bool {
        match self {
            // What stands between us and the server may say these while the server is not there yet.
            Self::Refused(refusal) => matches!(refusal.status, 409 | 429 | 502 | 503 | 504),
            other => matches!(other.kind(), ErrorKind::Connection | ErrorKind::Timeout),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(r) if r.is_about_configuration() => {
                Some("correct the agent's settings or its template")
            }
            Self::Refused(r) if r.status == 401 => {
                Some("the password is not the one the server was started with")
            }
            Self::Version { .. } => Some("use an image with a supported version"),
            _ => None,
        }
    }

    /// The port's error. The client's own errors stay in the chain for people.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        let mut error = Error::new(self.kind(), operation, self.to_string());
        if self.is_temporary() {
            error = error.temporary();
        }
        if let Some(hint) = self.hint() {
            error = error.with_hint(hint);
        }
        match self {
            Self::Connect(source) | Self::Broken(source) | Self::Exchange(source) => {
                error.with_source(source)
            }
            Self::Id(source) => error.with_source(source),
            _ => error,
        }
    }
}

fn refusal_kind(refusal: &Refusal) -> ErrorKind {
    match refusal.status {
        _ if refusal.is_about_configuration() => ErrorKind::InvalidInput,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Busy,
        502..=504 => ErrorKind::Connection,
        500.. => ErrorKind::Agent,
        // Whatever else it refuses is a request that this library has built.
        _ => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use runner_core::Retry;

    use super::*;

    fn refused(status: u16, name: &str, summary: &str) -> Error {
        Failure::Refused(Refusal { status, name: name.to_owned(), summary: summary.to_owned() })
            .into_error("call")
    }

    #[test]
    fn every_status_has_its_kind() {
        for (status, name, kind, retry) in [
            (400, "BadRequest", ErrorKind::Protocol, Retry::Permanent),
            (400, "ConfigInvalidError", ErrorKind::InvalidInput, Retry::Permanent),
            (401, "", ErrorKind::Unauthorized, Retry::Permanent),
            (403, "", ErrorKind::PermissionDenied, Retry::Permanent),
            (404, "NotFoundError", ErrorKind::NotFound, Retry::Permanent),
            (409, "SessionBusyError", ErrorKind::Busy, Retry::Temporary),
            (500, "UnknownError", ErrorKind::Agent, Retry::Permanent),
            (503, "", ErrorKind::Connection, Retry::Temporary),
        ] {
            let e = refused(status, name, "x");
            assert_eq!((e.kind(), e.retry()), (kind, retry), "{status} {name}");
        }
    }

    #[test]
    fn messages_read_well_with_any_part_missing() {
        assert_eq!(refused(404, "NotFoundError", "gone").message(), "NotFoundError: gone (status 404)");
        assert_eq!(refused(400, "BadRequest", "").message(), "BadRequest (status 400)");
        assert_eq!(refused(401, "", "the answer is empty").message(), "the answer is empty (status 401)");
        let e = refused(400, "ConfigJsonError", "/x: broken");
        assert_eq!(
            e.to_string(),
            "call: the server's configuration is broken: ConfigJsonError: /x: broken (status 400); \
             correct the agent's settings or its template"
        );
        let found = "2.0.5".to_owned();
        let e = Failure::Version { found, supported: "1.18.x" }.into_error("probe");
        assert!(e.message().contains("2.0.5") && e.message().contains("1.18.x"), "{e}");
    }

    #[test]
    fn an_unreadable_answer_is_not_repeated() {
        let error = serde_json::from_str::<u64>("\"sk-SECRET\"").unwrap_err();
        assert!(error.to_string().contains("SECRET"), "or this test proves nothing");
        let e = Failure::unreadable(&error).into_error("call");
        assert!(!format!("{e:?} {}", e.chain()).contains("SECRET"));
    }
}
