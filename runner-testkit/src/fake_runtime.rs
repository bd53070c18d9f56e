//! A container engine in memory, that fails, stalls and crashes on request.

mod clock;
mod container;
mod engine;
mod events;
mod exits;
mod files;
mod images;
mod limits;
mod logs;
mod meter;
mod op;
mod port;
mod restart;
mod script;
mod stops;

use std::fmt;
use std::sync::{Arc, Mutex};

use runner_core::{ContainerInfo, ContainerSpec};

use self::engine::Engine;
pub use self::events::Missed;
pub use self::exits::{child_out_of_memory, crashed, engine_restart, exited, killed_by_other, out_of_memory};
use self::images::Images;
pub use self::images::WantedImage;
pub use self::meter::Load;
pub use self::op::Op;
pub use self::script::Process;
use crate::faults::{Faults, fault_methods, lock};

/// Something that a test wants to know or do when a container starts or ends.
type Hook = Arc<dyn Fn(&ContainerInfo) + Send + Sync>;

#[derive(Default)]
struct Hooks {
    start: Vec<Hook>,
    exit: Vec<Hook>,
}

struct Shared {
    faults: Faults<Op>,
    engine: Mutex<Engine>,
    images: Images,
    hooks: Mutex<Hooks>,
}

/// A [`ContainerRuntime`](runner_core::ContainerRuntime) that keeps containers in memory.
///
/// Clones are handles to the same engine: a test keeps one and gives another away. Every image is there, every
/// container runs until it is stopped, and a stop works at once, until the test says otherwise. All time passes on
/// tokio's clock, so a test on a paused clock takes none.
///
/// ```
/// use runner_core::{ContainerRuntime, ContainerSpec, ErrorKind, Error, container::UserSpec};
/// use runner_testkit::fake_runtime::{FakeRuntime, Op, exited};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> runner_core::Result<()> {
/// let engine = FakeRuntime::new();
/// let spec = ContainerSpec::new("demo", "img".parse()?, UserSpec { uid: 10001, gid: 10001 });
///
/// engine.fail_next(Op::Create, Error::new(ErrorKind::HostResources, "create", "no space left on device"));
/// assert!(engine.create(&spec).await.is_err());
///
/// let id = engine.create(&spec).await?;
/// engine.start(&id).await?;
/// engine.crash(&id, exited(137));
/// assert_eq!(engine.wait(&id).await?.code, 137);
/// assert_eq!(engine.ops(), [Op::Create, Op::Create, Op::Start, Op::Wait]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakeRuntime {
    shared: Arc<Shared>,
}

fault_methods!(FakeRuntime, Op);

impl FakeRuntime {
    /// An engine without containers.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                faults: Faults::default(),
                engine: Mutex::new(Engine::default()),
                images: Images::default(),
                hooks: Mutex::default(),
            }),
        }
    }

    fn faults(&self) -> &Faults<Op> {
        &self.shared.faults
    }

    /// All containers in the order in which they were created, without a logged call.
    pub fn containers(&self) -> Vec<ContainerInfo> {
        lock(&self.shared.engine).infos().collect()
    }

    /// The spec of every container that was ever created, in order; removed ones are kept.
    pub fn created_specs(&self) -> Vec<ContainerSpec> {
        lock(&self.shared.engine).created.clone()
    }

    /// Whether no container is left.
    pub fn is_empty(&self) -> bool {
        lock(&self.shared.engine).is_empty()
    }

    /// Whether the network that the first `create` makes is there; `release` of the trait gives it back.
    pub fn has_network(&self) -> bool {
        lock(&self.shared.engine).network
    }
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeRuntime")
    }
}
