//! What containers use: counters that grow on tokio's clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use runner_core::resources::Resources;
use runner_core::stats::{ContainerStats, MemoryUse, Traffic};
use runner_core::{ContainerId, ContainerInfo};
use tokio::time::Instant;

use super::FakeRuntime;
use crate::faults::lock;

const MIB: u64 = 1024 * 1024;
const NANOS: u128 = 1_000_000_000;

/// Changes a sample before it is given out. A test's own code: never called under a lock.
pub(super) type Adjust = Arc<dyn Fn(&ContainerInfo, ContainerStats) -> ContainerStats + Send + Sync>;

/// What the processes of a container use while it runs and is not frozen. Memory and processes stay while it is
/// frozen; everything else then stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// CPU in thousandths of a core; never more than the container's limit is used.
    pub cpu_millis: u32,
    /// Memory that counts, in bytes.
    pub memory_bytes: u64,
    /// File pages on top of that, which the kernel would give up first.
    pub cache_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Bytes a second over the network.
    pub network: Traffic,
    /// Bytes a second to and from disks.
    pub disk: Traffic,
}

impl Default for Load {
    /// About an idle server.
    fn default() -> Self {
        Self {
            cpu_millis: 10,
            memory_bytes: 235 * MIB,
            cache_bytes: 16 * MIB,
            pids: 20,
            network: Traffic { received: 1000, sent: 500 },
            disk: Traffic { received: 0, sent: 4096 },
        }
    }
}

/// Rates summed up over time. Each is kept in its rate's unit times nanoseconds, so that nothing is rounded away
/// however often it is looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    cpu: u128,
    network: [u128; 2],
    disk: [u128; 2],
}

/// One container's counters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter {
    load: Load,
    sums: Sums,
    /// Up to when they are summed up, while they grow.
    counted: Option<Instant>,
}

impl Meter {
    pub(super) fn new(load: Load) -> Self {
        Self { load, sums: Sums::default(), counted: None }
    }

    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    /// Begins anew, as a container does that is started.
    pub(super) fn restart(&mut self) {
        self.sums = Sums::default();
        self.counted = Some(Instant::now());
    }

    /// To be called before anything changes that a rate depends on.
    pub(super) fn settle(&mut self, limits: &Resources) {
        let now = Instant::now();
        let Some(counted) = &mut self.counted else { return };
        let nanos = now.duration_since(*counted).as_nanos();
        *counted = now;
        let cpu = self.load.cpu_millis.min(limits.cpu_millis);
        self.sums.cpu += u128::from(cpu) * nanos;
        for (sum, rate) in
            [(&mut self.sums.network, self.load.network), (&mut self.sums.disk, self.load.disk)]
        {
            let [received, sent] = sum;
            *received += u128::from(rate.received) * nanos;
            *sent += u128::from(rate.sent) * nanos;
        }
    }

    pub(super) fn hold(&mut self, limits: &Resources) {
        self.settle(limits);
        self.counted = None;
    }

    pub(super) fn go_on(&mut self) {
        self.counted = Some(Instant::now());
    }

    pub(super) fn set_load(&mut self, load: Load, limits: &Resources) {
        self.settle(limits);
        self.load = load;
    }

    pub(super) fn sample(&mut self, limits: &Resources, read_at: SystemTime) -> ContainerStats {
        self.settle(limits);
        let whole = |sum: u128| u64::try_from(sum / NANOS).unwrap_or(u64::MAX);
        let traffic = |[received, sent]: [u128; 2]| Traffic { received: whole(received), sent: whole(sent) };
        let cpu = u64::try_from(self.sums.cpu / 1000).unwrap_or(u64::MAX);
        let used = self.load.memory_bytes;
        ContainerStats {
            read_at,
            cpu: Some(Duration::from_nanos(cpu)),
            memory: Some(MemoryUse {
                used,
                total: used.saturating_add(self.load.cache_bytes),
                limit: Some(limits.memory_bytes),
            }),
            pids: Some(self.load.pids),
            network: Some(traffic(self.sums.network)),
            disk: Some(traffic(self.sums.disk)),
        }
    }
}

impl FakeRuntime {
    /// What a container uses from now on. `false` if it is gone.
    ///
    /// ```
    /// # use runner_core::{ContainerRuntime, ContainerSpec, container::UserSpec};
    /// use std::time::Duration;
    /// use runner_testkit::fake_runtime::{FakeRuntime, Load};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> runner_core::Result<()> {
    /// # let spec = ContainerSpec::new("demo", "img".parse()?, UserSpec { uid: 10001, gid: 10001 });
    /// let engine = FakeRuntime::new();
    /// let id = engine.create(&spec).await?;
    /// engine.set_load(&id, Load { cpu_millis: 500, ..Load::default() });
    /// engine.start(&id).await?;
    /// tokio::time::sleep(Duration::from_secs(10)).await;
    /// let stats = engine.stats(&id).await?.expect("it runs");
    /// assert_eq!(stats.cpu, Some(Duration::from_secs(5)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_load(&self, id: &ContainerId, load: Load) -> bool {
        let mut engine = lock(&self.shared.engine);
        let found = engine.find_mut(id);
        found.map(|container| container.meter.set_load(load, &container.resources)).is_some()
    }

    /// What every container that is created from now on uses.
    pub fn default_load(&self, load: Load) {
        lock(&self.shared.engine).load = load;
    }

    /// Changes every sample before it is given out: an engine that does not know something, or lies.
    pub fn adjust_stats(
        &self,
        adjust: impl Fn(&ContainerInfo, ContainerStats) -> ContainerStats + Send + Sync + 'static,
    ) {
        lock(&self.shared.engine).adjust_stats = Some(Arc::new(adjust));
    }
}
