use runner_core::container::UserSpec;

use super::*;

fn spec() -> ContainerSpec {
    let mut spec = ContainerSpec::new("n1", "img:1".parse().unwrap(), UserSpec { uid: 1001, gid: 1002 });
    spec.env.insert("A".into(), "b=c d".into());
    spec.labels.insert("k".into(), "v".into());
    spec.command = Some(vec!["sh".into(), "-c".into(), "exit 7".into()]);
    spec.tmpfs.push(Tmpfs { target: "/tmp".into(), size_bytes: 1024 });
    spec.ports.push(4096);
    spec
}

fn profile(selinux: SelinuxPolicy) -> Profile {
    Profile { network: "cnap-runner".into(), logs: LogLimits::default(), selinux }
}

fn approved(granted: Granted) -> Approved {
    let mounts = vec![
        AllowedMount {
            source: AllowedSource::Directory("/data/a:b,c d".into()),
            target: "/workspace".into(),
            read_only: false,
        },
        AllowedMount {
            source: AllowedSource::Volume("cache".into()),
            target: "/cache".into(),
            read_only: true,
        },
    ];
    Approved { mounts, granted }
}

fn body_with(spec: &ContainerSpec, granted: Granted, selinux: SelinuxPolicy) -> serde_json::Value {
    let request = request(spec, &approved(granted), &profile(selinux)).unwrap();
    serde_json::to_value(request).unwrap()
}

fn body(spec: &ContainerSpec) -> serde_json::Value {
    body_with(spec, Granted::default(), SelinuxPolicy::Leave)
}

