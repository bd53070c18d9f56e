//! `docker build`, once per set of inputs.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::base::{self, Base};
use super::inputs::{self, Source};
use super::{Built, authorities};
use crate::docker::Docker;
use crate::failure::{During, Failure, Outcome};
use crate::paths;
use crate::process::Call;
use crate::step::{Took, note, step};

/// 70 s were seen from nothing; the rest is for slow mirrors.
const BUILD_LIMIT: Duration = Duration::from_mins(30);
const INPUTS_LABEL: &str = "cnap.runner.inputs";
const BASE_LABEL: &str = "cnap.runner.base";

#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The base image, instead of the Dockerfile's own.
    pub(crate) base: Option<String>,
    /// The image's name, instead of the usual one.
    pub(crate) tag: Option<String>,
    /// Where debootstrap takes Debian's packages from, should a base have to be made.
    pub(crate) mirror: Option<String>,
    pub(crate) force: bool,
    pub(crate) verbose: bool,
}

pub(crate) fn build(docker: &Docker, options: &Options) -> Outcome<Built> {
    let version = paths::opencode_version()?;
    let references = references(options.tag.as_deref(), &version);
    let Some(reference) = references.first().cloned() else {
        return Err(Failure::new("the image would have no name"));
    };
    let sources = inputs::sources(&paths::image_sources())?;
    let digest = inputs::digest(&sources);
    let dockerfile = dockerfile(&sources)?;
    if !options.force {
        let base = base::here(docker, options.base.as_deref(), &dockerfile)?;
        let image = docker.image(&reference)?;
        if image
            .as_ref()
            .is_some_and(|image| up_to_date(image, &digest, options.base.as_deref(), base.as_ref()))
        {
            for other in references.iter().skip(1) {
                docker.ask(["tag", &reference, other])?;
            }
            note(format!("image {reference} is there and up to date (--force builds it again)"));
            return Ok(Built { reference, new: false });
        }
    }
    let begun = Instant::now();
    let base = base::obtain(docker, options.base.as_deref(), &dockerfile, options.mirror.as_deref())?;
    let context = context(&sources)?;
    let log = paths::scratch("image")?.join("build.log");
    let mut call = docker.call(["build", "--force-rm"]);
    for (name, value) in
        [("BASE_IMAGE", &base.reference), ("OPENCODE_VERSION", &version), ("IMAGE_REVISION", &revision())]
    {
        call = call.arg("--build-arg").arg(format!("{name}={value}"));
    }
    for (name, value) in [(INPUTS_LABEL, &digest), (BASE_LABEL, &base.label())] {
        call = call.arg("--label").arg(format!("{name}={value}"));
    }
    for reference in &references {
        call = call.args(["--tag", reference]);
    }
    if options.force {
        call = call.arg("--no-cache");
    }
    let call = call.arg(&context).limit(BUILD_LIMIT);
    step(format!("build {} (log: {})", references.join(" and "), log.display()), || {
        run(&call, &log, options.verbose)
    })?;
    report(docker, &reference, begun)?;
    Ok(Built { reference, new: true })
}

/// A name without a tag gets the pinned version and `latest`; one with a tag is taken as it is.
fn references(tag: Option<&str>, version: &str) -> Vec<String> {
    let name = tag.unwrap_or("cnap-runner");
    // A colon before the last slash belongs to a registry's port.
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag {
        vec![name.to_owned()]
    } else {
        vec![format!("{name}:opencode-{version}"), format!("{name}:latest")]
    }
}

/// The image was made from these sources on this base. A base that is not here any more is not missed.
fn up_to_date(image: &Value, digest: &str, ordered_base: Option<&str>, base: Option<&Base>) -> bool {
    let label = |name: &str| image.get("Config")?.get("Labels")?.get(name)?.as_str();
    let built_on = label(BASE_LABEL).unwrap_or_default();
    let same_base = match (base, ordered_base) {
        (Some(base), _) => built_on == base.label(),
        (None, Some(ordered)) => built_on.split('@').next() == Some(ordered),
        (None, None) => true,
    };
    label(INPUTS_LABEL) == Some(digest) && same_base
}

fn dockerfile(sources: &[Source]) -> Outcome<String> {
    let file = sources.iter().find(|source| source.name == "Dockerfile");
    let file = file.ok_or_else(|| Failure::new("docker/runner/Dockerfile is not there"))?;
    Ok(String::from_utf8_lossy(&file.content).into_owned())
}

/// A copy of the sources and, beside them, this machine's certificate authorities.
fn context(sources: &[Source]) -> Outcome<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let directory = paths::scratch("image")?.join("context");
    if directory.exists() {
        fs::remove_dir_all(&directory).during(|| format!("remove {}", directory.display()))?;
    }
    fs::create_dir(&directory).during(|| format!("create {}", directory.display()))?;
    for source in sources {
        let path = directory.join(&source.name);
        fs::write(&path, &source.content).during(|| format!("write {}", path.display()))?;
        // Fixed modes: the image must not depend on the umask of the checkout.
        let mode = if source.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .during(|| format!("open {}", path.display()))?;
    }
    if let Some(bundle) = authorities::bundle() {
        let copy = directory.join("build-ca.crt");
        fs::copy(&bundle, &copy).during(|| format!("copy {}", bundle.display()))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))
            .during(|| format!("open {}", copy.display()))?;
        note(format!("certificate authorities for the build stage (not in the image): {}", bundle.display()));
    }
    Ok(directory)
}

