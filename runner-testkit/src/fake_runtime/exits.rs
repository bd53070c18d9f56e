//! Ways in which a container ends.

use runner_core::{ExitReason, ExitStatus};

/// What a signal adds to its number in an exit code.
const BY_SIGNAL: i64 = 128;

fn by_signal(signal: u8, reason: ExitReason) -> ExitStatus {
    ExitStatus { reason, ..ExitStatus::of_code(BY_SIGNAL + i64::from(signal)) }
}

/// An exit with this code and nothing else to say.
pub fn exited(code: i64) -> ExitStatus {
    ExitStatus::of_code(code)
}

/// The exit of a container whose first process a signal of its own making ended, such as 11 (SIGSEGV).
pub fn crashed(signal: u8) -> ExitStatus {
    by_signal(signal, ExitReason::Crashed { signal })
}

/// The exit of a container that somebody else than this library has sent a signal.
pub fn killed_by_other(signal: u8) -> ExitStatus {
    by_signal(signal, ExitReason::KilledByOther { signal })
}

/// The exit of a container that the kernel killed for memory.
pub fn out_of_memory() -> ExitStatus {
    ExitStatus { oom_killed: true, ..by_signal(9, ExitReason::OutOfMemory) }
}

/// The exit, with this code, of a container in which the kernel had killed a child process for memory.
pub fn child_out_of_memory(code: i64) -> ExitStatus {
    ExitStatus { oom_killed: true, reason: ExitReason::ChildOutOfMemory, ..ExitStatus::of_code(code) }
}

/// The exit of a container that went down with its engine and gave way to the stop signal.
pub fn engine_restart() -> ExitStatus {
    by_signal(15, ExitReason::EngineRestart)
}
