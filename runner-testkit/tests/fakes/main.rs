//! The fakes do what their scripts say, and what the real peers were seen to do.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping, also in its helpers")]

mod agent_faults;
mod agent_turns;
mod faults;
mod runtime;
mod talk;
