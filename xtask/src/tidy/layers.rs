//! Who may know whom. The table is the one of ARCHITECTURE.md.

use super::Findings;
use crate::metadata::{Metadata, Package};

struct Layer {
    name: &'static str,
    /// Our own crates that it may depend on.
    ours: &'static [&'static str],
}

const CORE: &str = "runner-core";
const TESTKIT: &str = "runner-testkit";
const LAYERS: [Layer; 8] = [
    Layer { name: CORE, ours: &[] },
    Layer { name: "runner-docker", ours: &[CORE] },
    Layer { name: "runner-opencode", ours: &[CORE] },
    Layer { name: "runner-workspace", ours: &[CORE] },
    Layer { name: "runner-lifecycle", ours: &[CORE] },
    Layer {
        name: "runner-compat",
        ours: &[CORE, "runner-docker", "runner-opencode", "runner-workspace", "runner-lifecycle"],
    },
    Layer { name: TESTKIT, ours: &[CORE] },
    Layer { name: "xtask", ours: &[] },
];

/// A crate from outside that only one of ours may know, in every kind of dependency.
const RESERVED: [(&str, &str); 2] = [("bollard", "runner-docker"), ("reqwest", "runner-opencode")];

/// What the domain must not know: whoever tests it needs no runtime, no engine and no network.
const NOT_IN_CORE: [&str; 6] = ["tokio", "bollard", "reqwest", "hyper", "axum", "tracing-subscriber"];

pub(super) fn check(metadata: &Metadata) -> Findings {
    let mut findings = Findings::default();
    for package in &metadata.packages {
        match LAYERS.iter().find(|layer| layer.name == package.name) {
            Some(layer) => check_package(package, layer, &mut findings),
            None => findings.error(format!(
                "{} is in no layer: add it to xtask/src/tidy/layers.rs and to ARCHITECTURE.md, with what it may know",
                package.name
            )),
        }
    }
    findings
}

fn check_package(package: &Package, layer: &Layer, findings: &mut Findings) {
    let name = &package.name;
    for dependency in &package.dependencies {
        let other = dependency.name.as_str();
        let is_dev = dependency.kind.as_deref() == Some("dev");
        let is_ours = LAYERS.iter().any(|layer| layer.name == other);
        let allowed = layer.ours.contains(&other) || (is_dev && other == TESTKIT && name != "xtask");
        if is_ours && !allowed {
            let hint = if other == TESTKIT { " (as a dev-dependency it would be fine)" } else { "" };
            findings.error(format!("{name} must not depend on {other}{hint}"));
        }
        for (reserved, owner) in RESERVED {
            if other == reserved && name != owner {
                findings.error(format!("{name} must not depend on {reserved}: only {owner} knows it"));
            }
        }
        if name == CORE && !is_dev && NOT_IN_CORE.contains(&other) {
            findings.error(format!("{CORE} must not depend on {other}: it does no I/O"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The shape of the workspace, as `cargo metadata` prints it.
    fn workspace() -> Value {
        let of = |name: &str, dependencies: &[(&str, Option<&str>)]| {
            let list: Vec<Value> = dependencies
                .iter()
                .map(|(name, kind)| json!({"name": name, "kind": kind, "req": "*"}))
                .collect();
            json!({"name": name, "dependencies": list, "targets": []})
        };
        let dev = Some("dev");
        json!({"packages": [
            of("runner-core", &[("serde", None), ("tokio", dev)]),
            of("runner-docker", &[("runner-core", None), ("bollard", None), ("runner-testkit", dev)]),
            of("runner-opencode", &[("runner-core", None), ("reqwest", None)]),
            of("runner-workspace", &[("runner-core", None)]),
            of("runner-lifecycle", &[("runner-core", None), ("tokio", None), ("runner-testkit", dev)]),
            of("runner-compat", &[("runner-core", None), ("runner-docker", None), ("runner-lifecycle", None)]),
            of("runner-testkit", &[("runner-core", None), ("axum", None)]),
            of("xtask", &[("clap", None)]),
        ]})
    }

    fn errors(workspace: Value) -> Vec<String> {
        check(&serde_json::from_value(workspace).expect("metadata")).errors
    }

    fn with(package: &str, dependency: &str, kind: Option<&str>) -> Vec<String> {
        let mut workspace = workspace();
        let packages = workspace["packages"].as_array_mut().expect("packages");
        let package = packages.iter_mut().find(|p| p["name"] == package).expect("package");
        package["dependencies"].as_array_mut().expect("list").push(json!({"name": dependency, "kind": kind}));
        errors(workspace)
    }

    #[test]
    fn the_workspace_as_designed_passes() {
        assert_eq!(errors(workspace()), Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_dependency_fails() {
        for (package, dependency, kind) in [
            ("runner-core", "runner-docker", None),
            ("runner-core", "tokio", None),
            ("runner-core", "reqwest", None),
            ("runner-core", "bollard", Some("dev")),
            ("runner-docker", "runner-opencode", None),
            ("runner-docker", "reqwest", None),
            ("runner-opencode", "bollard", None),
            ("runner-lifecycle", "bollard", None),
            ("runner-lifecycle", "runner-docker", None),
            ("runner-lifecycle", "runner-docker", Some("dev")),
            ("runner-lifecycle", "runner-testkit", None),
            ("runner-lifecycle", "runner-testkit", Some("build")),
            ("runner-compat", "bollard", None),
            ("runner-compat", "reqwest", Some("dev")),
            ("runner-testkit", "runner-docker", None),
            ("runner-testkit", "runner-testkit", None),
            ("xtask", "runner-core", None),
            ("xtask", "runner-testkit", Some("dev")),
        ] {
            let found = with(package, dependency, kind);
            let named = found.iter().any(|error| error.contains(package) && error.contains(dependency));
            assert!(named, "{package} -> {dependency} ({kind:?}): {found:?}");
        }
    }

    #[test]
    fn an_allowed_dependency_passes() {
        for (package, dependency, kind) in [
            ("runner-workspace", "runner-testkit", Some("dev")),
            ("runner-core", "runner-testkit", Some("dev")),
            ("runner-compat", "runner-workspace", None),
            ("runner-docker", "tokio", None),
        ] {
            assert_eq!(with(package, dependency, kind), Vec::<String>::new(), "{package} -> {dependency}");
        }
    }

    #[test]
    fn a_crate_without_a_layer_fails() {
        let mut workspace = workspace();
        let packages = workspace["packages"].as_array_mut().expect("packages");
        packages.push(json!({"name": "runner-extra", "dependencies": [], "targets": []}));
        assert!(errors(workspace)[0].contains("runner-extra is in no layer"));
    }

    /// The same on the workspace as cargo really describes it.
    #[test]
    fn a_forbidden_dependency_in_the_real_workspace_fails() {
        let mut metadata = crate::metadata::read(crate::paths::root()).expect("cargo metadata");
        assert_eq!(check(&metadata).errors, Vec::<String>::new());
        let lifecycle =
            metadata.packages.iter_mut().find(|p| p.name == "runner-lifecycle").expect("lifecycle");
        lifecycle.dependencies.push(crate::metadata::Dependency { name: "bollard".to_owned(), kind: None });
        assert_eq!(
            check(&metadata).errors,
            ["runner-lifecycle must not depend on bollard: only runner-docker knows it"]
        );
    }
}
