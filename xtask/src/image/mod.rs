//! The runner's image: build it, prove it, push it.

mod authorities;
mod base;
mod build;
mod check;
mod inputs;
mod push;

pub(crate) use build::{Options, build};
pub(crate) use check::check;
pub(crate) use push::push;

use crate::docker::Docker;
use crate::failure::Outcome;

/// The image that the demo, the tests and the benchmarks run, built when it is missing or older than its sources.
pub(crate) fn ensure(docker: &Docker) -> Outcome<Built> {
    build(docker, &Options::default())
}

/// An image that is there now.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) reference: String,
    /// False: it was there before.
    pub(crate) new: bool,
}
