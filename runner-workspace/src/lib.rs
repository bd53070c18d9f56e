//! Agents' workspaces, tasks' state and containers' settings as directories on a local disk.
//!
//! One root holds everything, so that a rename never crosses a file system:
//!
//! ```text
//! {root}/{agent_id}/            the workspace: .opencode/ project/ logs/    → /workspace
//! {root}/.state/{task}/         OpenCode's session database                 → /state
//! {root}/.run/{task}/           password, settings, keys of one container   → /run/runner (read-only)
//! ```
//!
//! An agent id begins with a letter or digit, so it can never name one of ours.
//!
//! The workspace is writable by the agent, so everything in it is hostile: nothing below an agent's directory is
//! followed through a symbolic link, and no settings are read from it.

mod config;
mod dirs;
mod error;
mod layout;
mod provider;
mod run_dir;
mod settings;

pub use config::WorkspaceConfig;
pub use provider::DirectoryWorkspaces;
