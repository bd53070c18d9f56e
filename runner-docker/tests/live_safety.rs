//! What a container may have, on a real engine: grants that hold inside and nothing beyond them, mounts that are still
//! what they were, and whether the engine sees our files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod lab;

use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use lab::{Lab, bind, image, raw, user, workspace};
use runner_core::container::Network;
use runner_core::grants::{Capability, Device};
use runner_core::{ContainerId, ContainerRuntime, ContainerSpec, ErrorKind, Retry};
use runner_docker::{AllowedGrants, DockerConfig, DockerRuntime, PathMapping};
use serde_json::{Value, json};

/// The same engine, network and labels, with other rules.
async fn runtime(lab: &Lab, change: impl FnOnce(&mut DockerConfig)) -> DockerRuntime {
    let mut config = lab.config.clone();
    change(&mut config);
    DockerRuntime::connect(config).await.unwrap()
}

async fn allowing(lab: &Lab, allowed: AllowedGrants) -> DockerRuntime {
    runtime(lab, |config| config.allowed = allowed).await
}

async fn run(lab: &Lab, runtime: &DockerRuntime, spec: &ContainerSpec) -> (ContainerId, Vec<String>) {
    let id = runtime.create(spec).await.unwrap();
    runtime.start(&id).await.unwrap();
    let output = lab.output(&id).await;
    (id, output.stdout)
}

fn host_config(id: &ContainerId) -> Value {
    raw("GET", &format!("/containers/{id}/json"), "").1["HostConfig"].clone()
}

/// The containers of a lab, as the engine lists them.
async fn count(lab: &Lab) -> usize {
    lab.runtime.list(&lab.labels()).await.unwrap().len()
}

// ---- grants

/// A program of the image, set-uid root, in a directory that the runner mounts: what an image may bring along, and a
/// runner cannot make.
fn plant_set_uid(lab: &Lab, directory: &Path, program: &str) {
    let name = format!("{}-plant", lab.name);
    let script = format!("cp /bin/{program} /w/{program} && chmod 4755 /w/{program}");
    let body = json!({
        "Image": image().as_str(), "User": "0:0", "Cmd": ["sh", "-c", script], "Labels": lab.labels(),
        "HostConfig": {"Mounts": [{"Type": "bind", "Source": directory, "Target": "/w"}]},
    });
    let (status, made) = raw("POST", &format!("/containers/create?name={name}"), &body.to_string());
    assert_eq!(status, 201, "{made}");
    assert_eq!(raw("POST", &format!("/containers/{name}/start"), "").0, 204);
    let (_, ended) = raw("POST", &format!("/containers/{name}/wait"), "");
    assert_eq!(ended["StatusCode"], 0, "{ended}");
    assert_eq!(raw("DELETE", &format!("/containers/{name}?force=true"), "").0, 204);
}

/// Granted capabilities are what programs can get at most, and they get it only by gaining privileges.
#[tokio::test]
async fn a_capability_bounds_what_a_set_uid_program_gains() {
    let lab = Lab::open().await;
    let (_dir, path) = workspace("work");
    plant_set_uid(&lab, &path, "cat");
    let allowed = AllowedGrants {
        capabilities: [Capability::NetRaw].into(),
        new_privileges: true,
        ..AllowedGrants::default()
    };
    let runtime = allowing(&lab, allowed).await;
    let uid = user().uid;
    let (ours, roots) = (format!("{uid} {uid} {uid} {uid}"), format!("{uid} 0 0 0"));
    let (nothing, net_raw) = ("0000000000000000", "0000000000002000");
    for (name, capability, new_privileges, bound, who, gained) in [
        ("neither", false, false, nothing, &ours, nothing),
        ("capability", true, false, net_raw, &ours, nothing),
        ("privileges", false, true, nothing, &roots, nothing),
        ("both", true, true, net_raw, &roots, net_raw),
    ] {
        let script = "
            grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr '\t' ' '
            /workspace/cat /proc/self/status | grep -E '^(Uid|CapEff)' | tr '\t' ' '";
        let mut spec = lab.spec(name, script);
        spec.mounts = vec![bind(&path, "/workspace", true)];
        spec.grants.capabilities = capability.then_some(Capability::NetRaw).into_iter().collect();
        spec.grants.new_privileges = new_privileges;
        let (_, lines) = run(&lab, &runtime, &spec).await;
        let want = [
            format!("CapEff: {nothing}"),
            format!("CapBnd: {bound}"),
            format!("NoNewPrivs: {}", u8::from(!new_privileges)),
            format!("Uid: {who}"),
            format!("CapEff: {gained}"),
        ];
        assert_eq!(lines, want, "{name}");
    }
}

