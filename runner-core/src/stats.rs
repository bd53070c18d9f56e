//! What a container uses, as one sample of counters.

use std::time::{Duration, SystemTime};

/// Memory of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// What counts: the kernel's figure without file pages that it would give up first. Memory-backed directories
    /// are part of it, as they are of the limit.
    pub used: u64,
    /// The kernel's figure.
    pub total: u64,
    /// The limit, where there is one.
    pub limit: Option<u64>,
}

/// Bytes that went in and out, since the container's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Received or read.
    pub received: u64,
    /// Sent or written.
    pub sent: u64,
}

/// One sample of a running container. What the engine does not tell is `None`, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerStats {
    /// When it was taken, by the engine's clock.
    pub read_at: SystemTime,
    /// CPU time used since the start.
    pub cpu: Option<Duration>,
    /// Memory.
    pub memory: Option<MemoryUse>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Network, all interfaces.
    pub network: Option<Traffic>,
    /// Disks, all of them.
    pub disk: Option<Traffic>,
}

impl ContainerStats {
    /// CPU use between an earlier sample of the same container and this one, in thousandths of a core. `None` where
    /// one of them does not know, no time has passed, or the container was restarted in between.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use runner_core::stats::ContainerStats;
    /// let at = |second, cpu| ContainerStats {
    ///     read_at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
    ///     cpu: Some(Duration::from_millis(cpu)),
    ///     memory: None, pids: None, network: None, disk: None,
    /// };
    /// assert_eq!(at(12, 1500).cpu_millis_since(&at(10, 500)), Some(500));
    /// assert_eq!(at(12, 0).cpu_millis_since(&at(10, 500)), None);
    /// ```
    pub fn cpu_millis_since(&self, earlier: &Self) -> Option<u64> {
        let used = self.cpu?.checked_sub(earlier.cpu?)?;
        let passed = self.read_at.duration_since(earlier.read_at).ok()?.as_nanos();
        (used.as_nanos() * 1000).checked_div(passed).and_then(|millis| u64::try_from(millis).ok())
    }
}
