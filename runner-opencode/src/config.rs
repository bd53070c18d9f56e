//! What can be configured: how long each kind of call may take, and how much an answer may hold.

use std::time::Duration;

/// Settings of the connector.
#[derive(Debug, Clone)]
pub struct OpenCodeConfig {
    /// How long each kind of call may take.
    pub limits: TimeLimits,
    /// The largest answer that is read. Default 64 MiB: a session's messages are read whole, and one tool output
    /// of several megabytes is normal; a hundred times that is not.
    pub max_body_bytes: usize,
    /// The largest frame of the event stream that is read. Default 32 MiB: a frame carries a whole part, and a text
    /// of 2 MB is a frame of 2 MB; an attached file is a frame too.
    pub max_frame_bytes: usize,
    /// Whether an event stream is proved before it is given out. Default `true`: the server says that a stream is
    /// connected a moment before it listens, and what happens in between is on no stream (measured: one turn in
    /// 12 to 60 lost its first events). Proving costs a request or two, some 20 ms, once per stream. Off only for
    /// servers that are not OpenCode.
    pub prove_events: bool,
}

impl Default for OpenCodeConfig {
    fn default() -> Self {
        Self {
            limits: TimeLimits::default(),
            max_body_bytes: 64 << 20,
            max_frame_bytes: 32 << 20,
            prove_events: true,
        }
    }
}

/// How long each kind of call may take, from the connection to the last byte of the answer.
///
/// These bound one request. How long a start or a turn may take is decided above, where a call's future is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeLimits {
    /// Making a connection. Default 1 s: an address that does not answer a handshake by then is not there.
    pub connect: Duration,
    /// One health probe. Default 1 s: a port forwarder may accept a connection before the server listens and never
    /// answer on it, so a probe must give up soon for the next one to succeed; a busy server answers within 0.3 s.
    pub health: Duration,
    /// Making a session. Default 60 s: the first one boots the server's instance, which takes 0.1 s, 7 s when ten
    /// servers share one core, and as long as a blocked package installation where plugins are on.
    pub create_session: Duration,
    /// All of the warm-up. Default 60 s: 1.5 s on a free core, 8.5 s with half of one, and several at a time.
    pub warm_up: Duration,
    /// Handing over a prompt. Default 30 s: the server answers after it has stored the message, in 20 ms; a loaded
    /// machine is slower, and giving up early leaves it unknown whether the prompt was accepted.
    pub prompt: Duration,
    /// Asking for an abort. Default 5 s: it takes at most 0.4 s, and whoever waits has a harder means in reserve.
    pub abort: Duration,
    /// Answering a request for a permission or an answer. Default 10 s: a small change in memory, but whoever waits
    /// for it is a person.
    pub answer: Duration,
    /// Reading the messages of a session. Default 30 s: the answer may be tens of megabytes.
    pub messages: Duration,
    /// Reading the status of the sessions. Default 5 s: a small answer out of memory.
    pub status: Duration,
    /// Opening the event stream, until it has shown an event that was made for it. Default 20 s: the server sends
    /// its first event at once, but the proof may have to boot the server's instance, 7 s when ten share one core.
    pub open_events: Duration,
    /// How long the event stream may be silent. Default 30 s: three heartbeats.
    pub silence: Duration,
}

/// How often the server sends a heartbeat when nothing else happens.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            health: Duration::from_secs(1),
            create_session: Duration::from_mins(1),
            warm_up: Duration::from_mins(1),
            prompt: Duration::from_secs(30),
            abort: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            messages: Duration::from_secs(30),
            status: Duration::from_secs(5),
            open_events: Duration::from_secs(20),
            silence: HEARTBEAT * 3,
        }
    }
}