#[tokio::test]
async fn a_runtime_is_chosen_by_name_among_those_that_the_engine_has() {
    let lab = Lab::open().await;
    let known = lab.runtime.info().await.unwrap().oci_runtimes;
    let name = known.iter().find(|name| *name == "runc").or(known.first()).expect("a runtime").clone();
    let allowed = AllowedGrants {
        oci_runtimes: [name.clone(), "cnap-none".to_owned()].into(),
        ..AllowedGrants::default()
    };
    let runtime = allowing(&lab, allowed).await;
    let mut spec = lab.spec("runtime", "echo hello");
    spec.grants.oci_runtime = Some(name.clone());
    let (id, lines) = run(&lab, &runtime, &spec).await;
    assert_eq!(lines, ["hello"]);
    assert_eq!(host_config(&id)["Runtime"], name.as_str());

    let before = count(&lab).await;
    spec.name += "-none";
    spec.grants.oci_runtime = Some("cnap-none".into());
    let error = runtime.create(&spec).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unsupported, Retry::Permanent), "{error}");
    assert!(error.message().contains(&name), "{error}");
    assert_eq!(count(&lab).await, before, "nothing is left behind");
}

/// Not one of those that every container has.
fn device() -> PathBuf {
    let known = ["/dev/fuse", "/dev/hwrng", "/dev/kvm", "/dev/net/tun"].map(PathBuf::from);
    let there = |path: &PathBuf| path.metadata().is_ok_and(|found| found.file_type().is_char_device());
    known.into_iter().find(there).expect("a host with one of a few common devices")
}

#[tokio::test]
async fn a_device_appears_with_the_permissions_that_were_granted() {
    let lab = Lab::open().await;
    let path = device();
    let shown = path.display();
    let (_dir, tools) = workspace("tools");
    // On most hosts only root may open it.
    plant_set_uid(&lab, &tools, "dd");
    let writable = |writable| Device { path: path.clone(), writable };
    let allowed =
        AllowedGrants { devices: [writable(true)].into(), new_privileges: true, ..AllowedGrants::default() };
    let runtime = allowing(&lab, allowed).await;
    // Opens it and does nothing. A driver may have reasons of its own to refuse; the engine's is "not permitted".
    let script = format!(
        "[ -c {shown} ] && echo there || echo missing
         /tools/dd if={shown} of=/dev/null count=0 2>&1 | grep 'not permitted' | sed 's/.*/no read/'
         /tools/dd if=/dev/null of={shown} count=0 conv=notrunc,nocreat 2>&1 | grep 'not permitted' | sed 's/.*/no write/'"
    );
    for (name, devices, want) in [
        ("none", vec![], &["missing"][..]),
        ("read", vec![writable(false)], &["there", "no write"]),
        ("write", vec![writable(true)], &["there"]),
    ] {
        let mut spec = lab.spec(name, &script);
        spec.mounts = vec![bind(&tools, "/tools", true)];
        spec.grants.devices = devices.into_iter().collect();
        spec.grants.new_privileges = true;
        let (_, lines) = run(&lab, &runtime, &spec).await;
        assert_eq!(lines, want, "{name}");
    }
}

