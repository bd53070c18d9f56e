//! Where things are inside a runner's container: the contract between the image (`docker/runner`), the workspace
//! provider that fills the mounts, and the lifecycle that declares them.

/// The agent's workspace; OpenCode's directory.
pub const WORKSPACE: &str = "/workspace";
/// The task's state: OpenCode's session database. Never shared by two servers.
pub const STATE: &str = "/state";
/// What belongs to one container only, read-only inside: the server's password, resolved settings, provider keys.
pub const RUN: &str = "/run/runner";
/// Home of the server's user; a tmpfs.
pub const HOME: &str = "/home/opencode";
/// Scratch space; a tmpfs.
pub const TMP: &str = "/tmp";

/// Below [`RUN`]: the server's password, which the entry script reads.
pub const PASSWORD_FILE: &str = "password";
/// Below [`RUN`]: OpenCode's managed configuration (the image links `/etc/opencode` here), which nothing in a
/// workspace can override.
pub const SETTINGS_FILE: &str = "opencode/opencode.json";
/// Below [`RUN`]: a file per provider with its API key.
pub const KEYS_DIR: &str = "keys";
