//! Which images the engine has, and fetching those it has not.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use runner_core::image::{ImageInfo, ImageProgress, ImageRef, PullPolicy};
use runner_core::{Error, ErrorKind, Result, Sink};

use crate::faults::lock;

/// Where an image is; one that nobody has spoken of is on the engine.
#[derive(Clone, Copy)]
enum Place {
    Nowhere,
    Remote(Duration),
    Local,
}

#[derive(Default)]
struct Entry {
    place: Option<Place>,
    pulls: usize,
}

#[derive(Default)]
pub(super) struct Images {
    known: Mutex<HashMap<ImageRef, Entry>>,
    /// Held while an image is fetched, so that a second caller waits for the first one's result. One for all
    /// images is enough for a fake.
    fetching: tokio::sync::Mutex<()>,
}

impl Images {
    fn place(&self, image: &ImageRef) -> Place {
        lock(&self.known).get(image).and_then(|e| e.place).unwrap_or(Place::Local)
    }

    fn set(&self, image: &ImageRef, place: Place) {
        lock(&self.known).entry(image.clone()).or_default().place = Some(place);
    }

    pub(super) fn set_missing(&self, image: &ImageRef) {
        self.set(image, Place::Nowhere);
    }

    pub(super) fn set_remote(&self, image: &ImageRef, takes: Duration) {
        self.set(image, Place::Remote(takes));
    }

    pub(super) fn pulls(&self, image: &ImageRef) -> usize {
        lock(&self.known).get(image).map_or(0, |e| e.pulls)
    }

    /// Refuses to create from an image that is not on the engine.
    pub(super) fn require(&self, operation: &'static str, image: &ImageRef) -> Result<()> {
        match self.place(image) {
            Place::Local => Ok(()),
            Place::Nowhere | Place::Remote(_) => Err(unavailable(operation, image)),
        }
    }

    pub(super) async fn ensure(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo> {
        let _one_at_a_time = self.fetching.lock().await;
        match (self.place(image), policy) {
            (Place::Local, _) => {}
            (Place::Remote(takes), PullPolicy::Missing) => {
                let step = |status: &str, done| ImageProgress {
                    status: status.to_owned(),
                    layer: Some("0123456789ab".to_owned()),
                    bytes: Some((done, SIZE)),
                };
                progress.send(step("Downloading", 0));
                tokio::time::sleep(takes).await;
                progress.send(step("Pull complete", SIZE));
                let mut known = lock(&self.known);
                let entry = known.entry(image.clone()).or_default();
                entry.place = Some(Place::Local);
                entry.pulls += 1;
            }
            (Place::Nowhere, _) | (Place::Remote(_), PullPolicy::Never) => {
                return Err(unavailable("ensure the image", image));
            }
        }
        Ok(ImageInfo {
            id: format!("sha256:{}", "0".repeat(64)),
            size: SIZE,
            architecture: "x86_64".to_owned(),
        })
    }
}

/// As large as any other made-up figure.
const SIZE: u64 = 100_000_000;

fn unavailable(operation: &'static str, image: &ImageRef) -> Error {
    Error::new(ErrorKind::ImageUnavailable, operation, format!("no such image: {image}"))
}
