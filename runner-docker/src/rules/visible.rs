//! Whether the engine sees the files that we see.
//!
//! A controller in a container, or one that reaches its engine over the network, may name a directory that is another
//! one for the engine, or an empty one: the agent would start in a workspace without its files and work on. What is
//! mounted cannot be told from the engine's answers, so it is tried: a file with a random name is written here and
//! looked for through a container that has the directory mounted and is never started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use runner_core::container::{Labels, Mount, MountSource, Network, UserSpec};
use runner_core::{ContainerId, ContainerSpec, Error, ErrorKind, ImageRef, Result};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::rules::approve::{Rules, within};
use crate::rules::selinux::SelinuxPolicy;
use crate::spec::{self, Profile};
use crate::wait::document;
use crate::{create, list, remove};

const OPERATION: &str = "check that the engine sees the workspaces";

/// Where the directory appears; any name that no image needs.
const TARGET: &str = "/cnap-visible";

/// What names of the file and of the container begin with.
const PREFIX: &str = "cnap-visible-";

/// The label by which a container of a look is known.
const LABEL: (&str, &str) = ("cnap.runner.visible", "look");

/// What is older than this was left behind by a process that was killed: a look takes less than a second.
const LEFT_BEHIND: Duration = Duration::from_hours(1);

/// Files that engines put into every container.
const IN_CONTAINER: &[&str] = &["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"];

/// Whether this process seems to run in a container. Some virtual machines are made from images and have such a file,
/// too, so it is a reason to look and never a verdict.
pub(crate) fn in_container() -> bool {
    IN_CONTAINER.iter().any(|path| Path::new(path).exists())
}

pub(crate) async fn check(
    engine: &Arc<Engine>,
    rules: &Rules,
    profile: &Profile,
    directory: &Path,
    image: &ImageRef,
) -> Result<()> {
    let name = format!("{PREFIX}{}", create::mark()?);
    // The user of what is never started.
    let mut spec = ContainerSpec::new(&name, image.clone(), UserSpec { uid: 65_534, gid: 65_534 });
    spec.labels = labels();
    spec.network = Network::None;
    spec.mounts.push(Mount {
        source: MountSource::HostPath(directory.to_owned()),
        target: TARGET.into(),
        read_only: true,
    });
    let approved = rules.approve(&spec, engine.budgets.read).await?;
    // Labels of a directory in use are not for a look to change.
    let profile =
        Profile { network: profile.network.clone(), logs: profile.logs, selinux: SelinuxPolicy::Leave };
    let body = spec::request(&spec, &approved, &profile)?;
    let (engine, directory) = (Arc::clone(engine), directory.to_owned());
    // Goes on when the caller gives up, so that nothing stays behind.
    let work = tokio::spawn(async move {
        sweep(&engine, &directory).await;
        let file = directory.join(format!(".{name}"));
        write(&engine, file.clone()).await?;
        let seen = match create::create(&engine, &spec, body).await {
            Ok(id) => look(&engine, &id, &directory, &name).await,
            Err(e) if e.kind() == ErrorKind::Workspace => Err(not_visible(&directory).with_source(e)),
            Err(e) => Err(e),
        };
        // By its name: it may have been made even if the answer was lost.
        let removed = match ContainerId::new(name) {
            Ok(id) => remove::remove(&engine, &id).await,
            Err(e) => Err(e),
        };
        let deleted = delete(&engine, file).await;
        seen.and(removed).and(deleted)
    });
    work.await.map_err(|e| Error::new(ErrorKind::Internal, OPERATION, "the check broke").with_source(e))?
}

fn labels() -> Labels {
    Labels::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])
}

/// Removes what killed processes have left behind. Nothing depends on it, so it never fails.
async fn sweep(engine: &Engine, directory: &Path) {
    let is_old = |made: SystemTime| made.elapsed().is_ok_and(|age| age > LEFT_BEHIND);
    for left in list::list(engine, &labels()).await.unwrap_or_default() {
        if left.created_at.is_some_and(is_old) {
            tracing::info!(container = left.name, "removing what an earlier look left behind");
            drop(remove::remove(engine, &left.id).await);
        }
    }
    let directory = directory.to_owned();
    let files = move || {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(&format!(".{PREFIX}")));
            let made = entry.metadata().and_then(|found| found.modified());
            if ours && made.is_ok_and(is_old) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
        Ok(())
    };
    drop(within(engine.budgets.read, files).await);
}

async fn look(engine: &Engine, id: &ContainerId, directory: &Path, name: &str) -> Result<()> {
    let path = format!("/containers/{id}/archive?path={TARGET}/.{name}");
    match engine.open(Method::HEAD, &path, engine.budgets.read).await {
        Ok(_) => Ok(()),
        // A reply to HEAD has no text, so this may also be the container that is gone.
        Err(EngineError::Status { code: 404, .. }) => match document(engine, id).await {
            Ok(_) => Err(not_visible(directory)),
            Err(e) => Err(e.into_core(OPERATION)),
        },
        Err(e) => Err(e.into_core(OPERATION)),
    }
}

fn not_visible(directory: &Path) -> Error {
    let message = format!("the engine does not see the files in {} that we see", directory.display());
    Error::new(ErrorKind::Workspace, OPERATION, message).with_hint(
        "it has other files there: mount the directory into the controller's container under the same path as on the \
         engine's host, or say in DockerConfig::path_map what the engine calls it",
    )
}

async fn write(engine: &Engine, file: PathBuf) -> Result<()> {
    within(engine.budgets.read, move || {
        let opened = std::fs::File::create_new(&file);
        opened.map(drop).map_err(|e| {
            let shown = file.parent().unwrap_or(&file).display();
            Error::new(ErrorKind::Workspace, OPERATION, format!("no file can be made in {shown}"))
                .with_hint("let this user write there")
                .with_source(e)
        })
    })
    .await
}

async fn delete(engine: &Engine, file: PathBuf) -> Result<()> {
    within(engine.budgets.read, move || {
        std::fs::remove_file(&file).map_err(|e| {
            let message = format!("{} cannot be deleted again", file.display());
            Error::new(ErrorKind::Workspace, OPERATION, message).with_hint("delete it by hand").with_source(e)
        })
    })
    .await
}
