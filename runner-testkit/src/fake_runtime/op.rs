//! What can be called, logged and made to fail.

/// The calls of [`ContainerRuntime`](runner_core::ContainerRuntime). All but `stuck`, which asks no engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `info`
    Info,
    /// `ensure_image`
    EnsureImage,
    /// `create`; the log names the container's name.
    Create,
    /// `start`
    Start,
    /// `inspect`
    Inspect,
    /// `update`
    Update,
    /// `pause`
    Pause,
    /// `unpause`
    Unpause,
    /// `wait`
    Wait,
    /// `logs`
    Logs,
    /// `stats`
    Stats,
    /// `events`; the log names the labels.
    Events,
    /// `copy_in`
    CopyIn,
    /// `copy_out`
    CopyOut,
    /// `stop`
    Stop,
    /// `remove`
    Remove,
    /// `list`; the log names the labels.
    List,
    /// `release`
    Release,
}
