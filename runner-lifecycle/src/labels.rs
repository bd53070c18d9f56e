//! By which a container is found again, by us and by nobody else's mistake.

use runner_core::container::Labels;
use runner_core::{AgentId, TaskId};

use crate::config::LifecycleConfig;

/// The task's id; the name is the old system's.
pub const TASK: &str = "cnap.runner.id";
/// The agent's id; the name is the old system's.
pub const AGENT: &str = "cnap.agent.id";
/// `true` on every container that a runner made; the name is the old system's.
pub const MANAGED: &str = "cnap.runner.managed";
/// The deployment.
pub const NAMESPACE: &str = "cnap.runner.namespace";
/// The controller process.
pub const INSTANCE: &str = "cnap.runner.instance";
/// The version of this set of labels, for controllers to come.
pub const SCHEMA: &str = "cnap.runner.schema";

/// The current version of the labels.
const SCHEMA_VERSION: &str = "1";

/// The labels of one runner's container.
pub(crate) fn of_runner(config: &LifecycleConfig, task: &TaskId, agent: &AgentId) -> Labels {
    let mut labels = config.labels.clone();
    labels.extend(of_instance(config));
    labels.insert(TASK.to_owned(), task.to_string());
    labels.insert(AGENT.to_owned(), agent.to_string());
    labels.insert(SCHEMA.to_owned(), SCHEMA_VERSION.to_owned());
    labels
}

/// The labels that all containers of this controller process share.
pub(crate) fn of_instance(config: &LifecycleConfig) -> Labels {
    [(MANAGED, "true"), (NAMESPACE, &config.namespace), (INSTANCE, &config.instance)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The labels by which a task's container of this controller process is found.
pub(crate) fn of_task(config: &LifecycleConfig, task: &TaskId) -> Labels {
    let mut labels = of_instance(config);
    labels.insert(TASK.to_owned(), task.to_string());
    labels
}