#[tokio::test]
async fn a_named_network_is_joined_and_ports_stay_on_the_loopback_address() {
    let lab = Lab::open().await;
    let name = format!("{}-theirs", lab.name);
    let labels = json!({lab::LABEL: lab.name});
    let (status, made) = raw(
        "POST",
        "/networks/create",
        &json!({"Name": name, "Driver": "bridge", "Labels": labels}).to_string(),
    );
    assert_eq!(status, 201, "{made}");
    let network = made["Id"].as_str().unwrap().to_owned();
    let missing = format!("{}-none", lab.name);
    let allowed =
        AllowedGrants { networks: [name.clone(), missing.clone()].into(), ..AllowedGrants::default() };
    let runtime = allowing(&lab, allowed).await;
    let mut spec = lab.spec("joins", "sleep 60");
    spec.network = Network::Named(name.clone());
    spec.ports = vec![4096];
    let id = runtime.create(&spec).await.unwrap();
    runtime.start(&id).await.unwrap();
    let (_, doc) = raw("GET", &format!("/containers/{id}/json"), "");
    let info = runtime.inspect(&id).await.unwrap();

    let mut absent = lab.spec("absent", "true");
    absent.network = Network::Named(missing.clone());
    let not_there = runtime.create(&absent).await.unwrap_err();
    // The engine's own lookup takes ids for names.
    absent.network = Network::Named(network.clone());
    let by_id = runtime.create(&absent).await.unwrap_err();

    // Gone between creation and start.
    let mut late = lab.spec("late", "true");
    late.network = Network::Named(name.clone());
    let late = runtime.create(&late).await.unwrap();
    runtime.remove(&id).await.unwrap();
    assert_eq!(raw("DELETE", &format!("/networks/{network}"), "").0, 204);
    let gone = runtime.start(&late).await.unwrap_err();

    let joined: Vec<&String> = doc["NetworkSettings"]["Networks"].as_object().unwrap().keys().collect();
    assert_eq!(joined, [&name]);
    assert!(info.ports.len() == 1 && info.ports[0].address.ip().is_loopback(), "{info:?}");
    let published = doc["NetworkSettings"]["Ports"].as_object().unwrap();
    let bindings: Vec<_> = published.values().filter_map(|b| b.as_array()).flatten().collect();
    assert!(bindings.len() == 1 && bindings[0]["HostIp"] == "127.0.0.1", "{published:?}");
    assert_eq!((not_there.kind(), not_there.retry()), (ErrorKind::NotFound, Retry::Permanent), "{not_there}");
    assert_eq!(by_id.kind(), ErrorKind::PermissionDenied, "{by_id}");
    assert_eq!((gone.kind(), gone.retry()), (ErrorKind::Engine, Retry::Permanent), "{gone}");
    assert!(gone.message().contains(&name), "{gone}");
}

#[tokio::test]
async fn without_the_operators_key_nothing_is_created() {
    let lab = Lab::open().await;
    let known = lab.runtime.info().await.unwrap().oci_runtimes;
    let mut specs: Vec<ContainerSpec> = (0..5).map(|n| lab.spec(&format!("x{n}"), "true")).collect();
    specs[0].grants.oci_runtime = known.first().cloned();
    specs[1].grants.capabilities.insert(Capability::NetRaw);
    specs[2].grants.devices.insert(Device { path: "/dev/zero".into(), writable: false });
    specs[3].grants.new_privileges = true;
    specs[4].network = Network::Named("cnap-any".into());
    for spec in specs {
        let error = lab.runtime.create(&spec).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Permanent), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("DockerConfig::allowed")), "{error}");
    }
    assert_eq!(count(&lab).await, 0);
}

#[tokio::test]
async fn every_grant_together_leaves_the_rest_of_the_profile() {
    let lab = Lab::open().await;
    let mut spec = lab.spec(
        "full",
        "grep -E '^(Uid|CapEff|Seccomp):' /proc/self/status | tr '\\t' ' '
         touch /x /etc/x 2>/dev/null || echo 'root read-only'
         df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2
         ls /dev/kmsg /dev/mem /dev/vda /dev/sda 2>/dev/null; exit 0",
    );
    spec.grants.oci_runtime = lab.runtime.info().await.unwrap().oci_runtimes.first().cloned();
    spec.grants.capabilities = [Capability::NetRaw, Capability::SysPtrace, Capability::NetAdmin].into();
    spec.grants.devices.insert(Device { path: "/dev/zero".into(), writable: true });
    spec.grants.new_privileges = true;
    spec.ports = vec![4096];
    let allowed = AllowedGrants {
        oci_runtimes: spec.grants.oci_runtime.clone().into_iter().collect(),
        capabilities: spec.grants.capabilities.clone(),
        devices: spec.grants.devices.clone(),
        new_privileges: true,
        ..AllowedGrants::default()
    };
    let runtime = allowing(&lab, allowed).await;
    let (id, lines) = run(&lab, &runtime, &spec).await;
    let uid = user().uid;
    let want = [
        format!("Uid: {uid} {uid} {uid} {uid}"),
        "CapEff: 0000000000000000".to_owned(),
        "Seccomp: 2".to_owned(),
        "root read-only".to_owned(),
        (64 * 1024).to_string(),
    ];
    assert_eq!(lines, want);
    let host = host_config(&id);
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["PortBindings"]["4096/tcp"][0]["HostIp"], "127.0.0.1");
    for key in ["PidMode", "UTSMode", "UsernsMode"] {
        assert_eq!(host[key], "", "{key}");
    }
    assert!(host["MaskedPaths"].as_array().is_some_and(|paths| !paths.is_empty()), "the engine's default");
}

