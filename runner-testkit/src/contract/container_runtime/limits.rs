//! What a container may use, what it uses, and freezing it.

use std::time::{Duration, SystemTime};

use runner_core::container::StopReason;
use runner_core::container_runtime::Feature;
use runner_core::resources::ResourceUpdate;
use runner_core::stats::ContainerStats;
use runner_core::{ContainerId, ContainerState, ErrorKind};

use super::Lab;
use crate::contract::support::{fails, ok};

const UNSUPPORTED: &str = "a call that the engine says it cannot serve";

impl Lab {
    pub(super) async fn limits_can_be_changed(&self) {
        const ROOM: u64 = 64 << 20;
        let id = self.create_staying("limits").await;
        let before = self.spec(&self.fixture.stays, "unused").resources;
        // Other values that are legal, too. Memory goes down only where it cannot go up.
        let cpu_millis = if before.cpu_millis == 500 { 600 } else { 500 };
        let more = before.memory_bytes + ROOM;
        let memory_bytes = if more > 4096 << 20 { before.memory_bytes - ROOM } else { more };
        let cpu = |cpu_millis| ResourceUpdate { cpu_millis: Some(cpu_millis), ..ResourceUpdate::default() };
        if !self.can(Feature::Update).await {
            let updated = self.runtime.update(&id, &cpu(cpu_millis)).await;
            fails(UNSUPPORTED, updated, ErrorKind::Unsupported);
            return self.remove(&id).await;
        }
        ok("update of a created one", self.runtime.update(&id, &cpu(cpu_millis)).await);
        self.start(&id).await;
        for (what, update) in [("nothing", ResourceUpdate::default()), ("a limit beyond the legal", cpu(1))] {
            let updated = self.runtime.update(&id, &update).await;
            fails(&format!("update of {what}"), updated, ErrorKind::InvalidInput);
        }
        let update = ResourceUpdate {
            memory_bytes: Some(memory_bytes),
            cpu_millis: Some(before.cpu_millis),
            pids: Some(before.pids + 1),
        };
        ok("update of one that runs", self.runtime.update(&id, &update).await);
        let info = ok("info", self.runtime.info().await);
        if info.limits.memory && !info.unsupported.contains(&Feature::Stats) {
            let limit = self.sample(&id).await.and_then(|stats| stats.memory?.limit);
            assert!(
                limit.is_none_or(|limit| limit == memory_bytes),
                "after the update the limit must be {memory_bytes}: {limit:?}"
            );
        }
        self.remove(&id).await;
    }

    async fn sample(&self, id: &ContainerId) -> Option<ContainerStats> {
        ok("stats", self.soon("stats", self.runtime.stats(id)).await)
    }

    /// Asks nothing that an engine need not know.
    pub(super) async fn only_what_runs_is_sampled(&self) {
        let id = self.create_staying("sampled").await;
        if !self.can(Feature::Stats).await {
            fails(UNSUPPORTED, self.runtime.stats(&id).await, ErrorKind::Unsupported);
            return self.remove(&id).await;
        }
        let none = self.sample(&id).await;
        assert!(none.is_none(), "one that never ran uses nothing that could be told: {none:?}");
        self.start(&id).await;
        let first = self.sample(&id).await;
        // Time for a counter to move.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = self.sample(&id).await;
        assert!(first.is_some() && second.is_some(), "one that runs must be sampled");
        let (Some(first), Some(second)) = (first, second) else { return };
        assert!(first.read_at > SystemTime::UNIX_EPOCH, "a sample must have its time: {first:?}");
        assert!(second.read_at >= first.read_at, "time must not go back: {first:?}, {second:?}");
        if let (Some(earlier), Some(later)) = (first.cpu, second.cpu) {
            assert!(later >= earlier, "CPU time must not go back: {first:?}, {second:?}");
        }
        for memory in [first.memory, second.memory].into_iter().flatten() {
            assert!(memory.total > 0, "what runs uses memory: {memory:?}");
            assert!(memory.used <= memory.total, "what counts is part of the whole: {memory:?}");
        }
        assert_ne!(first.pids, Some(0), "what runs has a process; what is not known is none: {first:?}");
        ok("stop", self.stop(&id, StopReason::Requested).await);
        let none = self.sample(&id).await;
        assert!(none.is_none(), "one that has ended uses nothing: {none:?}");
        self.remove(&id).await;
    }

    pub(super) async fn pause_and_unpause_are_idempotent(&self) {
        let id = self.create_staying("pauses").await;
        if !self.can(Feature::Pause).await {
            self.start(&id).await;
            fails(UNSUPPORTED, self.runtime.pause(&id).await, ErrorKind::Unsupported);
            fails(UNSUPPORTED, self.runtime.unpause(&id).await, ErrorKind::Unsupported);
            return self.remove(&id).await;
        }
        self.cannot_be_frozen("one that never ran", &id).await;
        self.start(&id).await;
        ok("unpause of one that runs", self.runtime.unpause(&id).await);
        for what in ["pause", "pause of a paused one"] {
            ok(what, self.soon(what, self.runtime.pause(&id)).await);
            assert_eq!(self.state(&id).await, ContainerState::Paused, "after {what}");
        }
        for what in ["unpause", "unpause of one that is not paused any more"] {
            ok(what, self.soon(what, self.runtime.unpause(&id)).await);
            assert_eq!(self.state(&id).await, ContainerState::Running, "after {what}");
        }
        ok("stop", self.stop(&id, StopReason::Requested).await);
        self.cannot_be_frozen("one that has ended", &id).await;
        self.remove(&id).await;
    }

    async fn cannot_be_frozen(&self, what: &str, id: &ContainerId) {
        fails(&format!("pause of {what}"), self.runtime.pause(id).await, ErrorKind::NotReady);
        fails(&format!("unpause of {what}"), self.runtime.unpause(id).await, ErrorKind::NotReady);
    }
}
