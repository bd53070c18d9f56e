//! Which path is what. Pure.

use std::path::{Path, PathBuf};

use runner_core::{AgentId, TaskId};

/// What a workspace holds from the start (FR-006).
pub(crate) const AGENT_DIRS: [&str; 3] = [".opencode", "project", "logs"];

/// Paths below one root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn workspace(&self, agent: &AgentId) -> PathBuf {
        self.root.join(agent.as_str())
    }

    pub(crate) fn states(&self) -> PathBuf {
        self.root.join(".state")
    }

    pub(crate) fn state(&self, task: &TaskId) -> PathBuf {
        self.states().join(task.slug())
    }

    pub(crate) fn runs(&self) -> PathBuf {
        self.root.join(".run")
    }

    pub(crate) fn run(&self, task: &TaskId) -> PathBuf {
        self.runs().join(task.slug())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_stays_below_the_root_whatever_the_id() {
        let layout = Layout::new("/data".into());
        let task = TaskId::new("team:7#..").unwrap();
        for path in [layout.state(&task), layout.run(&task), layout.workspace(&AgentId::new("a..b").unwrap())]
        {
            assert!(path.starts_with("/data"));
            assert!(path.components().all(|c| !matches!(c, std::path::Component::ParentDir)), "{path:?}");
        }
    }
}