// ---- limits

/// Report 46: a limit that the engine itself does not have is not given.
#[tokio::test]
async fn more_open_files_than_the_engine_has_are_refused_with_the_reason() {
    let lab = Lab::open().await;
    let mut spec = lab.spec("files", "true");
    spec.resources.nofile = 2_000_000_000;
    let id = lab.runtime.create(&spec).await.unwrap();
    let error = lab.runtime.start(&id).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::HostResources, Retry::Permanent), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("nofile")), "{error}");
}

// ---- mounts

/// The engine looks at a mount only when it starts the container, and follows what is there by then.
#[tokio::test]
async fn a_workspace_that_became_a_link_is_not_followed_by_a_start() {
    let lab = Lab::open().await;
    let (dir, path) = workspace("work");
    let (_dir2, fine) = workspace("fine");
    let mut spec = lab.spec("replaced", "ls /workspace; true");
    spec.mounts = vec![bind(&fine, "/fine", true), bind(&path, "/workspace", false)];
    let id = lab.runtime.create(&spec).await.unwrap();
    let kept = dir.path().join("kept");
    for target in ["/etc", "kept", "nowhere"] {
        std::fs::rename(&path, &kept).unwrap();
        symlink(target, &path).unwrap();
        let error = lab.runtime.start(&id).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Workspace), "{target}: {error}");
        assert_eq!((error.retry(), error.container()), (Retry::Permanent, Some(&id)), "{target}: {error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(&kept, &path).unwrap();
    }
    std::fs::write(path.join("here"), "").unwrap();
    lab.runtime.start(&id).await.unwrap();
    assert_eq!(lab.output(&id).await.stdout, ["here"]);

    // And again at the next start of the same container.
    std::fs::rename(&path, &kept).unwrap();
    symlink("/etc", &path).unwrap();
    assert_eq!(lab.runtime.start(&id).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(
        raw("POST", &format!("/containers/{id}/start"), "").0,
        204,
        "the engine itself does follow it"
    );
    let output = lab.output(&id).await;
    assert!(output.stdout.contains(&"hostname".to_owned()), "{output:?}");
}

#[tokio::test]
async fn what_the_engine_sees_is_proved_with_a_file() {
    let lab = Lab::open().await;
    let (_dir, path) = workspace("a:b,c d\"é");
    std::fs::write(path.join("kept"), "").unwrap();
    lab.runtime.check_visible(&path, &image()).await.unwrap();

    // The engine has another directory of that name.
    let (_dir2, other) = workspace("other");
    let mapping = PathMapping { here: path.clone(), engine: other.clone() };
    let mapped = runtime(&lab, |config| config.path_map = vec![mapping]).await;
    let error = mapped.check_visible(&path, &image()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Workspace, "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("path_map")), "{error}");
    // Or none at all.
    let mapping = PathMapping { here: path.clone(), engine: other.join("missing") };
    let nowhere = runtime(&lab, |config| config.path_map = vec![mapping]).await;
    let error = nowhere.check_visible(&path, &image()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Workspace, "{error}");
    // Or the same one under another name.
    let link = other.join("link");
    symlink(&path, &link).unwrap();
    let mapping = PathMapping { here: path.clone(), engine: link };
    let same = runtime(&lab, |config| config.path_map = vec![mapping]).await;
    same.check_visible(&path, &image()).await.unwrap();

    let left: Vec<_> = std::fs::read_dir(&path).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["kept"]);
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);
    let (_, all) = raw("GET", "/containers/json?all=true", "");
    let mount = |c: &Value| c["Mounts"][0]["Source"].as_str().map(str::to_owned);
    let ours = [path.to_str().unwrap(), other.to_str().unwrap()];
    assert!(
        all.as_array().unwrap().iter().filter_map(mount).all(|source| !ours.contains(&source.as_str())),
        "no container is left: {all}"
    );
}
