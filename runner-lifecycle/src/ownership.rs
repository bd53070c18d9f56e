//! Whose container it is, and what may be done with it. Pure.
//!
//! | the container | what is done |
//! |---|---|
//! | made by this very request, whose answer was lost | adopted, by the adapter, which knows it by its own mark |
//! | this controller's, for this task, left over | replaced |
//! | a dead controller's of this deployment, for this task | replaced |
//! | another controller's that lives, or may live | left alone |
//! | another task's, another deployment's, or no runner at all | left alone |

use runner_core::container::Labels;
use runner_core::{ContainerInfo, TaskId};

use crate::config::LifecycleConfig;
use crate::labels::{INSTANCE, MANAGED, NAMESPACE, TASK};

/// Whether the controller that made a container still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Proved to be dead.
    Dead,
    /// It lives, or nobody knows.
    MayLive,
}

/// What may be done with a container that has the name of a task's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is left over from this task: remove it and make another.
    Replace,
    /// It is somebody else's.
    Leave(&'static str),
}

const NOT_OURS: &str = "the container with that name was not made by a runner; rename or remove it";
const OTHER_DEPLOYMENT: &str =
    "another deployment on this engine has a task of the same id; use other task ids";
const OTHER_TASK: &str = "the container with that name belongs to another task";
const OTHER_CONTROLLER: &str =
    "another controller's runner works on this task; delete the task there, or remove its container";

/// The rule of the table above.
pub(crate) fn claim(config: &LifecycleConfig, task: &TaskId, found: &ContainerInfo, owner: Owner) -> Claim {
    let has = |labels: &Labels, key: &str, value: &str| labels.get(key).is_some_and(|found| found == value);
    let labels = &found.labels;
    if !has(labels, MANAGED, "true") {
        return Claim::Leave(NOT_OURS);
    }
    if !has(labels, NAMESPACE, &config.namespace) {
        return Claim::Leave(OTHER_DEPLOYMENT);
    }
    if !has(labels, TASK, task.as_str()) {
        return Claim::Leave(OTHER_TASK);
    }
    if has(labels, INSTANCE, &config.instance) || owner == Owner::Dead {
        return Claim::Replace;
    }
    Claim::Leave(OTHER_CONTROLLER)
}

#[cfg(test)]
mod tests {
    use runner_core::{AgentId, ContainerId, ContainerState};

    use super::*;
    use crate::labels;

    #[test]
    fn only_what_is_left_over_from_the_task_is_replaced() {
        type Change = fn(&mut Labels);
        let config = LifecycleConfig::new("img:1".parse().unwrap(), "me");
        let task = TaskId::new("t1").unwrap();
        let cases: [(&str, Change, Owner, Claim); 8] = [
            ("ours", |_| {}, Owner::MayLive, Claim::Replace),
            ("a dead one's", |l| set(l, INSTANCE, "other"), Owner::Dead, Claim::Replace),
            ("another's", |l| set(l, INSTANCE, "other"), Owner::MayLive, Claim::Leave(OTHER_CONTROLLER)),
            ("nobody's", |l| drop(l.remove(INSTANCE)), Owner::MayLive, Claim::Leave(OTHER_CONTROLLER)),
            ("another task's", |l| set(l, TASK, "t11"), Owner::Dead, Claim::Leave(OTHER_TASK)),
            (
                "another deployment's",
                |l| set(l, NAMESPACE, "prod"),
                Owner::Dead,
                Claim::Leave(OTHER_DEPLOYMENT),
            ),
            ("no runner's", |l| drop(l.remove(MANAGED)), Owner::Dead, Claim::Leave(NOT_OURS)),
            ("a stranger's", Labels::clear, Owner::Dead, Claim::Leave(NOT_OURS)),
        ];
        for (name, change, owner, want) in cases {
            let mut found = ContainerInfo {
                id: ContainerId::new("abc").unwrap(),
                name: "cnap-runner-t1".to_owned(),
                state: ContainerState::Running,
                labels: labels::of_runner(&config, &task, &AgentId::new("a").unwrap()),
                ports: Vec::new(),
                created_at: None,
                started_at: None,
            };
            change(&mut found.labels);
            assert_eq!(claim(&config, &task, &found, owner), want, "{name}");
        }
    }

    fn set(labels: &mut Labels, key: &str, value: &str) {
        labels.insert(key.to_owned(), value.to_owned());
    }
}
