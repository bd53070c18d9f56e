//! All tests, with all that they need. Nothing is skipped silently: what does not run is named.

use std::fs;
use std::num::NonZero;
use std::thread;

use crate::demo::cargo;
use crate::failure::{Failure, Outcome};
use crate::metadata::{self, Metadata};
use crate::process::Call;
use crate::ready::ready;
use crate::step::{note, step};
use crate::{env, image, paths, podman, tidy};

/// Linking a test binary takes up to this much memory.
const KIB_PER_JOB: u64 = 2 * 1024 * 1024;

pub(crate) fn run(host: Option<&str>, no_live: bool, filters: &[String]) -> Outcome {
    tidy::run(false)?;
    let tests = TestTargets::of(&metadata::read(paths::root())?);
    if !tests.podman.is_empty() {
        note(format!("tests on Podman, not run: {} (cargo xtask test --podman)", tests.podman.join(", ")));
    }
    let ready = if no_live {
        note(format!("live tests, not run: {}", tests.live_names()));
        None
    } else {
        let ready = ready(host)?;
        if ready.image.new {
            image::check(&ready.docker, &ready.image.reference)?;
        }
        note(format!("live tests, run one at a time: {}", tests.live_names()));
        Some(ready)
    };
    let jobs = jobs();
    for call in calls(&tests, no_live, filters, env::has("cargo-nextest"), jobs) {
        let call = call.directory(paths::root());
        let call = match &ready {
            Some(ready) => ready.tell(call),
            None => call,
        };
        step(call.line(), || match call.attached()? {
            0 => Ok(()),
            code => Err(Failure::exit(format!("`{}` ended with exit code {code}", call.line()), code)),
        })?;
    }
    Ok(())
}

/// Integration test targets by name; "live" ones need an engine, and some of them a certain one.
#[derive(Debug, Default, PartialEq, Eq)]
struct TestTargets {
    live: Vec<String>,
    podman: Vec<String>,
    others: Vec<String>,
}

impl TestTargets {
    fn of(metadata: &Metadata) -> Self {
        let targets = metadata.packages.iter().flat_map(|package| &package.targets);
        let tests = targets.filter(|target| target.kind.iter().any(|kind| kind == "test"));
        let (mut live, mut others): (Vec<_>, Vec<_>) =
            tests.map(|target| target.name.clone()).partition(|name| name.starts_with("live"));
        // The same name in two packages is one argument for cargo.
        for names in [&mut live, &mut others] {
            names.sort();
            names.dedup();
        }
        let (podman, live) = live.into_iter().partition(|name| name == podman::TESTS);
        Self { live, podman, others }
    }

    fn live_names(&self) -> String {
        if self.live.is_empty() { "none".to_owned() } else { self.live.join(", ") }
    }
}

/// The commands, in their order. The largest run comes last, so that its summary closes the output.
fn calls(tests: &TestTargets, no_live: bool, filters: &[String], nextest: bool, jobs: usize) -> Vec<Call> {
    let jobs = jobs.to_string();
    let base = || Call::new(cargo());
    let doc = base().args(["test", "--quiet", "--workspace", "--doc", "--jobs", &jobs, "--"]).args(filters);
    if nextest {
        let mut call = base().args(["nextest", "run", "--workspace", "--build-jobs", &jobs]);
        if no_live {
            call = call.args(["--filterset", "not binary(/^live/)"]);
        } else if !tests.podman.is_empty() {
            call = call.arg("--filterset").arg(format!("not binary({})", podman::TESTS));
        }
        return vec![doc, call.args(filters)];
    }
    let run = |targets: &[String]| {
        let call = base().args(["test", "--workspace", "--no-fail-fast", "--jobs", &jobs]);
        targets.iter().fold(call, |call, name| call.args(["--test", name]))
    };
    let mut all = vec![doc];
    if !no_live && !tests.live.is_empty() {
        // One engine, two cores: beside each other they would measure each other.
        all.push(run(&tests.live).args(["--", "--test-threads=1"]).args(filters));
    }
    all.push(run(&tests.others).args(["--lib", "--bins", "--"]).args(filters));
    all
}

fn jobs() -> usize {
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_kib(&text));
    let by_memory = memory.and_then(|kib| usize::try_from(kib / KIB_PER_JOB).ok()).unwrap_or(usize::MAX);
    thread::available_parallelism().map_or(1, NonZero::get).min(by_memory).max(1)
}

fn total_kib(meminfo: &str) -> Option<u64> {
    meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> TestTargets {
        let metadata = serde_json::from_str(
            r#"{"packages": [
                {"name": "a", "dependencies": [], "targets": [
                    {"name": "live_turn", "kind": ["test"]}, {"name": "flow", "kind": ["test"]}, {"name": "a", "kind": ["lib"]}]},
                {"name": "b", "dependencies": [], "targets": [
                    {"name": "flow", "kind": ["test"]}, {"name": "live_not_a_test", "kind": ["example"]},
                    {"name": "live_podman", "kind": ["test"]}]}
            ]}"#,
        )
        .expect("metadata");
        TestTargets::of(&metadata)
    }

    fn lines(no_live: bool, nextest: bool) -> Vec<String> {
        let filters = ["name".to_owned()];
        let calls = calls(&targets(), no_live, &filters, nextest, 2);
        calls.iter().map(Call::line).collect()
    }

    const DOC: &str = "cargo test --quiet --workspace --doc --jobs 2 -- name";

    #[test]
    fn live_targets_are_told_by_their_names() {
        assert_eq!(
            targets(),
            TestTargets {
                live: vec!["live_turn".to_owned()],
                podman: vec!["live_podman".to_owned()],
                others: vec!["flow".to_owned()]
            }
        );
        assert_eq!(
            (targets().live_names(), TestTargets::default().live_names()),
            ("live_turn".into(), "none".into())
        );
    }

    #[test]
    fn with_nextest() {
        assert_eq!(
            lines(false, true),
            [DOC, "cargo nextest run --workspace --build-jobs 2 --filterset not binary(live_podman) name"]
        );
        assert_eq!(
            lines(true, true),
            [DOC, "cargo nextest run --workspace --build-jobs 2 --filterset not binary(/^live/) name"]
        );
    }

    #[test]
    fn without_nextest_live_tests_run_alone() {
        let plain = "cargo test --workspace --no-fail-fast --jobs 2 --test flow --lib --bins -- name";
        let live = "cargo test --workspace --no-fail-fast --jobs 2 --test live_turn -- --test-threads=1 name";
        assert_eq!(lines(false, false), [DOC, live, plain]);
        assert_eq!(lines(true, false), [DOC, plain]);
    }

    #[test]
    fn memory_bounds_the_jobs() {
        assert_eq!(total_kib("MemFree: 3 kB\nMemTotal:       24681356 kB\n"), Some(24_681_356));
        assert_eq!(total_kib(""), None);
        assert!(jobs() >= 1);
    }
}
