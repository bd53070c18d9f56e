//! One fetch of one image, with another try where that may help.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, PoisonError};

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::stream::StreamExt;
use runner_core::image::{ImageProgress, ImageRequest, Platform, RegistryCredentials, RegistryLogin};
use runner_core::{Error, ErrorKind, Result, Retry};
use tokio::time::timeout;

use super::{OPERATION, Sinks};
use crate::backoff::Backoff;
use crate::engine::Engine;
use crate::error::EngineError;

/// Tries in all. A registry's hiccup passes; what lasts longer is for the caller to know.
const ATTEMPTS: usize = 3;

/// Fetches, and tries again after what may pass. Bounded in all, and by the longest silence.
pub(super) async fn pull(engine: Arc<Engine>, request: ImageRequest, sinks: Sinks) -> Result<()> {
    let image = &request.image;
    tracing::info!(image = image.as_str(), "fetching the image");
    let limits = &engine.budgets;
    let mut backoff = Backoff::new(limits.pull_pause, limits.pull_pause * 8, limits.pull);
    let mut attempt = 1;
    loop {
        let left = backoff.left();
        let error = match timeout(left, once(&engine, &request, &sinks)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => e,
            Err(_) => EngineError::Timeout { after: engine.budgets.pull },
        };
        let error = failed(&request, error);
        let again = error.retry() == Retry::Temporary && attempt < ATTEMPTS;
        if !again || !backoff.pause().await {
            return Err(error);
        }
        tracing::warn!(image = image.as_str(), error = error.chain(), attempt, "a pull failed; trying again");
        attempt += 1;
    }
}

async fn once(engine: &Engine, request: &ImageRequest, sinks: &Sinks) -> Result<(), EngineError> {
    let platform = request.platform.as_ref().map_or("", Platform::as_str);
    let options =
        CreateImageOptionsBuilder::default().from_image(request.image.as_str()).platform(platform).build();
    let login = request.credentials.as_ref().map(|given| login(given, request)).transpose()?;
    let mut steps = pin!(engine.docker().create_image(Some(options), None, login));
    let silence = engine.budgets.pull_idle;
    loop {
        match timeout(silence, steps.next()).await {
            Ok(Some(Ok(step))) => {
                let step = progress(step);
                // Callers' own code, in a future that all of them share: one that panics must not take the others'
                // image with it, and is not called again.
                sinks
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .retain(|sink| catch_unwind(AssertUnwindSafe(|| sink.send(step.clone()))).is_ok());
            }
            Ok(Some(Err(e))) => return Err(EngineError::of_bollard(e, engine.host())),
            Ok(None) => return Ok(()),
            Err(_) => return Err(EngineError::Timeout { after: silence }),
        }
    }
}

fn login(given: &RegistryCredentials, request: &ImageRequest) -> Result<DockerCredentials, EngineError> {
    let server = given.server.clone().or_else(|| registry(request.image.as_str()).map(str::to_owned));
    let mut login = DockerCredentials { serveraddress: server, ..DockerCredentials::default() };
    match &given.login {
        RegistryLogin::Password { username, password } => {
            login.username = Some(username.clone());
            login.password = Some(password.expose().to_owned());
        }
        RegistryLogin::IdentityToken(token) => login.identitytoken = Some(token.expose().to_owned()),
        RegistryLogin::RegistryToken(token) => login.registrytoken = Some(token.expose().to_owned()),
        _ => {
            let message = "this kind of login is not known to a Docker engine".to_owned();
            return Err(EngineError::Decode { message });
        }
    }
    Ok(login)
}

/// The registry in an image's name; `None` for the engine's own default. What comes before the first slash is a
/// registry if it has a dot or a port or is `localhost`, as engines read it.
fn registry(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(first)
}

fn progress(step: CreateImageInfo) -> ImageProgress {
    let bytes = step.progress_detail.and_then(|detail| {
        let done = u64::try_from(detail.current?).ok()?;
        let all = u64::try_from(detail.total?).ok()?;
        Some((done, all))
    });
    ImageProgress { status: step.status.unwrap_or_default(), layer: step.id, bytes }
}

/// A pull that failed. Registries' failures arrive as a status before the stream or as an item inside it.
fn failed(request: &ImageRequest, error: EngineError) -> Error {
    let error = match error {
        EngineError::Status { code, message } if code != 503 => EngineError::Pull { message },
        other => other,
    };
    let error = error.into_core_about(OPERATION, &format!("{} cannot be fetched: ", request.image));
    // Whoever brought a login knows that it was refused, and need not be told to bring one.
    let refused = error.kind() == ErrorKind::ImageUnavailable && error.retry() == Retry::Permanent;
    if refused && request.credentials.is_some() {
        return error.with_hint("check the name, and whether the login may pull it");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_what_looks_like_a_host() {
        for (image, want) in [
            ("a:latest", None),
            ("library/a:latest", None),
            ("reg.example/a:1", Some("reg.example")),
            ("localhost/a:1", Some("localhost")),
            ("host:5000/a/b:1", Some("host:5000")),
        ] {
            assert_eq!(registry(image), want, "{image}");
        }
    }
}
