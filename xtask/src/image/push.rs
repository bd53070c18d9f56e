//! Gives an image to a registry.

use crate::docker::Docker;
use crate::failure::{Failure, Outcome};
use crate::paths;
use crate::step::{note, step};

pub(crate) fn push(docker: &Docker, reference: &str) -> Outcome {
    let local = paths::default_image()?;
    if docker.image(&local)?.is_none() {
        return Err(Failure::new(format!("{local} is not there")).help("cargo xtask image build"));
    }
    docker.ask(["tag", &local, reference])?;
    step(format!("push {local} as {reference}"), || match docker.call(["push", reference]).attached()? {
        0 => Ok(()),
        code => Err(Failure::exit(format!("docker push {reference} ended with exit code {code}"), code)
            .help("log in with `docker login`, and look at the message above")),
    })?;
    note("this pushed the architecture of this engine alone; for several, run");
    note(format!(
        "docker buildx build --platform linux/amd64,linux/arm64 --build-arg OPENCODE_VERSION={} --tag {reference} --push docker/runner",
        paths::opencode_version()?
    ));
    Ok(())
}
