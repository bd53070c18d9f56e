//! Everything that a live run needs: an engine, a client that gets along with it, the image.

use crate::docker::Docker;
use crate::engine;
use crate::failure::Outcome;
use crate::image::{self, Built};
use crate::process::Call;
use crate::step::{note, step};

pub(crate) struct Ready {
    host: String,
    pub(crate) docker: Docker,
    pub(crate) image: Built,
}

/// Installs and starts what is missing: who asks for a demo or for the tests asks for this too.
pub(crate) fn ready(host: Option<&str>) -> Outcome<Ready> {
    let engine = step("find a Docker engine, or start one", || engine::up(host, true))?;
    note(format!("engine: {} ({}), from {}", engine.host, engine.about, engine.origin));
    let docker = Docker::at(&engine.host)?;
    let image = image::ensure(&docker)?;
    Ok(Ready { host: engine.host, docker, image })
}

impl Ready {
    /// Tells a program of ours which engine and which image to use.
    pub(crate) fn tell(&self, call: Call) -> Call {
        call.env("DOCKER_HOST", &self.host).env("CNAP_RUNNER_IMAGE", &self.image.reference)
    }
}
