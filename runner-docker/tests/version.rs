//! Which version of the interface is spoken with which engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use runner_core::container::{Network, UserSpec};
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, ErrorKind, Result, Retry};
use runner_docker::DockerRuntime;
use support::{Call, Fake, Reply, fail, ok};

/// An engine that answers `/version` with a document.
fn engine(version: &'static str) -> Fake {
    Fake::bare(move |call: &Call| match call.what.as_str() {
        "GET /version" => ok(version),
        "GET /info" => ok("{}"),
        "GET /containers/abc/json" => ok(r#"{"Id":"abc","State":{"Status":"running"}}"#),
        "POST /containers/create" => ok(r#"{"Id":"abc","Warnings":[]}"#),
        other => fail(599, &format!("unexpected: {other}")),
    })
}

async fn connect(version: &'static str) -> Result<DockerRuntime> {
    DockerRuntime::connect(engine(version).config()).await
}

#[tokio::test]
async fn every_call_after_the_first_says_the_newest_version_that_both_know() {
    for (document, want) in [
        (r#"{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}"#, "1.41"),
        (r#"{"Version":"29.0.0","ApiVersion":"1.52","MinAPIVersion":"1.44"}"#, "1.52"),
        (r#"{"Version":"33.0.0","ApiVersion":"1.60","MinAPIVersion":"1.50"}"#, "1.53"),
    ] {
        let fake = engine(document);
        let runtime = fake.connect().await;
        let user = UserSpec { uid: 1000, gid: 1000 };
        let mut spec = ContainerSpec::new("name", "img:1".parse().unwrap(), user);
        spec.network = Network::None;
        // One through bollard, one without it.
        runtime.create(&spec).await.unwrap();
        runtime.inspect(&ContainerId::new("abc").unwrap()).await.unwrap();
        assert_eq!(fake.calls("GET /version")[0].version, None, "nothing is known before");
        for what in ["GET /info", "POST /containers/create", "GET /containers/abc/json"] {
            assert_eq!(fake.calls(what)[0].version.as_deref(), Some(want), "{what}");
        }
    }
}

#[tokio::test]
async fn an_engine_without_a_common_version_is_refused_when_connecting() {
    for (document, names) in [
        (r#"{"Version":"33.0.0","ApiVersion":"1.60","MinAPIVersion":"1.55"}"#, ["33.0.0", "1.55", "1.53"]),
        (r#"{"Version":"17.6.0","ApiVersion":"1.30","MinAPIVersion":"1.12"}"#, ["17.6.0", "1.30", "1.41"]),
    ] {
        let error = connect(document).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::UnsupportedVersion, Retry::Permanent),
            "{error}"
        );
        assert!(names.iter().all(|name| error.message().contains(name)) && error.hint().is_some(), "{error}");
    }
}

#[tokio::test]
async fn what_has_no_version_is_not_an_engine() {
    for document in [
        r#"{"Version":"1"}"#,
        r#"{"Version":"1","ApiVersion":""}"#,
        r#"{"Version":"1","ApiVersion":"newest"}"#,
        r#"{"Version":"1","ApiVersion":"1.44","MinAPIVersion":"any"}"#,
    ] {
        let error = connect(document).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Protocol, Retry::Permanent),
            "{document}: {error}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_was_replaced_since_says_so() {
    let fake =
        Fake::engine(|_| fail(400, "client version 1.53 is too new. Maximum supported API version is 1.41"));
    let error = fake.connect().await.inspect(&ContainerId::new("abc").unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::UnsupportedVersion, Retry::Permanent), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("connect again")), "{error}");
}

#[tokio::test]
async fn the_whole_connecting_is_within_its_limit() {
    let slow = Fake::bare(|call: &Call| match call.what.as_str() {
        "GET /version" => ok(r#"{"Version":"1","ApiVersion":"1.41"}"#),
        _ => Reply::Silence,
    });
    let error = DockerRuntime::connect(slow.config()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::EngineUnavailable, Retry::Temporary), "{error}");
    slow.quiet().await;
}
