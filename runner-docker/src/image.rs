//! Making sure that an image is there: look, fetch if wanted, look again. One fetch for many waiters.

mod pull;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use http::Method;
use runner_core::image::{
    ImageInfo, ImageProgress, ImageRequest, Platform, PullPolicy, RegistryCredentials, RegistryLogin,
};
use runner_core::{Error, ErrorKind, ImageRef, Result, Sink};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::json;

const OPERATION: &str = "make sure of the image";

type Fetch = BoxFuture<'static, Result<()>>;

/// The images of one engine.
#[derive(Debug)]
pub(crate) struct Images {
    engine: Arc<Engine>,
    /// The engine's own architecture.
    architecture: String,
    /// Fetches that go on. Whoever waits for one drives it; when nobody does any more it is dropped, and the engine
    /// stops pulling.
    fetches: Mutex<HashMap<Wanted, Running>>,
    /// Tells credentials apart without keeping them.
    hasher: RandomState,
}

/// What is fetched once: two callers with different credentials are not the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    image: ImageRef,
    platform: Option<Platform>,
    credentials: Option<u64>,
}

#[derive(Debug)]
struct Running {
    fetch: WeakShared<Fetch>,
    sinks: Sinks,
}

/// Everybody who wants to see the progress of one fetch.
type Sinks = Arc<Mutex<Vec<Sink<ImageProgress>>>>;

impl Images {
    pub(crate) fn new(engine: Arc<Engine>, architecture: &str) -> Self {
        Self {
            engine,
            architecture: short(architecture).to_owned(),
            fetches: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) async fn ensure(
        &self,
        request: &ImageRequest,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo> {
        let image = &request.image;
        let found = look(&self.engine, image).await?;
        match (request.policy, found) {
            (PullPolicy::Missing | PullPolicy::Never, Some(found)) if fits(&found, request) => {
                return Ok(self.checked(image, request, found));
            }
            (PullPolicy::Never, Some(found)) => return Err(mismatch(image, request, &found)),
            (PullPolicy::Never, None) => return Err(missing(image, "is not there and may not be fetched")),
            _ => {}
        }
        self.join(request, progress).await?;
        // The stream's end is a claim; the image is the fact.
        match look(&self.engine, image).await? {
            Some(found) if fits(&found, request) => Ok(self.checked(image, request, found)),
            Some(found) => Err(mismatch(image, request, &found)),
            None => Err(missing(image, "is not there, although the engine reported no failure")),
        }
    }

    /// Says so where an image will be emulated without anybody having asked for it.
    fn checked(&self, image: &ImageRef, request: &ImageRequest, found: ImageInfo) -> ImageInfo {
        let foreign = request.platform.is_none()
            && !found.architecture.is_empty()
            && !self.architecture.is_empty()
            && short(&found.architecture) != self.architecture;
        if foreign {
            tracing::warn!(
                image = image.as_str(),
                architecture = found.architecture,
                engine = self.architecture,
                "the image is for another architecture and will be slow, if it runs"
            );
        }
        found
    }

    /// The fetch that goes on for a request, or a new one.
    fn join(&self, request: &ImageRequest, progress: Sink<ImageProgress>) -> Shared<Fetch> {
        let wanted = Wanted {
            image: request.image.clone(),
            platform: request.platform.clone(),
            credentials: request.credentials.as_ref().map(|given| self.digest(given)),
        };
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.retain(|_, running| running.fetch.upgrade().is_some_and(|f| f.peek().is_none()));
        if let Some(running) = fetches.get(&wanted)
            && let Some(fetch) = running.fetch.upgrade()
        {
            running.sinks.lock().unwrap_or_else(PoisonError::into_inner).push(progress);
            return fetch;
        }
        let sinks: Sinks = Arc::new(Mutex::new(vec![progress]));
        let work = pull::pull(Arc::clone(&self.engine), request.clone(), Arc::clone(&sinks));
        let fetch = work.boxed().shared();
        if let Some(weak) = fetch.downgrade() {
            fetches.insert(wanted, Running { fetch: weak, sinks });
        }
        fetch
    }

    fn digest(&self, credentials: &RegistryCredentials) -> u64 {
        let (kind, name, secret) = match &credentials.login {
            RegistryLogin::Password { username, password } => (0, username.as_str(), password.expose()),
            RegistryLogin::IdentityToken(token) => (1, "", token.expose()),
            RegistryLogin::RegistryToken(token) => (2, "", token.expose()),
            _ => (3, "", ""),
        };
        self.hasher.hash_one((credentials.server.as_deref(), kind, name, secret))
    }
}

async fn look(engine: &Engine, image: &ImageRef) -> Result<Option<ImageInfo>> {
    let path = format!("/images/{image}/json");
    match engine.json::<json::Image>(Method::GET, &path, None, engine.budgets.read).await {
        Ok(found) => Ok(Some(ImageInfo {
            id: found.id,
            size: found.size,
            architecture: found.architecture,
            os: found.os,
        })),
        Err(EngineError::Status { code: 404, .. }) => Ok(None),
        Err(e) => Err(e.into_core(OPERATION)),
    }
}

/// The name of an architecture in the words of images: the kernel has others for the same.
fn short(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" | "x86" => "386",
        "armv6l" | "armv7l" => "arm",
        other => other,
    }
}

/// Whether an image is for the platform that was asked for. One that does not say what it is for is believed.
fn fits(found: &ImageInfo, request: &ImageRequest) -> bool {
    let same = |said: &str, wanted: &str| said.is_empty() || short(said) == short(wanted);
    request
        .platform
        .as_ref()
        .is_none_or(|wanted| same(&found.architecture, wanted.architecture()) && same(&found.os, wanted.os()))
}

fn missing(image: &ImageRef, what: &str) -> Error {
    Error::new(ErrorKind::ImageUnavailable, OPERATION, format!("{image} {what}"))
        .with_hint("pull or build the image first, or correct its name")
}

fn mismatch(image: &ImageRef, request: &ImageRequest, found: &ImageInfo) -> Error {
    let wanted = request.platform.as_ref().map_or("", Platform::as_str);
    let message = format!("{image} is for {}/{} and not for {wanted}", found.os, found.architecture);
    Error::new(ErrorKind::ImageUnavailable, OPERATION, message)
        .with_hint("get the image for that platform, or ask for another platform")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_fits_by_what_it_says() {
        let info = |os: &str, architecture: &str| ImageInfo {
            id: "sha256:0".into(),
            size: 0,
            architecture: architecture.into(),
            os: os.into(),
        };
        let for_platform = |platform: Option<&str>| ImageRequest {
            platform: platform.map(|p| p.parse().unwrap()),
            ..ImageRequest::new("a".parse().unwrap(), PullPolicy::Missing)
        };
        for (os, architecture, platform, want) in [
            ("linux", "amd64", None, true),
            ("linux", "arm64", None, true),
            ("linux", "amd64", Some("linux/amd64"), true),
            ("linux", "amd64", Some("linux/x86_64"), true),
            ("linux", "arm64", Some("linux/arm64/v8"), true),
            ("linux", "amd64", Some("linux/arm64"), false),
            ("windows", "amd64", Some("linux/amd64"), false),
            ("", "", Some("linux/arm64"), true),
        ] {
            let found = info(os, architecture);
            assert_eq!(fits(&found, &for_platform(platform)), want, "{os}/{architecture} {platform:?}");
        }
    }
}
