//! The engine's state, and the steps that change it. Nothing here waits, so a lock around it is never held long.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use runner_core::container::{Labels, PublishedPort};
use runner_core::container_runtime::{Feature, RuntimeInfo, SupportedLimits};
use runner_core::logs::LogSource;
use runner_core::runtime_event::{ContainerEvent, ContainerEventKind};
use runner_core::{ContainerId, ContainerInfo, ContainerSpec, Error, ErrorKind, ExitStatus, Result};
use tokio::time::Instant;

use super::clock::Clock;
use super::container::Container;
use super::events::Events;
use super::files::Files;
use super::meter::{Adjust, Load};
use super::script::Process;
use super::stops::Stuck;

/// Above the ports that tests bind themselves.
const FIRST_PORT: u16 = 20_000;

pub(super) type Behavior = Arc<dyn Fn(&ContainerSpec) -> Process + Send + Sync>;
pub(super) type Stubborn = Arc<dyn Fn(&ContainerSpec) -> bool + Send + Sync>;

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
    clock: Clock,
    pub(super) events: Events,
    pub(super) stuck: Stuck,
    /// Counts restarts of the engine, so that a stream knows one that came after it.
    pub(super) restarts: u64,
    pub(super) created: Vec<ContainerSpec>,
    pub(super) network: bool,
    pub(super) runtime_info: RuntimeInfo,
    pub(super) behavior: Behavior,
    pub(super) ignores_stop: Stubborn,
    pub(super) boot_lines: Vec<String>,
    pub(super) image_files: BTreeMap<PathBuf, Vec<u8>>,
    pub(super) load: Load,
    pub(super) adjust_stats: Option<Adjust>,
    pub(super) ports_after: Duration,
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
            clock: Clock::default(),
            events: Events::default(),
            stuck: Stuck::default(),
            restarts: 0,
            created: Vec::new(),
            network: false,
            runtime_info: RuntimeInfo {
                engine: "fake engine 1.0".to_owned(),
                api_version: "1.41".to_owned(),
                architecture: "x86_64".to_owned(),
                host_address: Some(Ipv4Addr::new(172, 30, 0, 1).into()),
                cgroup_version: Some(2),
                storage_driver: "overlay2".to_owned(),
                limits: SupportedLimits { memory: true, swap: true, cpu: true, pids: true },
                ..RuntimeInfo::default()
            },
            behavior: Arc::new(|_| Process::Runs),
            ignores_stop: Arc::new(|_| false),
            boot_lines: Vec::new(),
            image_files: BTreeMap::new(),
            load: Load::default(),
            adjust_stats: None,
            ports_after: Duration::ZERO,
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

pub(super) fn unknown(operation: &'static str, id: &ContainerId) -> Error {
    Error::new(ErrorKind::NotFound, operation, "no such container").with_container(id)
}

impl Engine {
    pub(super) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    pub(super) fn infos(&self) -> impl Iterator<Item = ContainerInfo> + '_ {
        self.containers.values().map(Container::info)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Container> + '_ {
        self.containers.values()
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

    pub(super) fn get_mut(&mut self, operation: &'static str, id: &ContainerId) -> Result<&mut Container> {
        self.find_mut(id).ok_or_else(|| unknown(operation, id))
    }

    pub(super) fn inspect(&self, id: &ContainerId) -> Result<ContainerInfo> {
        Ok(self.get("inspect a container", id)?.info())
    }

    /// Refuses a call that this engine was said not to serve.
    pub(super) fn require(&self, feature: Feature, operation: &'static str) -> Result<()> {
        if self.runtime_info.unsupported.contains(&feature) {
            let message = "this engine cannot do that";
            return Err(Error::new(ErrorKind::Unsupported, operation, message));
        }
        Ok(())
    }

    /// Tells an event of a container that is there. `false` if it is not.
    pub(super) fn tell(&mut self, id: &ContainerId, kind: ContainerEventKind) -> bool {
        let at = self.clock.now();
        let Some(container) = self.find(id) else { return false };
        if !self.events.has_readers() {
            return true;
        }
        let (name, labels) = (container.spec.name.clone(), container.spec.labels.clone());
        self.events.emit(&ContainerEvent { at, id: id.clone(), name, labels, kind });
        true
    }

    pub(super) fn create(&mut self, spec: &ContainerSpec) -> Result<ContainerId> {
        let operation = "create a container";
        if let Some(holder) = self.by_name.get(&spec.name).and_then(|serial| self.containers.get(serial)) {
            let message = format!("the name {} is in use by container {}", spec.name, holder.id.short());
            return Err(Error::new(ErrorKind::AlreadyExists, operation, message).with_container(&holder.id));
        }
        self.serial += 1;
        let id = container_id(self.serial)?;
        let files = Files::of(spec, &self.image_files);
        let container = Container::new(id.clone(), spec.clone(), self.clock.now(), self.load, files);
        self.containers.insert(self.serial, container);
        self.by_id.insert(id.clone(), self.serial);
        self.by_name.insert(spec.name.clone(), self.serial);
        self.created.push(spec.clone());
        self.network = true;
        self.tell(&id, ContainerEventKind::Created);
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
        let now = self.clock.now();
        let ports_from = Instant::now() + self.ports_after;
        let boot_lines = self.boot_lines.clone();
        let container = self.get_mut("start a container", id)?;
        container.begin_run(ports, ports_from, now);
        for line in boot_lines {
            container.log(LogSource::Stdout, line, now);
        }
        let started = Started { info: container.info(), run: container.run };
        self.tell(id, ContainerEventKind::Started);
        Ok(Some(started))
    }

    /// Ends a container that runs; in the given run of it only, if one is given. Says what it is then.
    pub(super) fn end(
        &mut self,
        id: &ContainerId,
        run: Option<u64>,
        status: ExitStatus,
    ) -> Option<ContainerInfo> {
        let now = self.clock.now();
        let container = self.find_mut(id)?;
        if !container.is_running() || run.is_some_and(|run| run != container.run) {
            return None;
        }
        let (code, out_of_memory) = (status.code, status.oom_killed && !container.child_killed);
        container.end_run(status, now);
        let was_stopped = container.stopping.is_some();
        let ports = std::mem::take(&mut container.ports);
        let info = container.info();
        for port in ports {
            self.used_ports.remove(&port.address.port());
        }
        if out_of_memory {
            self.tell(id, ContainerEventKind::OutOfMemory);
        }
        self.tell(id, ContainerEventKind::Died { code: Some(code) });
        if was_stopped {
            self.tell(id, ContainerEventKind::Stopped);
        }
        Some(info)
    }

    /// Removes a container that does not run.
    pub(super) fn forget(&mut self, id: &ContainerId) {
        self.tell(id, ContainerEventKind::Removed);
        if let Some(serial) = self.by_id.remove(id)
            && let Some(container) = self.containers.remove(&serial)
        {
            self.by_name.remove(&container.spec.name);
        }
    }
}
