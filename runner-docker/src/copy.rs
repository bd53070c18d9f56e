//! Files into and out of a container, as tar archives through the engine.
//!
//! What engine 20.10 does, each measured: it unpacks as root, makes missing directories of a path as root's, follows
//! links of the container within the path (through one planted in a workspace it writes into the container's
//! read-only root), does not see memory-backed directories (`places.rs`), and calls most refusals a 500. So a copy in
//! looks at every directory on its way first, makes missing ones itself, and refuses links; that is a look before a
//! leap, and whoever is inside may still change what was looked at. They gain nothing on the host by it: the
//! engine unpacks with the container's root as its own.
//!
//! The engine holds the container's lock while it sends an archive. A copy is bounded as a whole, and ends the
//! connection as soon as it has read too much.

mod pax;
mod places;
mod tarball;
mod untar;

use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use http_body_util::BodyExt;
use runner_core::files::ContainerFile;
use runner_core::{ContainerId, Error, ErrorKind, Result};
use serde::Deserialize;
use tokio::time::timeout;

use crate::copy::places::{Description, Place, Places};
use crate::copy::tarball::Tarball;
use crate::copy::untar::{Refused, Untar};
use crate::engine::{Engine, escape};
use crate::error::{EngineError, clean};
use crate::wait::inspect;

const IN: &str = "copy files into the container";
const OUT: &str = "copy files out of the container";

const TAR: &str = "application/x-tar";
const STAT: &str = "X-Docker-Container-Path-Stat";

/// Longest path, as Linux has it.
const MAX_PATH: usize = 4096;

/// Bits of a Go program's file mode, which an engine sends.
const GO_DIRECTORY: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;

/// What is at a path, the last part of it not followed.
#[derive(Debug, Default, Deserialize)]
struct Stat {
    mode: u32,
    /// Where a link leads, with all links on the way followed.
    #[serde(rename = "linkTarget", default)]
    link_target: PathBuf,
}

impl Stat {
    fn is_link(&self) -> bool {
        self.mode & GO_LINK != 0 && self.link_target.is_absolute()
    }

    fn is_directory(&self) -> bool {
        self.mode & GO_DIRECTORY != 0
    }
}

pub(crate) async fn copy_in(
    engine: &Engine,
    id: &ContainerId,
    directory: &Path,
    files: &[ContainerFile],
) -> Result<()> {
    let tarball = Tarball::of(IN, files)?;
    let directory = plain(IN, directory)?;
    let copy = Copy { engine, id, operation: IN };
    copy.within(copy.put(&directory, &tarball)).await
}

pub(crate) async fn copy_out(
    engine: &Engine,
    id: &ContainerId,
    path: &Path,
    max_bytes: u64,
) -> Result<Vec<ContainerFile>> {
    let path = plain(OUT, path)?;
    let copy = Copy { engine, id, operation: OUT };
    copy.within(copy.get(&path, max_bytes)).await
}

/// An absolute path without `.`, `..` and a slash at its end, each of which an engine would give a meaning.
fn plain(operation: &'static str, path: &Path) -> Result<PathBuf> {
    let is_plain = path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
        && path.as_os_str().len() <= MAX_PATH
        && !path.as_os_str().as_encoded_bytes().contains(&0);
    if is_plain {
        return Ok(path.components().collect());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        operation,
        format!("{} is not a plain absolute path", path.display()),
    )
    .with_hint("use an absolute path without '..'"))
}

#[derive(Clone, Copy)]
struct Copy<'a> {
    engine: &'a Engine,
    id: &'a ContainerId,
    operation: &'static str,
}

