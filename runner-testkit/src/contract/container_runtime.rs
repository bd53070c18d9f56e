//! The contract of [`ContainerRuntime`].

use std::fmt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use runner_core::container::{Labels, StopOptions, StopOutcome, StopReason};
use runner_core::container_runtime::Feature;
use runner_core::image::{ImageRef, ImageRequest, PullPolicy};
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, ContainerState, ErrorKind, Result, Sink};

use super::support::{fails, ok, within};

mod ends;
mod events;
mod files;
mod finding;
mod limits;
mod running;

/// Makes a spec for a container of the given name.
pub type MakeSpec = Arc<dyn Fn(&str) -> ContainerSpec + Send + Sync>;

/// What the checks need from the one who knows the engine.
#[derive(Clone)]
pub struct RuntimeFixture {
    /// An image that the engine has.
    pub image: ImageRef,
    /// An image that it has not, and that cannot be fetched.
    pub missing_image: ImageRef,
    /// A container that runs until it is stopped, and publishes at least one port.
    pub stays: MakeSpec,
    /// A container that writes [`writes`](Self::writes) and exits with code 7, within a second or so of its start.
    pub exits: MakeSpec,
    /// A line that `exits` writes to its standard output.
    pub writes: String,
    /// A container that ignores its stop signal from when it has written [`writes`](Self::writes), and runs until
    /// it is killed. Without one, no kill after a grace is checked.
    pub ignores_term: Option<MakeSpec>,
    /// The absolute path of a file of a few bytes to a few KiB that the running `stays` container has and the
    /// runtime can read. Without one, only failures of `copy_out` are checked.
    pub readable_file: Option<PathBuf>,
    /// The absolute path of a directory of the running `stays` container that it can keep files in: one that is
    /// mounted. Without one, only failures of `copy_in` are checked.
    pub writable_directory: Option<PathBuf>,
    /// How long any one step may take.
    pub patience: Duration,
}

impl fmt::Debug for RuntimeFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeFixture").field("image", &self.image).finish_non_exhaustive()
    }
}

/// The label by which the checks find, and at the end remove, their own containers.
const LABEL: &str = "runner-testkit.contract";

struct Lab {
    runtime: Arc<dyn ContainerRuntime>,
    fixture: RuntimeFixture,
    run: String,
}

/// Runs all checks, one after the other.
///
/// Its containers carry a label of their own and are removed at the end, whether a check failed or not; nothing
/// else on the engine is touched.
///
/// # Panics
///
/// At the first promise that is broken.
pub async fn all(runtime: Arc<dyn ContainerRuntime>, fixture: RuntimeFixture) {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    // Several test processes may share one engine.
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let place = RUNS.fetch_add(1, Ordering::Relaxed);
    let run = format!("contract-{}-{}-{place}", std::process::id(), since_epoch.subsec_nanos());
    let lab = Lab { runtime, fixture, run };
    let outcome = AssertUnwindSafe(lab.check_all()).catch_unwind().await;
    let removed = lab.remove_all().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    ok("removing the contract's containers", removed);
}

impl Lab {
    async fn check_all(&self) {
        self.the_engine_says_what_it_is().await;
        self.images_are_there_or_unavailable().await;
        self.wait_goes_through_start_to_the_exit().await;
        self.what_was_written_is_read().await;
        self.start_is_idempotent_and_publishes_on_loopback().await;
        self.stop_is_idempotent_and_says_what_it_did().await;
        self.what_ignores_its_signal_is_killed().await;
        self.a_restart_shows_in_the_time_of_the_start().await;
        self.pause_and_unpause_are_idempotent().await;
        self.a_frozen_one_is_stopped_too().await;
        self.limits_can_be_changed().await;
        self.only_what_runs_is_sampled().await;
        self.events_tell_what_happens().await;
        self.nothing_illegal_is_copied_in().await;
        self.what_is_there_is_copied_out().await;
        self.what_is_copied_in_is_there().await;
        self.remove_is_idempotent_and_complete().await;
        self.a_wait_outlives_no_container().await;
        self.names_are_unique().await;
        self.the_unknown_is_not_found().await;
        self.lists_are_exact().await;
        self.illegal_specs_create_nothing().await;
    }

    fn labels(&self) -> Labels {
        Labels::from([(LABEL.to_owned(), self.run.clone())])
    }

    fn spec(&self, make: &MakeSpec, name: &str) -> ContainerSpec {
        let mut spec = make(&format!("{}-{name}", self.run));
        spec.labels.extend(self.labels());
        spec
    }

    async fn create(&self, make: &MakeSpec, name: &str) -> ContainerId {
        ok("create", self.runtime.create(&self.spec(make, name)).await)
    }

    async fn create_staying(&self, name: &str) -> ContainerId {
        self.create(&self.fixture.stays, name).await
    }

    /// Within the fixture's patience.
    async fn soon<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        within(self.fixture.patience, what, future).await
    }

    async fn state(&self, id: &ContainerId) -> ContainerState {
        ok("inspect", self.runtime.inspect(id).await).state
    }

    async fn stop(&self, id: &ContainerId, why: StopReason) -> Result<StopOutcome> {
        let options = StopOptions::new(Duration::from_secs(1)).because(why);
        self.soon("stop", self.runtime.stop(id, options)).await
    }

    async fn start(&self, id: &ContainerId) {
        ok("start", self.soon("start", self.runtime.start(id)).await);
    }

    /// A staying container that runs.
    async fn staying(&self, name: &str) -> ContainerId {
        let id = self.create_staying(name).await;
        self.start(&id).await;
        id
    }

    /// Whether the engine says that it can serve these calls.
    async fn can(&self, feature: Feature) -> bool {
        !ok("info", self.runtime.info().await).unsupported.contains(&feature)
    }

    async fn remove(&self, id: &ContainerId) {
        ok("remove", self.soon("remove", self.runtime.remove(id)).await);
    }

    /// How many containers of this run there are.
    async fn count(&self) -> usize {
        ok("list", self.runtime.list(&self.labels()).await).len()
    }

    async fn remove_all(&self) -> Result<()> {
        for container in self.runtime.list(&self.labels()).await? {
            self.runtime.remove(&container.id).await?;
        }
        Ok(())
    }

    async fn the_engine_says_what_it_is(&self) {
        let info = ok("info", self.runtime.info().await);
        assert!(!info.engine.is_empty(), "the engine must have a name");
        assert!(!info.api_version.is_empty(), "the engine must tell the version of its interface");
        assert!(!info.architecture.is_empty(), "the engine must tell its architecture");
    }

    async fn images_are_there_or_unavailable(&self) {
        let RuntimeFixture { image, missing_image, stays, .. } = &self.fixture;
        let ensure = async |image: &ImageRef| {
            let request = ImageRequest::new(image.clone(), PullPolicy::Never);
            self.runtime.ensure_image(&request, Sink::none()).await
        };
        let info = ok("ensure_image of an image that is there", ensure(image).await);
        assert!(!info.id.is_empty(), "an image must have an id");
        fails(
            "ensure_image(Never) of a missing image",
            ensure(missing_image).await,
            ErrorKind::ImageUnavailable,
        );
        let mut spec = self.spec(stays, "no-image");
        spec.image = missing_image.clone();
        let created = self.runtime.create(&spec).await;
        fails("create from a missing image", created, ErrorKind::ImageUnavailable);
        assert_eq!(self.count().await, 0, "a create that failed must leave nothing");
    }
}
