//! The engine's state, and the steps that change it. Nothing here waits, so a lock around it is never held long.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use runner_core::container::{Labels, PublishedPort};
use runner_core::container_runtime::RuntimeInfo;
use runner_core::logs::{LogLine, LogSource};
use runner_core::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerState, Error, ErrorKind, ExitStatus, Result,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::script::Process;

/// Above the ports that tests bind themselves.
const FIRST_PORT: u16 = 20_000;

pub(super) type Behavior = Arc<dyn Fn(&ContainerSpec) -> Process + Send + Sync>;

pub(super) struct Container {
    id: ContainerId,
    pub(super) spec: ContainerSpec,
    ports: Vec<PublishedPort>,
    ports_from: Instant,
    pub(super) lines: Vec<LogLine>,
    /// Counts starts, so that an end planned for one run does not hit a later one.
    run: u64,
    /// The state, and the way in which waiting calls hear of a change.
    pub(super) state: watch::Sender<ContainerState>,
}

impl Container {
    fn info(&self) -> ContainerInfo {
        let state = self.state.borrow().clone();
        let reachable = self.is_running() && self.ports_from <= Instant::now();
        ContainerInfo {
            id: self.id.clone(),
            name: self.spec.name.clone(),
            labels: self.spec.labels.clone(),
            ports: if reachable { self.ports.clone() } else { Vec::new() },
            state,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        // Frozen processes hold their ports and can be stopped like running ones.
        matches!(*self.state.borrow(), ContainerState::Running | ContainerState::Paused)
    }

    pub(super) fn log(&mut self, source: LogSource, text: String) {
        self.lines.push(LogLine { source, text, truncated: false });
        self.state.send_modify(|_| {});
    }
}

/// What a start leads to.
pub(super) struct Started {
    pub(super) info: ContainerInfo,
    pub(super) run: u64,
}

pub(super) struct Engine {
    /// By serial number, so that lists come in the order of creation.
    containers: BTreeMap<u64, Container>,
    by_id: HashMap<ContainerId, u64>,
    by_name: HashMap<String, u64>,
    serial: u64,
    next_port: u16,
    used_ports: HashSet<u16>,
    pub(super) created: Vec<ContainerSpec>,
    pub(super) network: bool,
    pub(super) runtime_info: RuntimeInfo,
    pub(super) behavior: Behavior,
    pub(super) boot_lines: Vec<String>,
    pub(super) ports_after: Duration,
    pub(super) ignores_stop: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            containers: BTreeMap::new(),
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            serial: 0,
            next_port: FIRST_PORT,
            used_ports: HashSet::new(),
            created: Vec::new(),
            network: false,
            runtime_info: RuntimeInfo {
                engine: "fake engine 1.0".to_owned(),
                api_version: "1.41".to_owned(),
                architecture: "x86_64".to_owned(),
                rootless: false,
                host_address: Some(Ipv4Addr::new(172, 30, 0, 1).into()),
            },
            behavior: Arc::new(|_| Process::Runs),
            boot_lines: Vec::new(),
            ports_after: Duration::ZERO,
            ignores_stop: false,
        }
    }
}

