//! Which images the engine has, and fetching those it has not.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use runner_core::image::{ImageInfo, ImageProgress, ImageRef, ImageRequest, Platform, PullPolicy};
use runner_core::{Error, ErrorKind, Result, Sink};

use super::FakeRuntime;
use crate::faults::lock;

/// What a registry says of an image.
#[derive(Clone, Copy)]
enum Registry {
    /// It has it; fetching takes so long.
    Has(Duration),
    /// It has not.
    HasNot,
    /// It does not answer.
    IsAway,
}

struct Entry {
    local: bool,
    registry: Registry,
    /// `linux/amd64` if nobody has spoken of it.
    platform: Option<Platform>,
    pulls: usize,
}

/// One that nobody has spoken of is on the engine, and fetched in no time.
impl Default for Entry {
    fn default() -> Self {
        Self { local: true, registry: Registry::Has(Duration::ZERO), platform: None, pulls: 0 }
    }
}

impl Entry {
    fn os(&self) -> &str {
        self.platform.as_ref().map_or("linux", Platform::os)
    }

    fn architecture(&self) -> &str {
        self.platform.as_ref().map_or("amd64", Platform::architecture)
    }

    fn suits(&self, wanted: &Platform) -> bool {
        (self.os(), self.architecture()) == (wanted.os(), wanted.architecture())
    }
}

/// An image that somebody wanted. Of credentials it says only whether there were any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedImage {
    /// The image.
    pub image: ImageRef,
    /// When it was to be fetched.
    pub policy: PullPolicy,
    /// The platform it was to be for.
    pub platform: Option<Platform>,
    /// Whether credentials were given.
    pub with_credentials: bool,
}

#[derive(Default)]
pub(super) struct Images {
    known: Mutex<HashMap<ImageRef, Entry>>,
    wanted: Mutex<Vec<WantedImage>>,
    /// Held while an image is fetched, so that a second caller waits for the first one's result. One for all
    /// images is enough for a fake.
    fetching: tokio::sync::Mutex<()>,
}

/// As large as any other made-up figure.
const SIZE: u64 = 100_000_000;

impl Images {
    fn with<T>(&self, image: &ImageRef, look: impl FnOnce(&mut Entry) -> T) -> T {
        look(lock(&self.known).entry(image.clone()).or_default())
    }

    /// Refuses to create from an image that is not on the engine, or not for this platform.
    pub(super) fn require(
        &self,
        operation: &'static str,
        image: &ImageRef,
        platform: Option<&Platform>,
    ) -> Result<()> {
        self.with(image, |entry| {
            if !entry.local {
                return Err(unavailable(operation, format!("no such image: {image}")));
            }
            check_platform(operation, image, entry, platform)
        })
    }

    pub(super) async fn ensure(
        &self,
        request: &ImageRequest,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo> {
        let operation = "ensure the image";
        let ImageRequest { image, policy, platform, credentials } = request;
        lock(&self.wanted).push(WantedImage {
            image: image.clone(),
            policy: *policy,
            platform: platform.clone(),
            with_credentials: credentials.is_some(),
        });
        let _one_at_a_time = self.fetching.lock().await;
        let (local, registry) = self.with(image, |entry| (entry.local, entry.registry));
        let fetch = match policy {
            PullPolicy::Always => true,
            PullPolicy::Missing => !local,
            PullPolicy::Never if local => false,
            PullPolicy::Never => return Err(unavailable(operation, format!("no such image: {image}"))),
        };
        if fetch {
            let takes = match registry {
                Registry::Has(takes) => takes,
                Registry::HasNot => {
                    return Err(unavailable(operation, format!("no such image: {image}")));
                }
                Registry::IsAway => {
                    let message = format!("the registry of {image} does not answer");
                    return Err(unavailable(operation, message).temporary());
                }
            };
            let step = |status: &str, done| ImageProgress {
                status: status.to_owned(),
                layer: Some("0123456789ab".to_owned()),
                bytes: Some((done, SIZE)),
            };
            progress.send(step("Downloading", 0));
            tokio::time::sleep(takes).await;
            progress.send(step("Pull complete", SIZE));
            self.with(image, |entry| {
                entry.local = true;
                entry.pulls += 1;
            });
        }
        self.with(image, |entry| {
            check_platform(operation, image, entry, platform.as_ref())?;
            Ok(ImageInfo {
                id: format!("sha256:{}", "0".repeat(64)),
                size: SIZE,
                architecture: entry.architecture().to_owned(),
                os: entry.os().to_owned(),
            })
        })
    }
}

fn check_platform(
    operation: &'static str,
    image: &ImageRef,
    entry: &Entry,
    wanted: Option<&Platform>,
) -> Result<()> {
    let Some(wanted) = wanted.filter(|wanted| !entry.suits(wanted)) else { return Ok(()) };
    let message = format!("{image} is for {}/{}, not for {wanted}", entry.os(), entry.architecture());
    Err(unavailable(operation, message))
}

fn unavailable(operation: &'static str, message: String) -> Error {
    Error::new(ErrorKind::ImageUnavailable, operation, message)
}

impl FakeRuntime {
    /// An image is neither on the engine nor anywhere to fetch it from.
    pub fn missing_image(&self, image: &ImageRef) {
        self.shared.images.with(image, |entry| {
            entry.local = false;
            entry.registry = Registry::HasNot;
        });
    }

    /// An image is not on the engine and takes this long to fetch.
    pub fn remote_image(&self, image: &ImageRef, takes: Duration) {
        self.shared.images.with(image, |entry| {
            entry.local = false;
            entry.registry = Registry::Has(takes);
        });
    }

    /// An image is on the engine if it was, and fetching it fails, which may pass.
    pub fn registry_away(&self, image: &ImageRef) {
        self.shared.images.with(image, |entry| entry.registry = Registry::IsAway);
    }

    /// An image is for this platform and no other; `linux/amd64` unless said otherwise.
    pub fn image_platform(&self, image: &ImageRef, platform: Platform) {
        self.shared.images.with(image, |entry| entry.platform = Some(platform));
    }

    /// How often an image was fetched.
    pub fn pulls(&self, image: &ImageRef) -> usize {
        self.shared.images.with(image, |entry| entry.pulls)
    }

    /// What `ensure_image` was asked for, in order.
    pub fn wanted_images(&self) -> Vec<WantedImage> {
        lock(&self.shared.images.wanted).clone()
    }
}
