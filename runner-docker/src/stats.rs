//! One sample of what a container uses.
//!
//! Engines look at a container twice, a second apart, unless they are asked for one look; 20.10 takes the second
//! all the same (measured). A container that does not run is answered with a document of zeros, by newer Podman with
//! zeros and a time, by older Podman with a 409, and one that is removed meanwhile with no document at all
//! (measured on 20.10): none of that is a sample.

use std::time::Duration;

use runner_core::stats::{ContainerStats, MemoryUse, Traffic};
use runner_core::{ContainerId, ContainerState, Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::Engine;
use crate::error::{EngineError, clean};
use crate::stamp::Stamp;
use crate::wait::inspect;

const OPERATION: &str = "sample the container";

/// From here on a limit is the kernel's word for none: the largest number of bytes in whole pages, for pages of up to
/// 64 KiB, and everything above.
const NO_LIMIT: u64 = 0x7FFF_FFFF_FFFF_0000;

/// The engine's document. Only its time is required, because a reply to a wrong request would otherwise look like a
/// container without use; everything else is looked up where it may be.
#[derive(Debug, Deserialize)]
struct Document {
    read: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub(crate) async fn stats(engine: &Engine, id: &ContainerId) -> Result<Option<ContainerStats>> {
    let error = |e: EngineError| -> Error { e.into_core(OPERATION).with_container(id) };
    let path = format!("/containers/{id}/stats?stream=false&one-shot=true");
    let bytes = match engine.sample(&path, engine.budgets.stats).await {
        Ok(bytes) => bytes,
        Err(e) if is_not_running(&e) => return Ok(None),
        Err(e) => return Err(error(e)),
    };
    if bytes.is_empty() {
        return match inspect(engine, id).await.map_err(error)?.state {
            ContainerState::Running | ContainerState::Paused => {
                Err(error(EngineError::Decode { message: "it is empty".to_owned() }))
            }
            _ => Ok(None),
        };
    }
    serde_json::from_slice(&bytes)
        .map(|document| sample(&document))
        .map_err(|e| error(EngineError::Decode { message: clean(&e.to_string()) }))
}

/// In the words of Docker and of Podman.
fn is_not_running(error: &EngineError) -> bool {
    error.is_not_running() || error.status().is_some_and(|(_, message)| message.contains("state improper"))
}

/// `None`: it does not run.
fn sample(document: &Document) -> Option<ContainerStats> {
    let read_at = Stamp::parse(document.read.as_bytes())?.time()?;
    let rest = &document.rest;
    // What runs has used some of each: here zero is an engine's way to leave a field out.
    let cpu = number(rest, &["cpu_stats", "cpu_usage", "total_usage"]).filter(|n| *n > 0);
    let pids = number(rest, &["pids_stats", "current"]).filter(|n| *n > 0);
    let memory = memory(rest);
    if cpu.is_none() && pids.is_none() && memory.is_none() {
        return None;
    }
    Some(ContainerStats {
        read_at,
        cpu: cpu.map(Duration::from_nanos),
        memory,
        pids,
        network: network(rest),
        disk: disk(rest),
    })
}

fn memory(rest: &Map<String, Value>) -> Option<MemoryUse> {
    let part = |name: &str| number(rest, &["memory_stats", name]).filter(|n| *n > 0);
    let detail = |name: &str| number(rest, &["memory_stats", "stats", name]);
    let total = part("usage")?;
    // The first is cgroup v1's, which also has one of the second's name that leaves child groups out. `cache` is not
    // subtracted: memory-backed directories are in it, and nothing frees those.
    let reclaimable = detail("total_inactive_file").or_else(|| detail("inactive_file"));
    let used = reclaimable.and_then(|n| total.checked_sub(n)).filter(|n| *n > 0).unwrap_or(total);
    // Without a limit of its own, a container on cgroup v1 is told the host's memory as its limit.
    let unlimited = detail("hierarchical_memory_limit").is_some_and(|n| n >= NO_LIMIT);
    let limit = part("limit").filter(|n| *n < NO_LIMIT && !unlimited);
    Some(MemoryUse { used, total, limit })
}

fn network(rest: &Map<String, Value>) -> Option<Traffic> {
    let interfaces = rest.get("networks")?.as_object()?;
    let sum = |name: &str| sum(interfaces.values().map(|i| i.get(name).and_then(Value::as_u64)));
    Some(Traffic { received: sum("rx_bytes")?, sent: sum("tx_bytes")? })
}

/// Sums by operation, which is `Read` on cgroup v1 and `read` on v2. Both have other operations beside, some of them
/// sums of these.
fn disk(rest: &Map<String, Value>) -> Option<Traffic> {
    let operations = rest.get("blkio_stats")?.get("io_service_bytes_recursive")?.as_array()?;
    let of = |wanted: &str| {
        let is_it = |o: &&Value| {
            o.get("op").and_then(Value::as_str).is_some_and(|op| op.eq_ignore_ascii_case(wanted))
        };
        // An operation without a value has none so far.
        sum(operations.iter().filter(is_it).map(|o| o.get("value").map_or(Some(0), Value::as_u64)))
    };
    match (of("read"), of("write")) {
        (None, None) => None,
        (read, written) => {
            Some(Traffic { received: read.unwrap_or_default(), sent: written.unwrap_or_default() })
        }
    }
}

/// `None` where none of the numbers is known.
fn sum(numbers: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    numbers.flatten().reduce(u64::saturating_add)
}

fn number(rest: &Map<String, Value>, path: &[&str]) -> Option<u64> {
    let (first, path) = path.split_first()?;
    let inner = path.iter().try_fold(rest.get(*first)?, |value, key| value.get(key))?;
    inner.as_u64()
}

#[cfg(test)]
mod tests;
