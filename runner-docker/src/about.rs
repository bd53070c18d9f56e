//! What the engine is and can do.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join;
use http::Method;
use runner_core::ErrorKind;
use runner_core::container_runtime::{Feature, RuntimeInfo, SupportedLimits};
use serde::de::IgnoredAny;

use crate::engine::Engine;
use crate::error::{EngineError, judge};
use crate::json;

pub(crate) const OPERATION: &str = "ask what the engine is";

/// Asks, and lets the notes about containers' ends know.
pub(crate) async fn about(
    engine: &Engine,
    limit: Duration,
) -> Result<(json::Version, json::Info), EngineError> {
    let version = engine.json(Method::GET, "/version", None, limit);
    let info = engine.json(Method::GET, "/info", None, limit);
    let (version, info): (json::Version, json::Info) = try_join(version, info).await?;
    engine.exits.learn(&info);
    Ok((version, info))
}

fn is_podman(version: &json::Version) -> bool {
    version.components.iter().any(|c| c.name.to_ascii_lowercase().contains("podman"))
}

/// Calls that this engine does not have. Podman got them one by one, so it is asked, about a container that no engine
/// has.
pub(crate) async fn unsupported(
    engine: &Engine,
    version: &json::Version,
    limit: Duration,
) -> Result<BTreeSet<Feature>, EngineError> {
    let mut missing = BTreeSet::new();
    if is_podman(version) {
        let path = format!("/containers/{}/update", "0".repeat(64));
        let body = Some(Bytes::from_static(b"{}"));
        match engine.json::<IgnoredAny>(Method::POST, &path, body, limit).await {
            Err(EngineError::Status { code, message })
                if judge(code, &message).kind == ErrorKind::Unsupported =>
            {
                missing.insert(Feature::Update);
            }
            Ok(_) | Err(EngineError::Status { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(missing)
}

pub(crate) fn describe(
    version: json::Version,
    info: json::Info,
    host_address: Option<IpAddr>,
    unsupported: BTreeSet<Feature>,
) -> RuntimeInfo {
    let product = if is_podman(&version) { "Podman" } else { "Docker" };
    let has = |name: &str| info.security_options.iter().any(|option| option.contains(name));
    RuntimeInfo {
        engine: format!("{product} {}", version.product),
        api_version: version.api,
        architecture: info.architecture,
        rootless: has("name=rootless") || has("name=userns"),
        host_address,
        // Engines before control groups 2 do not speak of a version at all.
        cgroup_version: match info.cgroup_version.as_str() {
            "1" | "v1" => Some(1),
            "2" | "v2" => Some(2),
            _ => None,
        },
        storage_driver: info.driver,
        live_restore: info.live_restore_enabled,
        selinux: has("name=selinux"),
        limits: SupportedLimits {
            memory: info.memory_limit,
            swap: info.swap_limit,
            cpu: info.cpu_cfs_quota,
            pids: info.pids_limit,
        },
        oci_runtimes: info.runtimes.into_iter().map(|(name, _)| name).collect(),
        cpus: Some(info.cpus).filter(|count| *count > 0),
        memory_bytes: Some(info.mem_total).filter(|bytes| *bytes > 0),
        unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_described_in_its_words_and_unknown_is_not_zero() {
        let version = |text: &str| serde_json::from_str::<json::Version>(text).unwrap();
        let info: json::Info = serde_json::from_str(
            r#"{"Architecture":"x86_64","CgroupVersion":"1","Driver":"overlay2","LiveRestoreEnabled":true,
                "SecurityOptions":["name=seccomp,profile=default","name=selinux","name=rootless"],
                "MemoryLimit":true,"SwapLimit":true,"PidsLimit":true,"CpuCfsQuota":true,"NCPU":2,
                "MemTotal":25276502016,"Runtimes":{"runc":{"path":"runc"},"runsc":{"path":"/x","runtimeArgs":[]}}}"#,
        )
        .unwrap();
        let docker =
            version(r#"{"Version":"20.10.24","ApiVersion":"1.41","Components":[{"Name":"Engine"}]}"#);
        let found = describe(docker, info, None, BTreeSet::new());
        assert_eq!((found.engine.as_str(), found.api_version.as_str()), ("Docker 20.10.24", "1.41"));
        assert_eq!((found.cgroup_version, found.storage_driver.as_str()), (Some(1), "overlay2"));
        assert!(found.live_restore && found.selinux && found.rootless);
        assert_eq!(found.limits, SupportedLimits { memory: true, swap: true, cpu: true, pids: true });
        assert_eq!(found.oci_runtimes.iter().map(String::as_str).collect::<Vec<_>>(), ["runc", "runsc"]);
        assert_eq!((found.cpus, found.memory_bytes), (Some(2), Some(25_276_502_016)));

        let podman =
            version(r#"{"Version":"4.3.1","ApiVersion":"1.41","Components":[{"Name":"Podman Engine"}]}"#);
        let bare = describe(podman, json::Info::default(), None, BTreeSet::from([Feature::Update]));
        assert_eq!(bare.engine, "Podman 4.3.1");
        assert_eq!(bare.unsupported, BTreeSet::from([Feature::Update]));
        assert_eq!((bare.cgroup_version, bare.cpus, bare.memory_bytes), (None, None, None));
    }
}
