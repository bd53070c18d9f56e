//! The fakes do what their scripts say, and what the real peers were seen to do.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by unwrapping, also in its helpers")]

mod agent_faults;
mod agent_turns;
mod boxes;
mod faults;
mod runtime;
mod runtime_ends;
mod runtime_events;
mod runtime_files;
mod runtime_images;
mod runtime_limits;
mod talk;
