//! What a container may use.

use crate::error::{Error, ErrorKind, Result};

const MIB: u64 = 1024 * 1024;

/// Limits of one container. All are hard: swap is off, so the memory limit is what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// CPU in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Open files per process.
    pub nofile: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            // The server alone takes 235 MiB idle and up to 490 MiB in use (measured); tools need room beside it.
            memory_bytes: 1024 * MIB,
            // With half a core a turn takes seconds instead of tenths (measured).
            cpu_millis: 1000,
            // OpenCode, its tools and MCP children stay below 100; a fork bomb ends here.
            pids: 256,
            // Enough for a package installation; small enough that programs which close every possible
            // descriptor stay fast.
            nofile: 16_384,
        }
    }
}

impl Resources {
    /// The figures of the original specification (NFR-002): 512 MiB and half a core.
    pub fn small() -> Self {
        Self { memory_bytes: 512 * MIB, cpu_millis: 500, ..Self::default() }
    }

    /// Refuses what cannot work or is beyond what this library allows by default.
    ///
    /// Memory 256 MiB to 4 GiB, CPU 0.1 to 2 cores, at least 64 processes, at least 1,024 files: below the
    /// floors the server does not boot, the ceilings are the specification's (NFR-002, raised by measurement).
    pub fn validate(&self) -> Result<()> {
        let refuse = |message: String, hint: &'static str| {
            Err(Error::new(ErrorKind::InvalidInput, "check the resource limits", message).with_hint(hint))
        };
        if !(256 * MIB..=4096 * MIB).contains(&self.memory_bytes) {
            return refuse(
                format!("memory of {} MiB is out of range", self.memory_bytes / MIB),
                "give 256 to 4096 MiB",
            );
        }
        if !(100..=2000).contains(&self.cpu_millis) {
            return refuse(
                format!("{} thousandths of a core are out of range", self.cpu_millis),
                "give 100 to 2000",
            );
        }
        if self.pids < 64 {
            return refuse(format!("{} processes are too few", self.pids), "give at least 64");
        }
        if self.nofile < 1024 {
            return refuse(format!("{} open files are too few", self.nofile), "give at least 1024");
        }
        Ok(())
    }
}

/// A change of a running container's limits; `None` leaves one as it is. The limit of open files belongs to each
/// process and cannot be changed from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResourceUpdate {
    /// Memory in bytes. The kernel refuses a limit below what is in use and cannot be freed.
    pub memory_bytes: Option<u64>,
    /// CPU in thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

impl ResourceUpdate {
    /// Refuses a change of nothing, and limits that [`Resources::validate`] refuses.
    pub fn validate(&self) -> Result<()> {
        if *self == Self::default() {
            let message = "no limit is to be changed";
            return Err(Error::new(ErrorKind::InvalidInput, "check the resource limits", message)
                .with_hint("set at least one"));
        }
        let base = Resources::default();
        Resources {
            memory_bytes: self.memory_bytes.unwrap_or(base.memory_bytes),
            cpu_millis: self.cpu_millis.unwrap_or(base.cpu_millis),
            pids: self.pids.unwrap_or(base.pids),
            nofile: base.nofile,
        }
        .validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_presets_are_legal_and_the_edges_are_not() {
        Resources::default().validate().unwrap();
        Resources::small().validate().unwrap();
        let base = Resources::default();
        for bad in [
            Resources { memory_bytes: 256 * MIB - 1, ..base },
            Resources { memory_bytes: 4096 * MIB + 1, ..base },
            Resources { cpu_millis: 99, ..base },
            Resources { cpu_millis: 2001, ..base },
            Resources { pids: 63, ..base },
            Resources { nofile: 1023, ..base },
        ] {
            assert_eq!(bad.validate().unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
    }

    #[test]
    fn an_update_changes_something_within_the_same_range() {
        let cpu = |cpu_millis| ResourceUpdate { cpu_millis: Some(cpu_millis), ..ResourceUpdate::default() };
        cpu(2000).validate().unwrap();
        for bad in [ResourceUpdate::default(), cpu(2001), cpu(0)] {
            assert_eq!(bad.validate().unwrap_err().kind(), ErrorKind::InvalidInput, "{bad:?}");
        }
    }
}