#[test]
fn the_whole_profile_is_on_every_request() {
    let body = body(&spec());
    // JSON pointer → value, as it goes over the wire.
    let wanted: &[(&str, serde_json::Value)] = &[
        ("/Image", "img:1".into()),
        ("/User", "1001:1002".into()),
        ("/Env", vec!["A=b=c d"].into()),
        ("/Cmd", vec!["sh", "-c", "exit 7"].into()),
        ("/Labels/k", "v".into()),
        ("/Tty", false.into()),
        ("/Healthcheck/Test", vec!["NONE"].into()),
        ("/HostConfig/Privileged", false.into()),
        ("/HostConfig/CapDrop", vec!["ALL"].into()),
        ("/HostConfig/SecurityOpt", vec!["no-new-privileges"].into()),
        ("/HostConfig/ReadonlyRootfs", true.into()),
        ("/HostConfig/IpcMode", "private".into()),
        ("/HostConfig/CgroupnsMode", "private".into()),
        ("/HostConfig/Memory", (1024 * 1024 * 1024).into()),
        ("/HostConfig/MemorySwap", (1024 * 1024 * 1024).into()),
        ("/HostConfig/NanoCpus", 1_000_000_000.into()),
        ("/HostConfig/PidsLimit", 256.into()),
        ("/HostConfig/ShmSize", (64 * 1024 * 1024).into()),
        ("/HostConfig/Ulimits/0", serde_json::json!({"Name": "nofile", "Soft": 16384, "Hard": 16384})),
        ("/HostConfig/Ulimits/1", serde_json::json!({"Name": "core", "Soft": 0, "Hard": 0})),
        ("/HostConfig/Init", true.into()),
        ("/HostConfig/AutoRemove", false.into()),
        ("/HostConfig/RestartPolicy/Name", "no".into()),
        ("/HostConfig/LogConfig/Type", "json-file".into()),
        ("/HostConfig/LogConfig/Config/max-size", "10485760".into()),
        ("/HostConfig/LogConfig/Config/max-file", "2".into()),
        ("/HostConfig/NetworkMode", "cnap-runner".into()),
        ("/HostConfig/PublishAllPorts", false.into()),
        (
            "/HostConfig/PortBindings",
            serde_json::json!({"4096/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
        ),
        (
            "/HostConfig/Mounts/0",
            serde_json::json!({"Type": "bind", "Source": "/data/a:b,c d", "Target": "/workspace",
                "ReadOnly": false, "BindOptions": {"Propagation": "rprivate"}}),
        ),
        (
            "/HostConfig/Mounts/1",
            serde_json::json!({"Type": "volume", "Source": "cache", "Target": "/cache", "ReadOnly": true}),
        ),
        ("/HostConfig/Tmpfs", serde_json::json!({"/tmp": "rw,nosuid,nodev,exec,mode=1777,size=1024"})),
    ];
    for (pointer, value) in wanted {
        assert_eq!(body.pointer(pointer), Some(value), "{pointer} in {body:#}");
    }
    // What would widen it is not there at all.
    for absent in [
        "Binds",
        "CapAdd",
        "Devices",
        "DeviceRequests",
        "VolumesFrom",
        "PidMode",
        "UTSMode",
        "UsernsMode",
        "OomKillDisable",
        "Sysctls",
        "GroupAdd",
        "Runtime",
        "MaskedPaths",
        "ReadonlyPaths",
    ] {
        assert_eq!(body.pointer(&format!("/HostConfig/{absent}")), None, "{absent}");
    }
}

#[test]
fn no_command_leaves_the_images_own_and_no_network_means_none() {
    let mut spec = spec();
    spec.command = None;
    spec.network = Network::None;
    let refused = request(&spec, &Approved::default(), &profile(SelinuxPolicy::Leave)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "a port nobody could reach");
    spec.ports.clear();
    let body = body(&spec);
    assert_eq!(body.get("Cmd"), None);
    assert_eq!(body.pointer("/HostConfig/NetworkMode"), Some(&"none".into()));
}

#[test]
fn a_grant_adds_what_it_names_and_leaves_everything_else() {
    let granted = Granted {
        oci_runtime: Some("runsc".into()),
        capabilities: vec!["NET_RAW".into()],
        devices: vec![GrantedDevice { path: "/dev/fuse".into(), permissions: "rw" }],
        network: Some("services".into()),
        new_privileges: true,
    };
    let mut asking = spec();
    asking.network = Network::Named("services".into());
    let mut full = body_with(&asking, granted, SelinuxPolicy::DisableLabel);
    let mut plain = body(&spec());
    for (key, value) in [
        ("Runtime", serde_json::json!("runsc")),
        ("CapAdd", serde_json::json!(["NET_RAW"])),
        (
            "Devices",
            serde_json::json!([{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse",
                "CgroupPermissions": "rw"}]),
        ),
        ("NetworkMode", serde_json::json!("services")),
        ("SecurityOpt", serde_json::json!(["label=disable"])),
    ] {
        assert_eq!(full["HostConfig"][key], value, "{key}");
        for body in [&mut full, &mut plain] {
            body["HostConfig"].as_object_mut().unwrap().remove(key);
        }
    }
    assert_eq!(full, plain, "privileged, read-only root, user, ports, limits and the rest");
}

#[test]
fn a_network_that_was_not_granted_is_not_joined() {
    let mut asking = spec();
    asking.network = Network::Named("services".into());
    for network in [None, Some("other".to_owned())] {
        let approved = approved(Granted { network, ..Granted::default() });
        assert!(request(&asking, &approved, &profile(SelinuxPolicy::Leave)).is_err());
    }
}

#[test]
fn directories_are_labelled_in_the_old_form_and_nothing_else_uses_it() {
    let mut approved = approved(Granted::default());
    let refused = request(&spec(), &approved, &profile(SelinuxPolicy::Relabel)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "a ':' in the path");
    approved.mounts[0].source = AllowedSource::Directory("/data/a".into());
    let request = request(&spec(), &approved, &profile(SelinuxPolicy::Relabel)).unwrap();
    let host = serde_json::to_value(request).unwrap()["HostConfig"].clone();
    assert_eq!(host["Binds"], serde_json::json!(["/data/a:/workspace:rw,z,rprivate"]));
    assert_eq!(host["Mounts"].as_array().map(Vec::len), Some(1), "the volume");
    assert_eq!(host["SecurityOpt"], serde_json::json!(["no-new-privileges"]));
}
