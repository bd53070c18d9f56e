//! What a container may never have, against a scripted engine that would give it: each refusal comes before the engine
//! is asked, and what goes over the wire has the whole profile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod grants;
mod mounts;
#[path = "../support/mod.rs"]
mod support;
mod visible;

use std::path::PathBuf;

use runner_core::container::{Mount, MountSource, Network, UserSpec};
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, ErrorKind, Retry};
use serde_json::{Value, json};
use support::{Fake, Reply, fail, ok, unexpected};
use tempfile::TempDir;

const CREATE: &str = "POST /containers/create";
const START: &str = "POST /containers/abc/start";
const INSPECT: &str = "GET /containers/abc/json";
const NETWORKS: &str = "GET /networks";

fn id() -> ContainerId {
    ContainerId::new("abc").unwrap()
}

fn spec() -> ContainerSpec {
    let mut spec = ContainerSpec::new("name", "img:1".parse().unwrap(), UserSpec { uid: 1000, gid: 1000 });
    spec.network = Network::None;
    spec
}

fn with_mount(source: impl Into<PathBuf>) -> ContainerSpec {
    let mut spec = spec();
    spec.mounts.push(Mount {
        source: MountSource::HostPath(source.into()),
        target: "/workspace".into(),
        read_only: false,
    });
    spec
}

fn created() -> Reply {
    Reply::Json(201, r#"{"Id":"abc","Warnings":[]}"#.into())
}

/// An engine that does as it is told, and has SELinux and two runtimes.
fn willing() -> Fake {
    Fake::bare(|call| match call.what.as_str() {
        "GET /version" => ok(r#"{"Version":"99","ApiVersion":"1.99"}"#),
        "GET /info" => ok(r#"{"Architecture":"x86_64","SecurityOptions":["name=seccomp","name=selinux"],
            "Runtimes":{"runc":{"path":"runc"},"runsc":{"path":"runsc"}}}"#),
        NETWORKS => ok(r#"[{"Name":"services","Id":"s1","Driver":"bridge"},
            {"Name":"services-2","Id":"s2","Driver":"bridge"}]"#),
        CREATE => created(),
        _ => unexpected(call),
    })
}

fn body(fake: &Fake) -> Value {
    let calls = fake.calls(CREATE);
    serde_json::from_str(&calls.last().expect("a creation").body).unwrap()
}

fn temporary() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// A created container with one directory of the host.
fn inspected(status: &str, host_config: &Value) -> Reply {
    ok(json!({"Id": "abc", "State": {"Status": status}, "HostConfig": host_config}).to_string())
}

#[tokio::test]
async fn a_platform_is_asked_for_and_another_ones_image_is_not_fetched() {
    // Of engine 20.10, of engines since 27, and of those with containerd's store (by their source).
    for message in [
        "image with reference img:1 was found but does not match the specified platform: wanted linux/arm64, \
         actual: linux/amd64",
        "image with reference img:1 was found but its platform (linux/amd64) does not match the specified \
         platform (linux/arm64)",
        "image with reference img:1 was found but does not provide the specified platform (linux/arm64)",
    ] {
        let fake = Fake::engine(move |call| match call.what.as_str() {
            CREATE => fail(404, message),
            _ => unexpected(call),
        });
        let runtime = fake.connect().await;
        let asked = fake.all().len();
        let arm = ContainerSpec { platform: Some("linux/arm64".parse().unwrap()), ..spec() };
        let error = runtime.create(&arm).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::ImageUnavailable, Retry::Permanent), "{error}");
        assert!(error.hint().is_some(), "{error}");
        assert!(fake.calls(CREATE)[0].query.contains("platform=linux%2Farm64"), "{:?}", fake.calls(CREATE));
        assert_eq!(fake.all().len(), asked + 1, "once, and nothing else");
    }
}
