//! What is granted with two keys, and what no key opens.

use runner_core::container::Network;
use runner_core::grants::{Capability, Device, Grants};
use runner_core::{ContainerRuntime, ContainerSpec, ErrorKind, Retry};
use runner_docker::{AllowedGrants, DockerConfig, DockerRuntime};
use serde_json::{Value, json};

use crate::support::{Fake, fail, ok};
use crate::{CREATE, INSPECT, NETWORKS, START, body, id, inspected, spec, unexpected, willing};

fn null() -> Device {
    Device { path: "/dev/null".into(), writable: true }
}

fn everything() -> (ContainerSpec, AllowedGrants) {
    let mut spec = spec();
    spec.network = Network::Named("services".into());
    spec.ports = vec![4096];
    spec.grants = Grants {
        oci_runtime: Some("runsc".into()),
        capabilities: [Capability::NetRaw, Capability::SysPtrace].into(),
        devices: [null()].into(),
        new_privileges: true,
    };
    let allowed = AllowedGrants {
        oci_runtimes: ["runsc".to_owned()].into(),
        capabilities: spec.grants.capabilities.clone(),
        devices: spec.grants.devices.clone(),
        networks: ["services".to_owned()].into(),
        new_privileges: true,
    };
    (spec, allowed)
}

#[tokio::test]
async fn a_container_with_every_grant_still_has_the_profile() {
    let fake = willing();
    let (spec, allowed) = everything();
    let config = DockerConfig { allowed, ..fake.config() };
    DockerRuntime::connect(config).await.unwrap().create(&spec).await.unwrap();
    let body = body(&fake);
    let host = &body["HostConfig"];
    for (key, want) in [
        // What was granted.
        ("Runtime", json!("runsc")),
        ("CapAdd", json!(["NET_RAW", "SYS_PTRACE"])),
        (
            "Devices",
            json!([{"PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rw"}]),
        ),
        ("NetworkMode", json!("services")),
        ("SecurityOpt", json!([])),
        // What cannot be.
        ("Privileged", json!(false)),
        ("CapDrop", json!(["ALL"])),
        ("ReadonlyRootfs", json!(true)),
        ("IpcMode", json!("private")),
        ("CgroupnsMode", json!("private")),
        ("PublishAllPorts", json!(false)),
        ("PortBindings", json!({"4096/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]})),
        ("PidMode", Value::Null),
        ("UTSMode", Value::Null),
        ("UsernsMode", Value::Null),
        ("MaskedPaths", Value::Null),
        ("ReadonlyPaths", Value::Null),
        ("DeviceRequests", Value::Null),
        ("DeviceCgroupRules", Value::Null),
        ("GroupAdd", Value::Null),
        ("VolumesFrom", Value::Null),
        ("Binds", Value::Null),
        ("CgroupParent", Value::Null),
        ("Sysctls", Value::Null),
    ] {
        assert_eq!(host[key], want, "{key}");
    }
    assert_eq!(body["User"], "1000:1000");
    assert_eq!(host["MemorySwap"], host["Memory"]);
}

#[tokio::test]
async fn without_the_operators_key_nothing_is_granted_and_nobody_is_asked() {
    let fake = willing();
    let runtime = fake.connect().await;
    let asked = fake.all().len();
    let (full, allowed) = everything();
    let none = Grants::default();
    let cases = [
        (Grants { oci_runtime: Some("runsc".into()), ..none.clone() }, Network::None, "oci_runtimes"),
        (Grants { capabilities: [Capability::NetRaw].into(), ..none.clone() }, Network::None, "capabilities"),
        (Grants { devices: [null()].into(), ..none.clone() }, Network::None, "devices"),
        (Grants { new_privileges: true, ..none.clone() }, Network::None, "new_privileges"),
        (none.clone(), Network::Named("services".into()), "networks"),
        (full.grants, full.network, "capabilities"),
    ];
    for (grants, network, field) in cases {
        let mut spec = spec();
        (spec.grants, spec.network) = (grants, network);
        let error = runtime.create(&spec).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Permanent), "{error}");
        assert!(error.hint().is_some_and(|h| h.contains(&format!("allowed.{field}"))), "{field}: {error}");
    }
    for network in ["host", "bridge", "none", "container:abc", "../x"] {
        let mut spec = spec();
        spec.network = Network::Named(network.into());
        let error = runtime.create(&spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{network}: {error}");
    }
    assert_eq!(fake.all().len(), asked, "the engine was asked: {:?}", fake.all().last());

    // Allowed, and not there.
    let mut unknown = spec();
    unknown.grants.oci_runtime = Some("kata".into());
    let allowed = AllowedGrants { oci_runtimes: ["kata".to_owned()].into(), ..allowed };
    let runtime = DockerRuntime::connect(DockerConfig { allowed, ..fake.config() }).await.unwrap();
    let error = runtime.create(&unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("runc, runsc"), "{error}");
    assert_eq!(fake.count(CREATE), 0);

    // What must not even be allowed.
    let host = AllowedGrants { networks: ["host".to_owned()].into(), ..AllowedGrants::default() };
    let error = DockerRuntime::connect(DockerConfig { allowed: host, ..fake.config() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[tokio::test]
async fn a_network_of_somebody_elses_must_be_there_and_be_one() {
    let (spec, allowed) = everything();
    for (networks, kind) in [
        (r"[]", ErrorKind::NotFound),
        (r#"[{"Name":"services-2","Id":"services","Driver":"bridge"}]"#, ErrorKind::NotFound),
        (
            r#"[{"Name":"services","Id":"1","Driver":"bridge"},{"Name":"services","Id":"2"}]"#,
            ErrorKind::AlreadyExists,
        ),
        (r#"[{"Name":"services","Id":"1","Driver":"host"}]"#, ErrorKind::InvalidInput),
    ] {
        let fake = Fake::bare(move |call| match call.what.as_str() {
            "GET /version" => ok(r#"{"Version":"99","ApiVersion":"1.99"}"#),
            "GET /info" => ok(r#"{"Runtimes":{"runsc":{}}}"#),
            NETWORKS => ok(networks),
            _ => unexpected(call),
        });
        let config = DockerConfig { allowed: allowed.clone(), ..fake.config() };
        let error = DockerRuntime::connect(config).await.unwrap().create(&spec).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains("\"services\"") && error.hint().is_some(), "{error}");
        assert_eq!(fake.count(CREATE), 0);
    }

    // Gone since: not made again in its owner's place.
    for reply in [
        fail(404, "network services not found"),
        fail(400, "network services is ambiguous (2 matches found on name)"),
    ] {
        let fake = Fake::engine(move |call| match call.what.as_str() {
            START => reply.clone(),
            INSPECT => inspected("created", &json!({"NetworkMode": "services"})),
            _ => unexpected(call),
        });
        let error = fake.connect().await.start(&id()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Permanent, "{error}");
        assert!(error.message().contains("services") && error.hint().is_some(), "{error}");
        assert_eq!((fake.count(START), fake.count(NETWORKS)), (1, 0));
    }
}
