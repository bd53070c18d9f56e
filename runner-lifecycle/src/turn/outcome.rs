//! The end of a turn in the words of the ports. Pure.

use runner_core::session::AgentFailure;
use runner_core::{Error, ErrorKind, Retry};

use super::verdict::TurnFailure;

const OPERATION: &str = "run a turn";

/// Provider statuses that may be other later: too many requests, and whatever is the provider's own trouble.
fn passes(status: Option<u16>) -> bool {
    matches!(status, Some(408 | 429 | 500..=599))
}

/// The error for a turn that ended without a usable answer.
pub(crate) fn error_of(failure: TurnFailure) -> Error {
    let agent = |message: &str| Error::new(ErrorKind::Agent, OPERATION, message);
    match failure {
        TurnFailure::Reported(failure) => reported(&failure),
        TurnFailure::CutOff => agent("the answer was cut off at the limit of the model's output")
            .with_hint("raise limit.output of the model in the agent's settings, or ask for less at once"),
        TurnFailure::Withheld => agent("the model's provider withheld the answer (content filter)"),
        TurnFailure::StoppedAfterTool => {
            agent("the agent stopped after a tool call, without an answer; a permission was refused")
                .with_hint("allow the tool in the agent's permissions")
        }
        TurnFailure::Empty => {
            Error::new(ErrorKind::EmptyAnswer, OPERATION, "the agent is done and wrote nothing")
                .with_retry(Retry::Temporary)
        }
        TurnFailure::OddFinish(finish) => Error::new(
            ErrorKind::Protocol,
            OPERATION,
            format!("the model ended for a reason that is not known: {finish}"),
        ),
        TurnFailure::Endless(steps) => Error::new(
            ErrorKind::Protocol,
            OPERATION,
            format!("{steps} model calls in a row gave nothing and no reason; the turn was aborted"),
        )
        .with_hint("check that the provider's base URL is that of its API: it may answer with a web page"),
    }
}

fn reported(failure: &AgentFailure) -> Error {
    let status = failure.status.map(|s| format!(" (status {s})")).unwrap_or_default();
    let error =
        Error::new(ErrorKind::Agent, OPERATION, format!("{}: {}{status}", failure.name, failure.message));
    let error = match failure.status {
        Some(401 | 403) => error.with_hint("check the provider's API key"),
        _ => error,
    };
    if passes(failure.status) { error.temporary() } else { error }
}

/// The error for a session that is idle although its turn never showed an end.
pub(crate) fn error_of_silence(failure: Option<&AgentFailure>, prompt_seen: bool) -> Error {
    match failure {
        Some(failure) => reported(failure),
        None if prompt_seen => Error::new(
            ErrorKind::EmptyAnswer,
            OPERATION,
            "the session is idle and the turn has neither an answer nor a failure",
        )
        .temporary(),
        None => Error::new(ErrorKind::Protocol, OPERATION, "the prompt was accepted and nothing came of it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: Option<u16>) -> AgentFailure {
        AgentFailure {
            name: "APIError".into(),
            message: "no".into(),
            status,
            aborted: false,
            recoverable: false,
        }
    }

    #[test]
    fn the_providers_status_decides_whether_a_retry_makes_sense() {
        for (status, retry) in [
            (Some(429), Retry::Temporary),
            (Some(500), Retry::Temporary),
            (Some(529), Retry::Temporary),
            (Some(400), Retry::Permanent),
            (Some(401), Retry::Permanent),
            (None, Retry::Permanent),
        ] {
            let e = error_of(TurnFailure::Reported(failure(status)));
            assert_eq!((e.kind(), e.retry()), (ErrorKind::Agent, retry), "{status:?}");
        }
        assert!(error_of(TurnFailure::Reported(failure(Some(401)))).hint().unwrap().contains("API key"));
    }

    #[test]
    fn nothing_without_an_answer_is_called_a_success() {
        let all = [
            TurnFailure::CutOff,
            TurnFailure::Withheld,
            TurnFailure::StoppedAfterTool,
            TurnFailure::Empty,
            TurnFailure::OddFinish("unknown".into()),
            TurnFailure::Endless(8),
        ];
        for failure in all {
            assert!(!error_of(failure.clone()).message().is_empty(), "{failure:?}");
        }
        assert_eq!(error_of_silence(None, true).kind(), ErrorKind::EmptyAnswer);
        assert_eq!(error_of_silence(None, false).kind(), ErrorKind::Protocol);
        assert_eq!(error_of_silence(Some(&failure(None)), false).kind(), ErrorKind::Agent);
    }
}
