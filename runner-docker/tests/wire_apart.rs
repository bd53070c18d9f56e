//! An engine that takes "no traffic between containers" and forgets it, as Podman does: each container gets a network of
//! its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::sync::Mutex;

use runner_core::container::UserSpec;
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, ErrorKind};
use serde_json::Value;
use support::{Call, Fake, Reply, fail, ok};

const NETWORKS: &str = "GET /networks";
const OWN: &str = "POST /libpod/networks/create";
const CREATE: &str = "POST /containers/create";
const UNUSED: &str = "DELETE /networks/cnap-runner.name";

fn spec() -> ContainerSpec {
    ContainerSpec::new("name", "img:1".parse().unwrap(), UserSpec { uid: 1000, gid: 1000 })
}

/// What such an engine says about the network that it was asked for.
const FORGETFUL: &str = r#"[{"Id":"net1","Name":"cnap-runner","Driver":"bridge","Options":{},
    "Labels":{"cnap.runner.network":"isolated"},"IPAM":{"Config":[{"Gateway":"10.89.0.1"}]}}]"#;

/// An engine with a shared network that does not isolate; `more` answers what is asked beyond that.
fn forgetful(more: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Fake {
    let made = Mutex::new(false);
    Fake::engine(move |call| match call.what.as_str() {
        NETWORKS if *made.lock().unwrap() => ok(FORGETFUL),
        NETWORKS => ok("[]"),
        "POST /networks/create" => {
            *made.lock().unwrap() = true;
            Reply::Json(201, r#"{"Id":"net1","Warning":"enable_icc is not a recognized option"}"#.to_owned())
        }
        "DELETE /networks/net1" => {
            *made.lock().unwrap() = false;
            Reply::Json(204, String::new())
        }
        _ => more(call),
    })
}

#[tokio::test]
async fn each_container_gets_a_network_and_gives_it_back() {
    let fake = forgetful(|call| match call.what.as_str() {
        OWN => ok(r#"{"name":"cnap-runner.name","id":"own1"}"#),
        CREATE => Reply::Json(201, r#"{"Id":"abc","Warnings":[]}"#.to_owned()),
        "GET /containers/abc/json" => ok(r#"{"Id":"abc","Name":"/name","State":{"Status":"created"}}"#),
        "DELETE /containers/abc" | UNUSED => Reply::Json(204, String::new()),
        _ => panic!("{call:?}"),
    });
    let runtime = fake.connect().await;
    assert_eq!(runtime.info().await.unwrap().host_address, None, "there is no gateway for all");
    assert_eq!(fake.count("DELETE /networks/net1"), 1, "what is of no use is not left there");
    let id = runtime.create(&spec()).await.unwrap();
    let own = &fake.calls(OWN)[0];
    assert_eq!(own.version.as_deref(), Some("4.0.0"), "Podman's interface has versions of its own");
    let wanted: Value = serde_json::from_str(&own.body).unwrap();
    assert_eq!(
        (&wanted["name"], &wanted["options"]["isolate"]),
        (&"cnap-runner.name".into(), &"true".into())
    );
    assert_eq!(wanted["labels"]["cnap.runner.network"], "cnap-runner");
    let body: Value = serde_json::from_str(&fake.calls(CREATE)[0].body).unwrap();
    assert_eq!(body["HostConfig"]["NetworkMode"], "cnap-runner.name");
    runtime.remove(&id).await.unwrap();
    assert_eq!(fake.count(UNUSED), 1);
}

#[tokio::test]
async fn a_creation_that_fails_leaves_no_network() {
    let fake = forgetful(|call| match call.what.as_str() {
        OWN => ok("{}"),
        CREATE => fail(404, "no such image: img:1: image not known"),
        UNUSED => Reply::Json(204, String::new()),
        _ => panic!("{call:?}"),
    });
    let error = fake.connect().await.create(&spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageUnavailable);
    assert_eq!(fake.count(UNUSED), 1);
}

/// Left behind by a controller that was killed, or made by one that creates the same container right now.
#[tokio::test]
async fn a_network_that_is_there_is_used_if_it_is_ours() {
    for (of, is_ours) in [("cnap-runner", true), ("other", false)] {
        let made = Mutex::new(false);
        let fake = Fake::engine(move |call| match call.what.as_str() {
            NETWORKS if call.query.contains("cnap-runner.name") => ok(format!(
                r#"[{{"Id":"own1","Name":"cnap-runner.name","Labels":{{"cnap.runner.network":"{of}"}}}}]"#
            )),
            NETWORKS => {
                if *made.lock().unwrap() {
                    ok(FORGETFUL)
                } else {
                    ok("[]")
                }
            }
            "POST /networks/create" => {
                *made.lock().unwrap() = true;
                ok(r#"{"Id":"net1"}"#)
            }
            "DELETE /networks/net1" => Reply::Json(204, String::new()),
            OWN => fail(409, "network name cnap-runner.name already used: network already exists"),
            CREATE => Reply::Json(201, r#"{"Id":"abc","Warnings":[]}"#.to_owned()),
            _ => panic!("{call:?}"),
        });
        let created = fake.connect().await.create(&spec()).await;
        assert_eq!(fake.count(CREATE), usize::from(is_ours));
        if is_ours {
            created.unwrap();
        } else {
            assert_eq!(created.unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
    }
}

#[tokio::test]
async fn an_engine_with_no_other_way_is_refused() {
    let fake = forgetful(|call| match call.what.as_str() {
        OWN => fail(404, "page not found"),
        _ => panic!("{call:?}"),
    });
    let error = fake.connect().await.create(&spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().is_some(), "{error}");
}

/// A controller that has only cleaned up so far does not know yet how this engine keeps containers apart.
#[tokio::test]
async fn a_newcomers_removal_takes_the_network_along() {
    let fake = forgetful(|call| match call.what.as_str() {
        "GET /containers/abc/json" => ok(r#"{"Id":"abc","Name":"/name","State":{"Status":"exited"}}"#),
        "DELETE /containers/abc" | UNUSED => Reply::Json(204, String::new()),
        _ => panic!("{call:?}"),
    });
    fake.connect().await.remove(&ContainerId::new("abc").unwrap()).await.unwrap();
    assert_eq!(fake.count(UNUSED), 1);
}

#[tokio::test]
async fn release_sweeps_what_nobody_is_on() {
    let ours = r#"{"Id":"own1","Name":"cnap-runner.a","Labels":{"cnap.runner.network":"cnap-runner"}}"#;
    let used = r#"{"Id":"own2","Name":"cnap-runner.b","Labels":{"cnap.runner.network":"cnap-runner"}}"#;
    let theirs = r#"{"Id":"own3","Name":"other.c","Labels":{"cnap.runner.network":"other"}}"#;
    let made = Mutex::new(false);
    let fake = Fake::engine(move |call| match call.what.as_str() {
        // By name: what is asked to settle the shared one.
        NETWORKS if call.query.contains("filters") => {
            if *made.lock().unwrap() {
                ok(FORGETFUL)
            } else {
                ok("[]")
            }
        }
        NETWORKS => ok(format!("[{ours},{used},{theirs}]")),
        "POST /networks/create" => {
            *made.lock().unwrap() = true;
            ok(r#"{"Id":"net1"}"#)
        }
        "DELETE /networks/net1" | "DELETE /networks/cnap-runner.a" => Reply::Json(204, String::new()),
        "DELETE /networks/cnap-runner.b" => {
            fail(500, "\"cnap-runner.b\" has associated containers with it: network is being used")
        }
        _ => panic!("{call:?}"),
    });
    let runtime = fake.connect().await;
    runtime.info().await.unwrap();
    runtime.release().await.unwrap();
    assert_eq!(fake.count("DELETE /networks/cnap-runner.a"), 1);
}
