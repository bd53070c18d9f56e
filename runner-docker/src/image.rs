//! Making sure that an image is there: look, fetch if allowed, look again. One fetch for many waiters.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use futures::stream::StreamExt;
use http::Method;
use runner_core::image::{ImageInfo, ImageProgress, PullPolicy};
use runner_core::{Error, ErrorKind, ImageRef, Result, Sink};
use tokio::time::timeout;

use crate::engine::Engine;
use crate::error::EngineError;
use crate::json;

const OPERATION: &str = "make sure of the image";

type Fetch = BoxFuture<'static, Result<()>>;

/// The images of one engine.
#[derive(Debug)]
pub(crate) struct Images {
    engine: Arc<Engine>,
    /// Fetches that go on, by reference. Whoever waits for one drives it; when nobody does any more it is dropped,
    /// and the engine stops pulling.
    fetches: Mutex<HashMap<ImageRef, Running>>,
}

#[derive(Debug)]
struct Running {
    fetch: WeakShared<Fetch>,
    sinks: Sinks,
}

/// Everybody who wants to see the progress of one fetch.
type Sinks = Arc<Mutex<Vec<Sink<ImageProgress>>>>;

impl Images {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, fetches: Mutex::new(HashMap::new()) }
    }

    pub(crate) async fn ensure(
        &self,
        image: &ImageRef,
        policy: PullPolicy,
        progress: Sink<ImageProgress>,
    ) -> Result<ImageInfo> {
        if let Some(found) = look(&self.engine, image).await? {
            return Ok(found);
        }
        if policy == PullPolicy::Never {
            return Err(missing(image, "is not there and may not be fetched"));
        }
        self.join(image, progress).await?;
        // The stream's end is a claim; the image is the fact.
        look(&self.engine, image)
            .await?
            .ok_or_else(|| missing(image, "is not there, although the engine reported no failure"))
    }

    /// The fetch that goes on for a reference, or a new one.
    fn join(&self, image: &ImageRef, progress: Sink<ImageProgress>) -> Shared<Fetch> {
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.retain(|_, running| running.fetch.upgrade().is_some_and(|f| f.peek().is_none()));
        if let Some(running) = fetches.get(image)
            && let Some(fetch) = running.fetch.upgrade()
        {
            running.sinks.lock().unwrap_or_else(PoisonError::into_inner).push(progress);
            return fetch;
        }
        let sinks: Sinks = Arc::new(Mutex::new(vec![progress]));
        let fetch = pull(Arc::clone(&self.engine), image.clone(), Arc::clone(&sinks)).boxed().shared();
        if let Some(weak) = fetch.downgrade() {
            fetches.insert(image.clone(), Running { fetch: weak, sinks });
        }
        fetch
    }
}

async fn look(engine: &Engine, image: &ImageRef) -> Result<Option<ImageInfo>> {
    let path = format!("/images/{image}/json");
    match engine.json::<json::Image>(Method::GET, &path, None, engine.budgets.read).await {
        Ok(found) => Ok(Some(ImageInfo { id: found.id, size: found.size, architecture: found.architecture })),
        Err(EngineError::Status { code: 404, .. }) => Ok(None),
        Err(e) => Err(e.into_core(OPERATION)),
    }
}

async fn pull(engine: Arc<Engine>, image: ImageRef, sinks: Sinks) -> Result<()> {
    tracing::info!(image = image.as_str(), "fetching the image");
    let options = CreateImageOptionsBuilder::default().from_image(image.as_str()).build();
    let mut steps = pin!(engine.docker().create_image(Some(options), None, None));
    let silence = engine.budgets.pull_idle;
    loop {
        let step = match timeout(silence, steps.next()).await {
            Ok(Some(Ok(step))) => step,
            Ok(Some(Err(e))) => return Err(failed(&image, EngineError::of_bollard(e, engine.host()))),
            Ok(None) => return Ok(()),
            Err(_) => return Err(failed(&image, EngineError::Timeout { after: silence })),
        };
        let step = progress(step);
        for sink in sinks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sink.send(step.clone());
        }
    }
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
fn failed(image: &ImageRef, error: EngineError) -> Error {
    let error = match error {
        EngineError::Status { code, message } if code != 503 => EngineError::Pull { message },
        other => other,
    };
    error.into_core_about(OPERATION, &format!("{image} cannot be fetched: "))
}

fn missing(image: &ImageRef, what: &str) -> Error {
    Error::new(ErrorKind::ImageUnavailable, OPERATION, format!("{image} {what}"))
        .with_hint("pull or build the image first, or correct its name")
}