fn run(call: &Call, log: &Path, verbose: bool) -> Outcome {
    let mut file = File::create(log).during(|| format!("create {}", log.display()))?;
    let (code, last) = call.lines(|line| {
        // A log that cannot be written is no reason to stop a build.
        let _ = writeln!(file, "{line}");
        if verbose || is_progress(line) {
            note(line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(110).collect::<String>());
        }
    })?;
    if code == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("docker build ended with exit code {code}; its last lines:\n{last}")).help(format!(
        "the whole log is {}\n--verbose shows everything; npm and apt need the network, --base names another base image",
        log.display()
    )))
}

/// "Step 3/24 : RUN …" of the classic builder, "#8 [fetch 2/5] RUN …" of BuildKit.
fn is_progress(line: &str) -> bool {
    let buildkit = || {
        line.strip_prefix('#')
            .and_then(|rest| rest.split_once(' '))
            .is_some_and(|(_, what)| what.starts_with('['))
    };
    line.starts_with("Step ") || buildkit()
}

fn report(docker: &Docker, reference: &str, begun: Instant) -> Outcome {
    let Some(image) = docker.image(reference)? else {
        return Err(Failure::new(format!("{reference} is not there after its build")));
    };
    let (size, layers) = weight(&image);
    note(format!("image: {reference}, {size} MB in {layers} layers, made in {}", Took(begun.elapsed())));
    Ok(())
}

/// Megabytes as Docker counts them, and layers.
fn weight(image: &Value) -> (u64, usize) {
    let size = image.get("Size").and_then(Value::as_u64).unwrap_or_default();
    let layers = image.pointer("/RootFS/Layers").and_then(Value::as_array).map_or(0, Vec::len);
    (size / 1_000_000, layers)
}

/// The commit, for the image's label.
fn revision() -> String {
    let git = |args: &[&str]| {
        Call::new("git").args(args).directory(paths::root()).limit(Duration::from_secs(10)).output()
    };
    let Ok(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--", "docker"]).map_or(true, |changes| !changes.trim().is_empty());
    format!("{}{}", commit.trim(), if changed { "-changed" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn image(inputs: &str, base: &str) -> Value {
        json!({"Size": 412_345_678, "RootFS": {"Layers": ["a", "b"]}, "Config": {"Labels": {INPUTS_LABEL: inputs, BASE_LABEL: base}}})
    }

    fn base(reference: &str, id: &str) -> Base {
        Base { reference: reference.to_owned(), id: id.to_owned() }
    }

    #[test]
    fn names_with_and_without_a_tag() {
        assert_eq!(references(None, "1.2"), ["cnap-runner:opencode-1.2", "cnap-runner:latest"]);
        assert_eq!(
            references(Some("host:5000/mine"), "1.2"),
            ["host:5000/mine:opencode-1.2", "host:5000/mine:latest"]
        );
        assert_eq!(references(Some("host:5000/mine:x"), "1.2"), ["host:5000/mine:x"]);
    }

    #[test]
    fn an_image_is_kept_while_its_sources_and_its_base_are_the_same() {
        let made = image("d1", "node:slim@sha256:1");
        let here = base("node:slim", "sha256:1");
        assert!(up_to_date(&made, "d1", None, Some(&here)));
        assert!(up_to_date(&made, "d1", None, None), "a base that was removed is not missed");
        assert!(up_to_date(&made, "d1", Some("node:slim"), None));
        assert!(!up_to_date(&made, "d2", None, Some(&here)), "other sources");
        assert!(!up_to_date(&made, "d1", None, Some(&base("node:slim", "sha256:2"))), "a newer base");
        assert!(!up_to_date(&made, "d1", Some("other"), None), "another base was ordered");
        assert!(
            !up_to_date(&json!({"Config": {"Labels": null}}), "d1", None, None),
            "not made by this command"
        );
    }

    #[test]
    fn size_and_layers_are_read() {
        assert_eq!(weight(&image("", "")), (412, 2));
        assert_eq!(weight(&json!({})), (0, 0));
    }

    #[test]
    fn both_builders_show_progress() {
        for line in ["Step 3/24 : RUN x", "#8 [fetch 2/5] RUN x"] {
            assert!(is_progress(line), "{line}");
        }
        for line in [
            "#8 0.345 Get:1 http",
            "Removing intermediate container",
            "DEPRECATED: The legacy builder",
            "#9 DONE 0.1s",
        ] {
            assert!(!is_progress(line), "{line}");
        }
    }
}
