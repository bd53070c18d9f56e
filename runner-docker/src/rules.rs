//! What may become a container here, and how: judged before the engine is asked.
//!
//! `approve.rs` judges a spec as a whole: its mounts (`mounts.rs`: what may never be mounted) and its grants
//! (`policy.rs`, with `device.rs` and `named_network.rs`: what goes beyond the default profile, and only if whoever
//! operates the engine allows it). `selinux.rs` and `visible.rs` are about mounts that a container could not read, or
//! that are not what they seem.

pub(crate) mod approve;
pub(crate) mod device;
pub(crate) mod mounts;
pub(crate) mod named_network;
pub(crate) mod policy;
pub(crate) mod selinux;
pub(crate) mod visible;

pub use mounts::PathMapping;
pub use policy::AllowedGrants;
pub use selinux::SelinuxPolicy;
