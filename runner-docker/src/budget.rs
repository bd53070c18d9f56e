//! How long each class of call may take.

use std::time::Duration;

/// Time limits, one per class of call. Each covers the whole call: connection, headers and body.
///
/// A limit is not an expectation: the usual time is in the comment, the limit is where waiting stops to make sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// The first proof that an engine answers. A healthy one takes milliseconds; a person waits for this one.
    pub connect: Duration,
    /// Reading: inspect, list, version, networks. Milliseconds, but the engine holds a container's lock while it
    /// starts, and ten starts at once on two cores take tens of seconds.
    pub read: Duration,
    /// Creating a container. A tenth of a second; a slow disk that unpacks a layer takes longer.
    pub create: Duration,
    /// Looking for a container whose creation gave no answer: the engine may be restarting, or still be at it.
    pub lost_reply: Duration,
    /// Starting a container. A quarter of a second; tens of seconds when many start at once.
    pub start: Duration,
    /// From the engine's "started" to every port published. Nothing on Linux; engines in a virtual machine
    /// publish in the background.
    pub ports: Duration,
    /// What a stop may take beyond its grace: the engine's own kill and its clean-up.
    pub stop_margin: Duration,
    /// Removing a container, retries of a busy file system included.
    pub remove: Duration,
    /// A pull in all, further tries included. A gigabyte over a slow line takes minutes.
    pub pull: Duration,
    /// Before a failed pull is tried again for the first time; doubled after. A registry under load wants seconds.
    pub pull_pause: Duration,
    /// One sample of a container's counters. Engines look twice, a second apart.
    pub stats: Duration,
    /// Copying files into or out of a container, all of its steps together. As fast as the disk; the engine holds the
    /// container's lock meanwhile.
    pub copy: Duration,
    /// The longest silence of a pull. Registries have been seen to take more than two minutes to the first byte.
    pub pull_idle: Duration,
    /// The longest silence of a followed log, of events or of a wait before the container or the engine is looked at.
    /// Silence is normal there; this is how soon a lost engine is noticed.
    pub stream_idle: Duration,
    /// How long a wait or a stream survives an engine that does not answer: a restart of the engine takes seconds.
    pub reconnect: Duration,
    /// How long a call waits for one of the places of [`max_calls`](crate::DockerConfig::max_calls), and for other
    /// calls that prepare the shared network. Every place is given back within its call's own limit.
    pub queue: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(20),
            create: Duration::from_mins(1),
            lost_reply: Duration::from_secs(20),
            start: Duration::from_mins(1),
            ports: Duration::from_secs(10),
            stop_margin: Duration::from_secs(15),
            remove: Duration::from_mins(1),
            pull: Duration::from_mins(30),
            pull_pause: Duration::from_secs(1),
            stats: Duration::from_secs(10),
            copy: Duration::from_mins(1),
            pull_idle: Duration::from_mins(5),
            stream_idle: Duration::from_secs(30),
            reconnect: Duration::from_mins(1),
            queue: Duration::from_mins(1),
        }
    }
}