/// 64 hexadecimal digits that differ from the first one on (splitmix64 over a serial number).
fn container_id(serial: u64) -> Result<ContainerId> {
    let word = |place: u64| {
        let mut z = (serial * 4 + place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    ContainerId::new(format!("{:016x}{:016x}{:016x}{:016x}", word(1), word(2), word(3), word(4)))
}

fn unknown(operation: &'static str, id: &ContainerId) -> Error {
    Error::new(ErrorKind::NotFound, operation, "no such container").with_container(id)
}

impl Engine {
    pub(super) fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    pub(super) fn infos(&self) -> impl Iterator<Item = ContainerInfo> + '_ {
        self.containers.values().map(Container::info)
    }

    pub(super) fn list(&self, labels: &Labels) -> Vec<ContainerInfo> {
        let has_all =
            |c: &&Container| labels.iter().all(|(key, value)| c.spec.labels.get(key) == Some(value));
        self.containers.values().filter(has_all).map(Container::info).collect()
    }

    pub(super) fn latest(&self) -> Option<ContainerId> {
        self.containers.values().next_back().map(|c| c.id.clone())
    }

    pub(super) fn find(&self, id: &ContainerId) -> Option<&Container> {
        self.containers.get(self.by_id.get(id)?)
    }

    pub(super) fn find_mut(&mut self, id: &ContainerId) -> Option<&mut Container> {
        self.containers.get_mut(self.by_id.get(id)?)
    }

    pub(super) fn get(&self, operation: &'static str, id: &ContainerId) -> Result<&Container> {
        self.find(id).ok_or_else(|| unknown(operation, id))
    }

    pub(super) fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo> {
        Ok(self.get("inspect a container", id)?.info())
    }

    pub(super) fn create(&mut self, spec: &ContainerSpec) -> Result<ContainerId> {
        let operation = "create a container";
        if let Some(holder) = self.by_name.get(&spec.name).and_then(|serial| self.containers.get(serial)) {
            let message = format!("the name {} is in use by container {}", spec.name, holder.id.short());
            return Err(Error::new(ErrorKind::AlreadyExists, operation, message));
        }
        self.serial += 1;
        let id = container_id(self.serial)?;
        let container = Container {
            id: id.clone(),
            spec: spec.clone(),
            ports: Vec::new(),
            ports_from: Instant::now(),
            lines: Vec::new(),
            run: 0,
            state: watch::Sender::new(ContainerState::Created),
        };
        self.containers.insert(self.serial, container);
        self.by_id.insert(id.clone(), self.serial);
        self.by_name.insert(spec.name.clone(), self.serial);
        self.created.push(spec.clone());
        self.network = true;
        Ok(id)
    }

    fn free_port(&mut self) -> Result<u16> {
        for _ in FIRST_PORT..u16::MAX {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
            if self.used_ports.insert(port) {
                return Ok(port);
            }
        }
        Err(Error::new(ErrorKind::HostResources, "start a container", "no port is free"))
    }

    /// Starts a container; `None` if it runs already. One that has ended is started again, as an engine does.
    pub(super) fn start(&mut self, id: &ContainerId) -> Result<Option<Started>> {
        let container = self.get("start a container", id)?;
        if container.is_running() {
            return Ok(None);
        }
        let wanted = container.spec.ports.clone();
        let mut ports = Vec::new();
        for inside in wanted {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.free_port()?));
            ports.push(PublishedPort { container: inside, address });
        }
        let ports_from = Instant::now() + self.ports_after;
        let boot_lines = self.boot_lines.clone();
        let Some(container) = self.find_mut(id) else { return Err(unknown("start a container", id)) };
        container.ports = ports;
        container.ports_from = ports_from;
        container.run += 1;
        container.state.send_replace(ContainerState::Running);
        for line in boot_lines {
            container.log(LogSource::Stdout, line);
        }
        Ok(Some(Started { info: container.info(), run: container.run }))
    }

    /// Ends a container that runs; in the given run of it only, if one is given. Says what it was just before.
    pub(super) fn end(
        &mut self,
        id: &ContainerId,
        run: Option<u64>,
        status: ExitStatus,
    ) -> Option<ContainerInfo> {
        let container = self.find_mut(id)?;
        if !container.is_running() || run.is_some_and(|run| run != container.run) {
            return None;
        }
        container.state.send_replace(ContainerState::Exited(status));
        let ports = std::mem::take(&mut container.ports);
        let info = container.info();
        for port in ports {
            self.used_ports.remove(&port.address.port());
        }
        Some(info)
    }

    /// Removes a container. The second value is set if it ran, and then says what it was.
    pub(super) fn remove(&mut self, id: &ContainerId) -> Option<ContainerInfo> {
        let ended = self.end(id, None, super::exited(137));
        if let Some(serial) = self.by_id.remove(id)
            && let Some(container) = self.containers.remove(&serial)
        {
            self.by_name.remove(&container.spec.name);
        }
        ended
    }
}
