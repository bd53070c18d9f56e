//! How runners are started, worked with and ended; every default with its reason.

use std::collections::BTreeMap;
use std::time::Duration;

use runner_core::container::Labels;
use runner_core::image::PullPolicy;
use runner_core::{Error, ErrorKind, ImageRef, Resources, Result};

/// The buffer's places are allocated at once, for every turn.
const MAX_EVENT_BUFFER: usize = 65_536;

/// Settings of a [`RunnerManager`](crate::RunnerManager).
#[derive(Debug, Clone)]
pub struct LifecycleConfig {
    /// The agent's image.
    pub image: ImageRef,
    /// When the image is fetched.
    pub pull: PullPolicy,
    /// Limits of each container.
    pub resources: Resources,
    /// Environment of each container beside what the agent's server requires. Everybody who may inspect the
    /// container reads it: never a secret.
    pub env: BTreeMap<String, String>,
    /// Labels of each container beside ours.
    pub labels: Labels,
    /// Which deployment the containers belong to. Two deployments on one engine need two names.
    pub namespace: String,
    /// Which controller process the containers belong to; different for each.
    pub instance: String,
    /// Budgets of starting.
    pub start: StartConfig,
    /// Budgets of a turn.
    pub turn: TurnConfig,
    /// Budgets of ending.
    pub stop: StopConfig,
}

impl LifecycleConfig {
    /// The defaults, for this image and this controller process.
    pub fn new(image: ImageRef, instance: impl Into<String>) -> Self {
        Self {
            image,
            pull: PullPolicy::default(),
            resources: Resources::default(),
            env: BTreeMap::new(),
            labels: Labels::new(),
            namespace: "default".to_owned(),
            instance: instance.into(),
            start: StartConfig::default(),
            turn: TurnConfig::default(),
            stop: StopConfig::default(),
        }
    }

    /// Refuses what cannot work.
    pub(crate) fn validate(&self) -> Result<()> {
        self.resources.validate()?;
        let buffer = self.turn.event_buffer;
        if !(1..=MAX_EVENT_BUFFER).contains(&buffer) {
            let message = format!("a buffer of {buffer} events is out of range");
            return Err(Error::new(ErrorKind::InvalidInput, "check the settings of turns", message)
                .with_hint(format!("give 1 to {MAX_EVENT_BUFFER}")));
        }
        Ok(())
    }
}

/// Budgets of starting a runner.
#[derive(Debug, Clone, Copy)]
pub struct StartConfig {
    /// From the created container to the session. Measured: 2 s alone, 35 s with ten at once on two cores.
    pub ready_timeout: Duration,
    /// Pause between two probes at the start; it doubles up to `probe_pause_max`. Small, because a probe costs
    /// less than a millisecond and every pause is added to the start.
    pub probe_pause: Duration,
    /// Longest pause between two probes. A boot takes about 1.4 s of CPU; more probes would steal from it.
    pub probe_pause_max: Duration,
    /// Whether what the server loads lazily is loaded right after the start, in the background, instead of during
    /// the first turn (measured: 1.4 s of it).
    pub warm_up: bool,
    /// Lines of the container's log that a failed start keeps.
    pub log_tail: u32,
    /// Size of `/tmp` in bytes. It counts towards the memory limit.
    pub tmp_bytes: u64,
    /// Size of the home directory in bytes. It counts towards the memory limit.
    pub home_bytes: u64,
}

impl Default for StartConfig {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            ready_timeout: Duration::from_mins(1),
            probe_pause: Duration::from_millis(5),
            probe_pause_max: Duration::from_millis(20),
            warm_up: true,
            log_tail: 20,
            tmp_bytes: 256 * MIB,
            home_bytes: 128 * MIB,
        }
    }
}

/// Budgets of a turn.
#[derive(Debug, Clone, Copy)]
pub struct TurnConfig {
    /// A turn's time, unless its request sets one: the longest run of the specification.
    pub timeout: Duration,
    /// After so long without an event of the turn, the server is asked whether it still works. Short, because the
    /// question is one tiny request, and it is what finds an end whose event was lost.
    pub probe_after: Duration,
    /// How long an idle session may look unfinished before the turn is taken for failed: the server stores the
    /// last message after it says that it is idle, and starts a turn a moment after it accepted the prompt.
    pub settle: Duration,
    /// How long the event stream may stay lost before the server is taken for lost. Its container is watched
    /// beside it, so this bounds a server that lives and does not answer.
    pub reconnect: Duration,
    /// How long an abort may take to show before the container is stopped instead (measured: below 0.4 s).
    pub abort: Duration,
    /// Events that a reader may be behind before it misses some; 1 to 65,536.
    pub event_buffer: usize,
    /// Requests of the agent for a permission or an answer.
    pub input: InputConfig,
}

/// What becomes of requests for a permission or an answer. What is asked at all is the agent's settings' to say; by
/// default nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputConfig {
    /// How long somebody may take to answer. The turn's own time goes on meanwhile.
    pub deadline: Duration,
    /// What the agent is told when nobody did.
    pub unanswered: Unanswered,
}

/// What the agent is told when nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unanswered {
    /// That it may not, and why: it goes on without. A question cannot be answered so and ends the turn.
    #[default]
    GoOn,
    /// That it may not. Its turn ends.
    Deny,
    /// That it may, this once. A question is denied.
    Allow,
}

impl Default for InputConfig {
    fn default() -> Self {
        Self {
            // A person who is there answers within a minute or two; one who is not keeps a container busy.
            deadline: Duration::from_mins(5),
            unanswered: Unanswered::default(),
        }
    }
}

impl Default for TurnConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(30),
            probe_after: Duration::from_secs(5),
            settle: Duration::from_secs(5),
            reconnect: Duration::from_secs(30),
            abort: Duration::from_secs(5),
            event_buffer: 1024,
            input: InputConfig::default(),
        }
    }
}

/// Budgets of ending a runner.
#[derive(Debug, Clone, Copy)]
pub struct StopConfig {
    /// Between the stop signal and the kill. The server has no handler for the signal and ends at once under an
    /// init (measured: 0.25 s in all), so a longer grace would only delay a stuck one.
    pub grace: Duration,
    /// For the whole shutdown of a manager, as the specification says.
    pub shutdown: Duration,
}

impl Default for StopConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(3), shutdown: Duration::from_secs(30) }
    }
}
