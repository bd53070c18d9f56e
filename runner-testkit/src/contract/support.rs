//! Asserting on results, in time.

use std::fmt::Debug;
use std::time::Duration;

use runner_core::{Error, ErrorKind, Result};

/// The value, or a panic that says what was tried and the error's whole chain.
#[track_caller]
#[expect(clippy::panic, reason = "a contract suite reports violations to the test that runs it")]
pub(super) fn ok<T>(what: &str, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what} must succeed, and failed: {:?}: {}", error.kind(), error.chain()),
    }
}

/// Asserts that the result is an error of this kind, and gives it.
#[track_caller]
#[expect(clippy::panic, reason = "a contract suite reports violations to the test that runs it")]
pub(super) fn fails<T>(what: &str, result: Result<T>, kind: ErrorKind) -> Error {
    match result {
        Ok(_) => panic!("{what} must fail as {kind:?}, and succeeded"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what} fails with the wrong kind: {}", error.chain());
            error
        }
    }
}

/// The future's value, or a panic once the time is over.
#[expect(clippy::panic, reason = "a contract suite reports violations to the test that runs it")]
pub(super) async fn within<T>(patience: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(patience, future).await else {
        panic!("{what} must not take longer than {patience:?}")
    };
    value
}

/// Looks again and again until a look finds something.
pub(super) async fn eventually<T: Debug, F>(patience: Duration, what: &str, look: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    /// Short beside any call to a real peer, long enough not to load it.
    const PAUSE: Duration = Duration::from_millis(20);
    let found = async {
        loop {
            if let Some(value) = look().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(patience, what, found).await
}
