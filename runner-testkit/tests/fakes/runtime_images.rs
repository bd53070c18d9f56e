//! The fake engine's images.

use std::sync::{Arc, Mutex};

use runner_core::image::{ImageRequest, PullPolicy, RegistryCredentials, RegistryLogin};
use runner_core::{ContainerRuntime, ErrorKind, ImageRef, Retry, Secret, Sink};
use runner_testkit::fake_runtime::FakeRuntime;
use tokio::time::Instant;

use crate::boxes::{SECOND, spec};

#[tokio::test(start_paused = true)]
async fn an_image_is_fetched_once_for_all_who_ask() {
    let engine = FakeRuntime::new();
    let image: ImageRef = "remote".parse().unwrap();
    engine.remote_image(&image, 3 * SECOND);
    let never = engine.ensure_image(&ImageRequest::new(image.clone(), PullPolicy::Never), Sink::none()).await;
    assert_eq!(never.unwrap_err().kind(), ErrorKind::ImageUnavailable);
    let steps: Arc<Mutex<u32>> = Arc::default();
    let count = Arc::clone(&steps);
    let sink = Sink::new(move |_| *count.lock().unwrap() += 1);
    let began = Instant::now();
    let wanted = ImageRequest::new(image.clone(), PullPolicy::Missing);
    let fetch = || engine.ensure_image(&wanted, sink.clone());
    let (one, two) = tokio::join!(fetch(), fetch());
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!((began.elapsed(), engine.pulls(&image)), (3 * SECOND, 1));
    assert_eq!(*steps.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn always_means_always_and_a_registry_that_is_away_fails_it() {
    let engine = FakeRuntime::new();
    let image: ImageRef = "moving".parse().unwrap();
    engine.remote_image(&image, 3 * SECOND);
    let ensure = async |policy| {
        let request = ImageRequest::new(image.clone(), policy);
        engine.ensure_image(&request, Sink::none()).await
    };
    let began = Instant::now();
    ensure(PullPolicy::Always).await.unwrap();
    ensure(PullPolicy::Always).await.unwrap();
    ensure(PullPolicy::Missing).await.unwrap();
    assert_eq!((began.elapsed(), engine.pulls(&image)), (6 * SECOND, 2));
    engine.registry_away(&image);
    ensure(PullPolicy::Missing).await.unwrap();
    let error = ensure(PullPolicy::Always).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::ImageUnavailable, Retry::Temporary));
}

#[tokio::test(start_paused = true)]
async fn an_image_of_another_platform_is_not_available() {
    let engine = FakeRuntime::new();
    let mut spec = spec("one");
    engine.image_platform(&spec.image, "linux/arm64/v8".parse().unwrap());
    for (platform, suits) in [("linux/arm64", true), ("linux/amd64", false), ("plan9/arm64", false)] {
        spec.platform = Some(platform.parse().unwrap());
        let wanted = ImageRequest {
            platform: spec.platform.clone(),
            ..ImageRequest::new(spec.image.clone(), PullPolicy::Missing)
        };
        let ensured = engine.ensure_image(&wanted, Sink::none()).await;
        let created = engine.create(&spec).await;
        if suits {
            let info = ensured.unwrap();
            assert_eq!((info.os.as_str(), info.architecture.as_str()), ("linux", "arm64"));
            created.unwrap();
        } else {
            assert_eq!(ensured.unwrap_err().kind(), ErrorKind::ImageUnavailable, "{platform}");
            assert_eq!(created.unwrap_err().kind(), ErrorKind::ImageUnavailable, "{platform}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_credentials_it_is_kept_only_that_there_were_some() {
    let engine = FakeRuntime::new();
    let open = ImageRequest::new("a".parse().unwrap(), PullPolicy::Always);
    let login = RegistryLogin::IdentityToken(Secret::new("hunter2"));
    let closed =
        ImageRequest { credentials: Some(RegistryCredentials { server: None, login }), ..open.clone() };
    for request in [&open, &closed] {
        engine.ensure_image(request, Sink::none()).await.unwrap();
    }
    let given: Vec<bool> = engine.wanted_images().iter().map(|wanted| wanted.with_credentials).collect();
    assert_eq!(given, [false, true]);
}
