//! The base image: the one that the Dockerfile names where a registry answers, else one made from Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::docker::Docker;
use crate::engine::{packages, privileged};
use crate::env;
use crate::failure::{During, Failure, Outcome};
use crate::paths;
use crate::process::Call;
use crate::step::{note, step};

/// The same Debian as the Dockerfile's own base, so that both give the same git and ripgrep.
const SUITE: &str = "bookworm";
/// What is made here is kept under this name and used again.
pub(super) const OWN: &str = "cnap-runner-base:bookworm";
/// A slim base is 80 MB; a registry that needs longer is treated as one that does not answer.
const PULL_LIMIT: Duration = Duration::from_mins(3);
/// 26 s were seen; the rest is for slow mirrors.
const DEBOOTSTRAP_LIMIT: Duration = Duration::from_mins(15);

/// An image that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) reference: String,
    pub(super) id: String,
}

impl Base {
    /// As the label of an image that was built on it.
    pub(super) fn label(&self) -> String {
        format!("{}@{}", self.reference, self.id)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Use(String),
    /// Pull it, and accept nothing else.
    Pull(String),
    /// Pull it; where that fails, make one.
    PullOrMake(String),
}

/// `--base` is an order. Otherwise what is there already is used before a registry is asked.
fn plan(ordered: Option<&str>, usual: &str, is_here: impl Fn(&str) -> bool) -> Plan {
    if let Some(ordered) = ordered {
        return if is_here(ordered) { Plan::Use(ordered.to_owned()) } else { Plan::Pull(ordered.to_owned()) };
    }
    match [usual, OWN].into_iter().find(|reference| is_here(reference)) {
        Some(here) => Plan::Use(here.to_owned()),
        None => Plan::PullOrMake(usual.to_owned()),
    }
}

/// The base that would be used without pulling or making anything.
pub(super) fn here(docker: &Docker, ordered: Option<&str>, dockerfile: &str) -> Outcome<Option<Base>> {
    let usual = named_in(dockerfile)?;
    let known = [ordered.unwrap_or_default(), &usual, OWN];
    let mut present = Vec::new();
    for reference in known.into_iter().filter(|reference| !reference.is_empty()) {
        if let Some(id) = id(docker, reference)? {
            present.push(Base { reference: reference.to_owned(), id });
        }
    }
    let is_here = |reference: &str| present.iter().any(|base| base.reference == reference);
    Ok(match plan(ordered, &usual, is_here) {
        Plan::Use(reference) => present.into_iter().find(|base| base.reference == reference),
        Plan::Pull(_) | Plan::PullOrMake(_) => None,
    })
}

/// The base to build on, pulled or made if need be.
pub(super) fn obtain(
    docker: &Docker,
    ordered: Option<&str>,
    dockerfile: &str,
    mirror: Option<&str>,
) -> Outcome<Base> {
    if let Some(base) = here(docker, ordered, dockerfile)? {
        note(format!("base image: {}, which is here already", base.reference));
        return Ok(base);
    }
    let (reference, make_one) = match plan(ordered, &named_in(dockerfile)?, |_| false) {
        Plan::Use(reference) | Plan::Pull(reference) => (reference, false),
        Plan::PullOrMake(reference) => (reference, true),
    };
    let reference = match step(format!("pull the base image {reference}"), || pull(docker, &reference)) {
        Ok(()) => reference,
        Err(failure) if make_one && !crate::signals::stop_asked() => {
            note(format!("{failure}\n  so one is made from Debian's packages"));
            make(docker, mirror)?;
            OWN.to_owned()
        }
        Err(failure) => {
            return Err(
                failure.help("load it with `docker load`, name another with --base, or leave --base out")
            );
        }
    };
    match id(docker, &reference)? {
        Some(id) => Ok(Base { reference, id }),
        None => {
            Err(Failure::new(format!("the base image {reference} is not there after it was pulled or made")))
        }
    }
}

fn id(docker: &Docker, reference: &str) -> Outcome<Option<String>> {
    let image = docker.image(reference)?;
    Ok(image.and_then(|image| image.get("Id").and_then(|id| id.as_str()).map(ToOwned::to_owned)))
}

/// The value of `ARG BASE_IMAGE=` in the Dockerfile: stated there and nowhere else.
fn named_in(dockerfile: &str) -> Outcome<String> {
    let value = dockerfile.lines().find_map(|line| line.trim().strip_prefix("ARG BASE_IMAGE="));
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).ok_or_else(|| {
        Failure::new("docker/runner/Dockerfile has no line `ARG BASE_IMAGE=…`")
            .help("name the base with --base")
    })
}

fn pull(docker: &Docker, reference: &str) -> Outcome {
    docker.call(["pull", "--quiet", reference]).limit(PULL_LIMIT).output().map(drop)
}

fn make(docker: &Docker, mirror: Option<&str>) -> Outcome {
    let help = "run this as root on Debian or Ubuntu, make a registry reachable, or name an image that is here with --base";
    if !privileged() {
        return Err(Failure::new("a base image can only be made from Debian's packages by root").help(help));
    }
    if !env::has("debootstrap") {
        if !env::has("apt-get") {
            return Err(Failure::new("there is no debootstrap to make a base image with").help(help));
        }
        // The keyring, because Ubuntu's debootstrap comes without Debian's keys.
        packages(&["debootstrap", "debian-archive-keyring"])?;
    }
    let scratch = paths::scratch("image")?;
    let tree = scratch.join("base");
    let archive = scratch.join("base.tar");
    let outcome = made(docker, mirror, &tree, &archive);
    let _ = fs::remove_file(&archive);
    // What the tree's removal says matters only when nothing else went wrong.
    outcome.and(remove(&tree))
}

