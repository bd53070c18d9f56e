//! Ctrl-C must not end xtask before what it started has cleaned up: signals become flags that every wait looks at.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{During, Outcome};

struct Flags {
    /// From a terminal: the whole process group has it, children included.
    interrupted: Arc<AtomicBool>,
    /// To this process alone: children have to be told.
    terminated: Arc<AtomicBool>,
}

static FLAGS: OnceLock<Flags> = OnceLock::new();

/// From here on the process outlives these signals.
pub(crate) fn absorb() -> Outcome {
    let flags = Flags { interrupted: Arc::default(), terminated: Arc::default() };
    for (signal, flag) in
        [(SIGINT, &flags.interrupted), (SIGTERM, &flags.terminated), (SIGHUP, &flags.terminated)]
    {
        signal_hook::flag::register(signal, Arc::clone(flag)).during(|| format!("handle signal {signal}"))?;
    }
    let _ = FLAGS.set(flags);
    Ok(())
}

/// Somebody wants this process to end.
pub(crate) fn stop_asked() -> bool {
    FLAGS.get().is_some_and(|flags| {
        flags.interrupted.load(Ordering::Relaxed) || flags.terminated.load(Ordering::Relaxed)
    })
}

/// This process alone was asked to end, so its child does not know yet.
pub(crate) fn terminated() -> bool {
    FLAGS.get().is_some_and(|flags| flags.terminated.load(Ordering::Relaxed))
}
