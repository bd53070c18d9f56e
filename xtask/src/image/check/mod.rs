//! Starts the image as the runner does and proves what it promises.

mod facts;
mod scenarios;
mod trial;

use crate::docker::Docker;
use crate::engine::OWN_LABEL;
use crate::failure::{Failure, Outcome};
use crate::signals;
use crate::step::{note, step};

/// What was found so far.
#[derive(Debug, Default)]
struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// One line per promise. `Ok` carries what was seen.
    fn check(&mut self, promise: &str, outcome: Outcome<String>) {
        match outcome {
            Ok(seen) => {
                self.passed += 1;
                note(format!("ok     {promise}{}{seen}", if seen.is_empty() { "" } else { ": " }));
            }
            Err(failure) => {
                self.failed += 1;
                note(format!("FAILED {promise}: {failure}"));
            }
        }
    }
}

/// Proves the image's promises; every one that does not hold is named.
pub(crate) fn check(docker: &Docker, image: &str) -> Outcome {
    if docker.image(image)?.is_none() {
        return Err(Failure::new(format!("image {image} is not there")).help("cargo xtask image build"));
    }
    // What an earlier run left behind that was killed.
    docker.remove_containers(OWN_LABEL)?;
    let mut report = Report::default();
    for (what, scenario) in scenarios::ALL {
        let before = report.failed;
        // A broken promise is one line of the report; the scenarios after it run all the same.
        let _ = step(what, || {
            if let Err(failure) = scenario(docker, image, &mut report) {
                report.check("the scenario can be played", Err(failure));
            }
            if report.failed == before { Ok(()) } else { Err(Failure::new(what)) }
        });
        if signals::stop_asked() {
            return Err(Failure::interrupted());
        }
    }
    println!("image {image}: {} promises hold, {} do not", report.passed, report.failed);
    if report.failed == 0 {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "the image {image} breaks {} of its promises, see FAILED above",
            report.failed
        )))
    }
}