fn made(docker: &Docker, mirror: Option<&str>, tree: &Path, archive: &Path) -> Outcome {
    remove(tree)?;
    step(format!("debootstrap: a minimal Debian {SUITE}"), || {
        let call = Call::new("debootstrap").args(["--variant=minbase", "--force-check-gpg", SUITE]);
        let call = call.arg(tree).args(mirror).limit(DEBOOTSTRAP_LIMIT);
        // It explains itself on standard output, its log has the rest.
        let (code, last) = call.lines(|_| {})?;
        if code == 0 {
            Ok(())
        } else {
            Err(Failure::new(format!("debootstrap ended with exit code {code}:\n{last}")))
        }
    })?;
    slim(tree)?;
    step(format!("import it as {OWN}"), || {
        let tar = Call::new("tar")
            .args(["--numeric-owner", "--one-file-system", "-C"])
            .arg(tree)
            .arg("-cf")
            .arg(archive);
        tar.arg(".").limit(PULL_LIMIT).output()?;
        let import = docker.call([
            "import",
            "--change",
            "LABEL cnap.runner.base=debootstrap",
            "--change",
            "CMD [\"/bin/sh\"]",
        ]);
        import.arg(archive).arg(OWN).limit(PULL_LIMIT).output().map(drop)
    })
}

/// Documentation, translations and package lists: 100 of 206 MB. The note for dpkg keeps later installations slim as well.
fn slim(tree: &Path) -> Outcome {
    const NOT_UNPACKED: &str = "# A container is not read by people: no documentation, no translations.\n\
        path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\npath-exclude=/usr/share/man/*\n\
        path-exclude=/usr/share/info/*\npath-exclude=/usr/share/locale/*\n";
    let note = tree.join("etc/dpkg/dpkg.cfg.d/slim");
    fs::write(&note, NOT_UNPACKED).during(|| format!("write {}", note.display()))?;
    // Licences stay: they have to go where the programs go.
    let script = "find usr/share/doc -mindepth 1 ! -type d ! -name copyright -delete; \
        find usr/share/man usr/share/info usr/share/locale -mindepth 1 -delete; \
        find usr/share/doc usr/share/man usr/share/locale -mindepth 1 -type d -empty -delete; \
        find var/lib/apt/lists var/cache/apt var/cache/debconf var/log -type f -delete";
    Call::new("sh").args(["-euc", script]).directory(tree).output().map(drop)
}

/// debootstrap mounts /proc and /sys into the tree; a removal that walked into these would be a disaster.
fn remove(tree: &Path) -> Outcome {
    if !tree.exists() {
        return Ok(());
    }
    for mount in mounts_below(tree, &fs::read_to_string("/proc/mounts").unwrap_or_default()) {
        Call::new("umount").arg(&mount).shielded().output()?;
    }
    Call::new("rm").args(["-rf", "--one-file-system"]).arg(tree).shielded().output().map(drop)
}

/// The deepest first.
fn mounts_below(tree: &Path, mounts: &str) -> Vec<PathBuf> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<PathBuf> =
        points.map(PathBuf::from).filter(|point| point.starts_with(tree) && point != tree).collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "node:slim";

    #[test]
    fn an_ordered_base_is_used_or_pulled_and_never_replaced() {
        assert_eq!(plan(Some("mine"), USUAL, |_| true), Plan::Use("mine".to_owned()));
        assert_eq!(plan(Some("mine"), USUAL, |reference| reference != "mine"), Plan::Pull("mine".to_owned()));
    }

    #[test]
    fn what_is_here_comes_before_a_registry() {
        assert_eq!(plan(None, USUAL, |_| true), Plan::Use(USUAL.to_owned()));
        assert_eq!(plan(None, USUAL, |reference| reference == OWN), Plan::Use(OWN.to_owned()));
        assert_eq!(plan(None, USUAL, |_| false), Plan::PullOrMake(USUAL.to_owned()));
    }

    #[test]
    fn the_dockerfile_names_the_usual_base() {
        assert_eq!(
            named_in("# x\nARG BASE_IMAGE=node:slim\nFROM ${BASE_IMAGE}\n").expect("named"),
            "node:slim"
        );
        assert!(named_in("ARG BASE_IMAGE=\n").is_err());
        assert!(named_in("FROM scratch\n").expect_err("none").to_string().contains("--base"));
        let real = fs::read_to_string(paths::image_sources().join("Dockerfile")).expect("our Dockerfile");
        assert!(named_in(&real).expect("named").contains(SUITE));
    }

    #[test]
    fn mounts_are_undone_from_the_inside() {
        let mounts = "proc /proc proc rw 0 0\nproc /t/base/proc proc rw 0 0\nx /t/base/proc/sys/fs x rw 0 0\ny /t/base2 y rw 0 0\n";
        let below = mounts_below(Path::new("/t/base"), mounts);
        assert_eq!(below, [PathBuf::from("/t/base/proc/sys/fs"), PathBuf::from("/t/base/proc")]);
    }
}
