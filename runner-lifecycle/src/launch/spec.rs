//! The container of one runner. Pure.

use runner_core::ContainerSpec;
use runner_core::container::Tmpfs;
use runner_core::layout::{HOME, TMP};
use runner_core::session::ServerRequirements;
use runner_core::workspace_provider::PreparedWorkspace;

use crate::config::LifecycleConfig;
use crate::labels;
use crate::manager::StartRequest;

/// What every container's name begins with; the old system's.
const NAME_PREFIX: &str = "cnap-runner-";

pub(super) fn container(
    config: &LifecycleConfig,
    request: &StartRequest,
    prepared: &PreparedWorkspace,
    server: &ServerRequirements,
) -> ContainerSpec {
    let name = format!("{NAME_PREFIX}{}", request.task.slug());
    let mut spec = ContainerSpec::new(name, config.image.clone(), prepared.user);
    spec.labels = labels::of_runner(config, &request.task, &request.agent);
    spec.env.clone_from(&config.env);
    // Last, because the server cannot work with other values.
    spec.env.extend(server.env.clone());
    spec.mounts.clone_from(&prepared.mounts);
    spec.tmpfs = vec![
        Tmpfs { target: TMP.into(), size_bytes: config.start.tmp_bytes },
        Tmpfs { target: HOME.into(), size_bytes: config.start.home_bytes },
    ];
    spec.ports = vec![server.port];
    spec.resources = config.resources;
    spec
}
