//! Images under a policy, for a platform and behind a login, against a scripted engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use runner_core::image::{ImageRequest, PullPolicy, RegistryCredentials, RegistryLogin};
use runner_core::{ContainerRuntime, ErrorKind, Retry, Secret, Sink};
use serde_json::{Value, json};
use support::{Fake, Reply, Then, fail, ok, unexpected};

const IMAGE: &str = "GET /images/img:1/json";
const PULL: &str = "POST /images/create";

fn image(architecture: &str) -> Reply {
    ok(json!({"Id": "sha256:1", "Size": 1, "Os": "linux", "Architecture": architecture}).to_string())
}

fn pulled() -> Reply {
    Reply::Stream(vec![b"{\"status\":\"Pull complete\"}\r\n".to_vec()], Then::End)
}

fn request(policy: PullPolicy) -> ImageRequest {
    ImageRequest::new("img:1".parse().unwrap(), policy)
}

#[tokio::test]
async fn always_fetches_what_is_there_and_fails_where_it_cannot() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (IMAGE, _) => image("amd64"),
        (PULL, 0) => pulled(),
        (PULL, _) => fail(404, "manifest unknown"),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    runtime.ensure_image(&request(PullPolicy::Always), Sink::none()).await.unwrap();
    assert_eq!(fake.count(PULL), 1);
    let error = runtime.ensure_image(&request(PullPolicy::Always), Sink::none()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ImageUnavailable, "an older image is no substitute: {error}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    for (failure, tries, good) in [
        (fail(500, "Get \"https://r/v2/\": net/http: TLS handshake timeout"), 2, true),
        (Reply::Hangup, 2, true),
        (fail(404, "manifest unknown"), 1, false),
        (fail(500, "no space left on device"), 1, false),
    ] {
        let shown = format!("{failure:?}");
        let fake = Fake::engine(move |call| match (call.what.as_str(), call.nth) {
            (IMAGE, 0) => fail(404, "No such image: img:1"),
            (IMAGE, _) => image("amd64"),
            (PULL, 0) => failure.clone(),
            (PULL, _) => pulled(),
            _ => unexpected(call),
        });
        let result = fake.connect().await.ensure_image(&request(PullPolicy::Missing), Sink::none()).await;
        assert_eq!((result.is_ok(), fake.count(PULL)), (good, tries), "{shown}: {result:?}");
    }
}

#[tokio::test]
async fn an_image_for_another_platform_is_fetched_anew_or_refused() {
    let for_arm = |policy| ImageRequest { platform: Some("linux/arm64".parse().unwrap()), ..request(policy) };
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (IMAGE, 0) => image("amd64"),
        (IMAGE, _) => image("arm64"),
        (PULL, _) => pulled(),
        _ => unexpected(call),
    });
    let wanted = for_arm(PullPolicy::Missing);
    let found = fake.connect().await.ensure_image(&wanted, Sink::none()).await.unwrap();
    assert_eq!(found.architecture, "arm64");
    let query = &fake.calls(PULL)[0].query;
    assert!(query.contains("platform=linux%2Farm64"), "{query}");

    for policy in [PullPolicy::Never, PullPolicy::Missing] {
        // The registry has none: the engine reports success and the image is what it was.
        let fake = Fake::engine(|call| match call.what.as_str() {
            IMAGE => image("amd64"),
            PULL => pulled(),
            _ => unexpected(call),
        });
        let error = fake.connect().await.ensure_image(&for_arm(policy), Sink::none()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::ImageUnavailable, Retry::Permanent), "{error}");
        let text = error.message();
        assert!(text.contains("linux/amd64") && text.contains("linux/arm64"), "{text}");
    }
}

#[tokio::test]
async fn credentials_go_with_the_pull_and_nowhere_else() {
    let login = RegistryLogin::Password { username: "robot".into(), password: Secret::new("hunter2") };
    let with_login = ImageRequest {
        credentials: Some(RegistryCredentials { server: Some("reg.example".into()), login }),
        ..request(PullPolicy::Always)
    };
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (IMAGE, _) => image("amd64"),
        (PULL, 0) => pulled(),
        (PULL, _) => fail(500, "unauthorized: incorrect username or password"),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    runtime.ensure_image(&with_login, Sink::none()).await.unwrap();
    let header = fake.calls(PULL)[0].header("x-registry-auth").expect("the header");
    let sent: Value = serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap();
    assert_eq!((&sent["username"], &sent["password"]), (&json!("robot"), &json!("hunter2")));
    assert_eq!(sent["serveraddress"], "reg.example");
    for call in fake.all() {
        assert!(!format!("{} {} {}", call.what, call.query, call.body).contains("hunter2"), "{call:?}");
    }
    let error = runtime.ensure_image(&with_login, Sink::none()).await.unwrap_err();
    assert!(!format!("{error} {error:?} {}", error.chain()).contains("hunter2"));
    assert!(error.to_string().contains("whether the login may pull it"), "{error}");
}

/// Progress goes to callers' own code.
#[tokio::test]
async fn a_caller_that_panics_takes_nobody_elses_image() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (IMAGE, 0 | 1) => fail(404, "No such image: img:1"),
        (IMAGE, _) => image("amd64"),
        (PULL, _) => pulled(),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let wanted = request(PullPolicy::Missing);
    let (one, other) = tokio::join!(
        runtime.ensure_image(&wanted, Sink::new(|_| panic!("a caller's own"))),
        runtime.ensure_image(&wanted, Sink::none())
    );
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(fake.count(PULL), 1);
}

/// A caller with the right login must not fail because another one had the wrong one.
#[tokio::test]
async fn callers_with_different_logins_do_not_share_a_fetch() {
    let fake = Fake::engine(|call| match (call.what.as_str(), call.nth) {
        (IMAGE, 0 | 1) => fail(404, "No such image: img:1"),
        (IMAGE, _) => image("amd64"),
        (PULL, _) if call.header("x-registry-auth").is_some_and(|h| h.len() > 10) => pulled(),
        (PULL, _) => fail(500, "unauthorized: authentication required"),
        _ => unexpected(call),
    });
    let runtime = fake.connect().await;
    let login = RegistryLogin::RegistryToken(Secret::new("token"));
    let with_login = ImageRequest {
        credentials: Some(RegistryCredentials { server: None, login }),
        ..request(PullPolicy::Missing)
    };
    let plain = request(PullPolicy::Missing);
    let (with, without) = tokio::join!(
        runtime.ensure_image(&with_login, Sink::none()),
        runtime.ensure_image(&plain, Sink::none())
    );
    with.unwrap();
    assert_eq!(without.unwrap_err().kind(), ErrorKind::ImageUnavailable);
    assert_eq!(fake.count(PULL), 2);
}