impl Copy<'_> {
    /// All steps of a copy together are bounded.
    async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.engine.budgets.copy;
        timeout(limit, work).await.unwrap_or_else(|_| Err(self.error(EngineError::Timeout { after: limit })))
    }

    async fn put(&self, directory: &Path, tarball: &Tarball<'_>) -> Result<()> {
        let places = self.places().await?;
        let (resolved, stat) = self.resolve(&places, directory, true).await?;
        if !stat.is_directory() {
            return Err(
                self.refuse(ErrorKind::InvalidInput, format!("{} is not a directory", directory.display()))
            );
        }
        for path in std::iter::once(resolved.clone()).chain(tarball.paths().map(|path| resolved.join(path))) {
            self.check_writable(&places, &path)?;
        }
        let missing = self.missing(&resolved, &tarball.parents()).await?;
        let body = tarball.pack(&missing).map_err(|e| {
            self.refuse(ErrorKind::Internal, "the archive could not be made".to_owned()).with_source(e)
        })?;
        let path = self.archive(&resolved, "&noOverwriteDirNonDir=true");
        let upload = self.engine.exchange_of(TAR, Method::PUT, &path, Some(body));
        match self.engine.short(self.engine.budgets.copy, upload).await {
            Ok(_) => Ok(()),
            Err(e) => Err(self.put_error(e, directory)),
        }
    }

    async fn get(&self, path: &Path, max_bytes: u64) -> Result<Vec<ContainerFile>> {
        let places = self.places().await?;
        let (resolved, _) = self.resolve(&places, path, false).await?;
        if let Some(memory) = places.memory_below(&resolved) {
            let message = format!(
                "{} has {} below it, which is not on a disk: the copy would lack it",
                path.display(),
                memory.display()
            );
            return Err(self.refuse(ErrorKind::Unsupported, message).with_hint("copy what is beside it"));
        }
        let url = self.archive(&resolved, "");
        let mut untar = Untar::new(max_bytes);
        let download = async {
            let mut body = self.engine.exchange_of(TAR, Method::GET, &url, None).await?.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| EngineError::Broken { source: Box::new(e) })?;
                if let Some(Err(refused)) = frame.data_ref().map(|data| untar.feed(data)) {
                    return Ok(Some(refused));
                }
            }
            Ok(None)
        };
        match self.engine.short(self.engine.budgets.copy, download).await {
            Ok(None) => {}
            Ok(Some(refused)) => return Err(self.refused(refused, path, max_bytes)),
            Err(e) if e.is_path_missing() => return Err(self.not_there(path)),
            Err(e) => return Err(self.error(e)),
        }
        // What is there has an entry, if only its own.
        untar.finish().filter(|files| !files.is_empty()).ok_or_else(|| {
            let message = format!("the copy of {} broke off", path.display());
            self.refuse(ErrorKind::Connection, message).temporary()
        })
    }

    async fn places(&self) -> Result<Places> {
        let path = format!("/containers/{}/json", self.id);
        let read = self.engine.budgets.read;
        let described: Result<Description, EngineError> =
            self.engine.json(Method::GET, &path, None, read).await;
        described.map(Places::of).map_err(|e| self.error(e))
    }

    /// A path without links but, unless it is to be followed, its last part; and what is there.
    async fn resolve(&self, places: &Places, path: &Path, follow_last: bool) -> Result<(PathBuf, Stat)> {
        let parts: Vec<_> = path.components().skip(1).collect();
        let mut resolved = PathBuf::from("/");
        let mut stat = Stat { mode: GO_DIRECTORY, ..Stat::default() };
        self.check_seen(places, path)?;
        for (at, part) in parts.iter().enumerate() {
            resolved.push(part);
            let rest = parts.get(at + 1..).unwrap_or_default();
            let Some(found) = self.stat(&resolved).await? else {
                // The engine does not tell what is missing.
                inspect(self.engine, self.id).await.map_err(|e| self.error(e))?;
                return Err(self.not_there(path));
            };
            stat = found;
            if stat.is_link() && (!rest.is_empty() || follow_last) {
                resolved = stat.link_target;
                self.check_seen(places, &rest.iter().fold(resolved.clone(), |path, part| path.join(part)))?;
                stat = self.stat(&resolved).await?.ok_or_else(|| self.not_there(path))?;
            }
            if !rest.is_empty() && !stat.is_directory() {
                return Err(self.not_there(path));
            }
        }
        Ok((resolved, stat))
    }

    /// What the engine does not see is not looked for: it would see something else.
    fn check_seen(&self, places: &Places, path: &Path) -> Result<()> {
        if places.place(path) != Place::Memory {
            return Ok(());
        }
        let message = format!("{} is not on a disk: the engine does not see it", path.display());
        Err(self
            .refuse(ErrorKind::Unsupported, message)
            .with_hint("use what lies in a volume or a mounted directory"))
    }

    /// `None`: nothing is there.
    async fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        let url = self.archive(path, "");
        let look = self.engine.exchange_of(TAR, Method::HEAD, &url, None);
        match self.engine.short(self.engine.budgets.read, look).await {
            Ok(response) => {
                let header =
                    response.headers().get(STAT).map(http::HeaderValue::as_bytes).unwrap_or_default();
                let stat =
                    BASE64_STANDARD.decode(header).ok().and_then(|text| serde_json::from_slice(&text).ok());
                stat.map(Some).ok_or_else(|| {
                    self.error(EngineError::Decode {
                        message: format!("no description of {}", path.display()),
                    })
                })
            }
            Err(EngineError::Status { code: 404, .. }) => Ok(None),
            Err(e) => Err(self.error(e)),
        }
    }

    /// Those of the directories that have to be made. The others are directories, and no links to others.
    async fn missing<'p>(&self, below: &Path, parents: &[&'p Path]) -> Result<Vec<&'p Path>> {
        let mut missing: Vec<&Path> = Vec::new();
        for parent in parents {
            if missing.iter().any(|above| parent.starts_with(above)) {
                missing.push(parent);
                continue;
            }
            let path = below.join(parent);
            match self.stat(&path).await? {
                None => missing.push(parent),
                Some(stat) if stat.is_directory() => {}
                Some(_) => {
                    let message = format!("{} is not a directory, or a link to one", path.display());
                    return Err(self
                        .refuse(ErrorKind::InvalidInput, message)
                        .with_hint("links in a container lead where its programs want"));
                }
            }
        }
        Ok(missing)
    }

    fn check_writable(&self, places: &Places, path: &Path) -> Result<()> {
        self.check_seen(places, path)?;
        match places.place(path) {
            Place::ReadOnly => Err(self.unwritable(format!("{} is read-only", path.display()))),
            Place::Memory | Place::Writable => Ok(()),
        }
    }

    fn unwritable(&self, message: String) -> Error {
        self.refuse(ErrorKind::Unsupported, message)
            .with_hint("copy into a volume or a mounted directory that is writable")
    }

    fn archive(&self, path: &Path, more: &str) -> String {
        format!("/containers/{}/archive?path={}{more}", self.id, escape(path.as_os_str().as_encoded_bytes()))
    }

    fn put_error(&self, error: EngineError, directory: &Path) -> Error {
        let said = error.status().map(|(_, message)| message.to_owned()).unwrap_or_default();
        let message = format!("{}: {said}", directory.display());
        if said.contains("marked read-only") || said.contains("read-only file system") {
            self.unwritable(message)
        } else if said.contains("cannot overwrite") || said.contains("not a directory") {
            self.refuse(ErrorKind::InvalidInput, message).with_hint(
                "something else of that name is there; a copy does not replace a directory by a file",
            )
        } else if error.is_path_missing() {
            self.not_there(directory)
        } else {
            self.error(error)
        }
    }

    fn refused(&self, refused: Refused, path: &Path, max_bytes: u64) -> Error {
        let path = path.display();
        match refused {
            Refused::TooLarge => {
                let message = format!("{path} has more than {max_bytes} bytes");
                self.refuse(ErrorKind::Capacity, message)
            }
            Refused::TooMany => {
                let message = format!("{path} has more entries than can be copied at once");
                self.refuse(ErrorKind::Capacity, message).with_hint("copy it in parts")
            }
            Refused::Odd(what) => {
                let message = format!("the engine's copy of {path} has {what}");
                self.refuse(ErrorKind::Protocol, clean(&message))
            }
        }
    }

    fn not_there(&self, path: &Path) -> Error {
        self.refuse(ErrorKind::NotFound, format!("there is no {} in the container", path.display()))
    }

    fn refuse(&self, kind: ErrorKind, message: String) -> Error {
        Error::new(kind, self.operation, message).with_container(self.id)
    }

    fn error(&self, error: EngineError) -> Error {
        error.into_core(self.operation).with_container(self.id)
    }
}
