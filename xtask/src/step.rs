//! One line for what comes next, one for how long it took. Standard error, so that results alone are on standard output.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::failure::Outcome;

/// Says what is done next, does it, says how long it took.
pub(crate) fn step<T>(what: impl Display, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    say(format_args!("→ {what}"));
    let begun = Instant::now();
    let outcome = work();
    let took = Took(begun.elapsed());
    match &outcome {
        Ok(_) => say(format_args!("✓ {what} ({took})")),
        Err(_) => say(format_args!("✗ {what} ({took})")),
    }
    outcome
}

/// Something to know about the step that runs.
pub(crate) fn note(what: impl Display) {
    say(format_args!("  {what}"));
}

fn say(line: impl Display) {
    eprintln!("{line}");
}

/// A duration as a person reads it.
#[derive(Clone, Copy)]
pub(crate) struct Took(pub(crate) Duration);

impl Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs_f64();
        match self.0.as_secs() {
            0 => write!(f, "{seconds:.2} s"),
            1..=99 => write!(f, "{seconds:.1} s"),
            whole => write!(f, "{} min {} s", whole / 60, whole % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_to_read() {
        let read = |milliseconds| Took(Duration::from_millis(milliseconds)).to_string();
        assert_eq!(read(12), "0.01 s");
        assert_eq!(read(2_345), "2.3 s");
        assert_eq!(read(125_000), "2 min 5 s");
    }
}
