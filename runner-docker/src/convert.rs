//! The engine's documents → domain types. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use runner_core::container::PublishedPort;
use runner_core::{ContainerId, ContainerInfo, ContainerState, ExitStatus};

use crate::error::{EngineError, clean};
use crate::json;
use crate::stamp::Stamp;

/// What `inspect` says, as the domain sees it.
pub(crate) fn container(doc: json::Container) -> Result<ContainerInfo, EngineError> {
    let state = state(&doc.state);
    let started_at = clock(&doc.state.started_at);
    // An engine may keep a binding's text for a container that has ended.
    let alive = matches!(state, ContainerState::Running | ContainerState::Paused);
    Ok(ContainerInfo {
        id: id(&doc.id)?,
        name: doc.name.trim_start_matches('/').to_owned(),
        ports: if alive { ports(&doc.network_settings) } else { Vec::new() },
        state,
        labels: doc.config.labels,
        created_at: clock(&doc.created),
        started_at,
    })
}

/// What `list` says about a container that is alive; `None` where only `inspect` can tell, because the summary has
/// no exit code.
pub(crate) fn summary(doc: &json::Summary) -> Result<Option<ContainerInfo>, EngineError> {
    let state = match doc.state.as_str() {
        "running" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        _ => return Ok(None),
    };
    let mut ports: Vec<_> = doc
        .ports
        .iter()
        .filter(|p| p.protocol == "tcp" && p.public_port != 0)
        .filter_map(|p| loopback(&p.ip).map(|ip| published(p.private_port, ip, p.public_port)))
        .collect();
    ports.sort_unstable_by_key(|p| (p.container, p.address));
    Ok(Some(ContainerInfo {
        id: id(&doc.id)?,
        name: name(doc),
        state,
        labels: doc.labels.clone(),
        ports,
        created_at: created_at(doc),
        started_at: None,
    }))
}

/// A container whose summary says something unknown and that could not be inspected: still there.
pub(crate) fn unknown(doc: &json::Summary) -> Result<ContainerInfo, EngineError> {
    Ok(ContainerInfo {
        id: id(&doc.id)?,
        name: name(doc),
        state: ContainerState::Unknown(clean(&doc.state)),
        labels: doc.labels.clone(),
        ports: Vec::new(),
        created_at: created_at(doc),
        started_at: None,
    })
}

fn name(doc: &json::Summary) -> String {
    // A linked container has several names; its own has one slash.
    let own = doc.names.iter().find(|n| n.matches('/').count() <= 1).or(doc.names.first());
    own.map(|n| n.trim_start_matches('/').to_owned()).unwrap_or_default()
}

fn created_at(doc: &json::Summary) -> Option<SystemTime> {
    (doc.created > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(doc.created))
}

/// A moment that the engine writes; `None` for one that has not come, which is written as the year 1.
pub(crate) fn clock(text: &str) -> Option<SystemTime> {
    Stamp::parse(text.as_bytes())?.time()
}

/// An id that the engine sent.
pub(crate) fn id(text: &str) -> Result<ContainerId, EngineError> {
    ContainerId::new(text).map_err(|e| EngineError::Decode { message: e.message().to_owned() })
}

/// The state, in the words of Docker and of Podman.
pub(crate) fn state(doc: &json::State) -> ContainerState {
    let exit = || {
        let error = Some(clean(&doc.error)).filter(|e| !e.is_empty());
        ContainerState::Exited(ExitStatus {
            oom_killed: doc.oom_killed,
            error,
            ended_at: clock(&doc.finished_at),
            ..ExitStatus::of_code(doc.exit_code)
        })
    };
    match doc.status.as_str() {
        // A start that failed leaves a container "created", with the reason beside it: it will not go on.
        "created" if !doc.error.is_empty() => exit(),
        "created" | "configured" | "initialized" => ContainerState::Created,
        "running" | "stopping" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        // "dead": ended, and a removal failed half way.
        "exited" | "stopped" | "dead" => exit(),
        "removing" => ContainerState::Removing,
        other => ContainerState::Unknown(clean(other)),
    }
}

/// Addresses of the TCP ports published on the loopback address; other families and addresses are none of ours.
fn ports(doc: &json::NetworkSettings) -> Vec<PublishedPort> {
    let mut ports = Vec::new();
    for (key, bindings) in &doc.ports {
        let Some(inside) = tcp_port(key) else { continue };
        for binding in bindings.iter().flatten() {
            if let (Some(ip), Ok(port)) = (loopback(&binding.host_ip), binding.host_port.parse())
                && port != 0
            {
                ports.push(published(inside, ip, port));
            }
        }
    }
    ports.sort_unstable_by_key(|p| (p.container, p.address));
    ports
}

/// The TCP ports that a container was asked to publish. Podman also lists, without a binding, those that the image
/// merely names.
pub(crate) fn requested_ports(doc: &json::HostConfig) -> Vec<u16> {
    let bound = |bindings: &Option<Vec<json::Binding>>| bindings.as_ref().is_some_and(|b| !b.is_empty());
    doc.port_bindings.iter().filter(|(_, b)| bound(b)).filter_map(|(key, _)| tcp_port(key)).collect()
}

/// The host's directories that a container was asked to have mounted, by the engine's names for them.
pub(crate) fn host_paths(doc: &json::HostConfig) -> Vec<PathBuf> {
    let mounts = doc.mounts.iter().filter(|mount| mount.kind == "bind").map(|mount| mount.source.as_str());
    // A source with a ':' is never asked for in this form.
    let binds = doc.binds.iter().filter_map(|bind| bind.split(':').next());
    // What is no path is the name of a volume.
    mounts.chain(binds.filter(|source| source.starts_with('/'))).map(PathBuf::from).collect()
}

/// `4096/tcp` → 4096.
fn tcp_port(key: &str) -> Option<u16> {
    key.strip_suffix("/tcp")?.parse().ok()
}

fn loopback(ip: &str) -> Option<Ipv4Addr> {
    ip.parse().ok().filter(Ipv4Addr::is_loopback)
}

fn published(container: u16, ip: Ipv4Addr, port: u16) -> PublishedPort {
    PublishedPort { container, address: SocketAddr::new(IpAddr::V4(ip), port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect(state: &str, ports: &str) -> ContainerInfo {
        let text = format!(
            r#"{{"Id":"abc","Name":"/n","State":{state},"Config":{{"Labels":null,"Image":3}},
                 "HostConfig":null,"NetworkSettings":{{"Ports":{ports}}},"Later":{{"a":[1]}}}}"#
        );
        container(serde_json::from_str(&text).expect(&text)).expect(&text)
    }

    fn exited(code: i64, oom_killed: bool, error: Option<&str>) -> ContainerState {
        ContainerState::Exited(ExitStatus {
            oom_killed,
            error: error.map(str::to_owned),
            ..ExitStatus::of_code(code)
        })
    }

    #[test]
    fn every_state_has_its_meaning_and_an_unknown_one_stays_there() {
        for (json, want) in [
            (r#"{"Status":"created","ExitCode":0,"Error":""}"#, ContainerState::Created),
            (r#"{"Status":"running"}"#, ContainerState::Running),
            (r#"{"Status":"paused","ExitCode":null}"#, ContainerState::Paused),
            (r#"{"Status":"removing"}"#, ContainerState::Removing),
            (r#"{"Status":"exited","ExitCode":7,"OOMKilled":false,"Error":""}"#, exited(7, false, None)),
            (r#"{"Status":"exited","ExitCode":137,"OOMKilled":true}"#, exited(137, true, None)),
            (r#"{"Status":"dead","ExitCode":1}"#, exited(1, false, None)),
            (
                r#"{"Status":"created","ExitCode":127,"Error":"OCI failed\nx"}"#,
                exited(127, false, Some("OCI failed x")),
            ),
            (r#"{"Status":"stopped","ExitCode":2}"#, exited(2, false, None)),
            (r#"{"Status":"weird"}"#, ContainerState::Unknown("weird".into())),
            (r#"{"Status":"restarting"}"#, ContainerState::Unknown("restarting".into())),
            (r"{}", ContainerState::Unknown(String::new())),
        ] {
            assert_eq!(inspect(json, "null").state, want, "{json}");
        }
    }

    #[test]
    fn only_bindings_on_the_ipv4_loopback_count_and_only_while_it_runs() {
        let ports = r#"{"4096/tcp":[{"HostIp":"127.0.0.1","HostPort":"32769"},{"HostIp":"::1","HostPort":"32770"},
            {"HostIp":"0.0.0.0","HostPort":"1"},{"HostIp":"127.0.0.1","HostPort":""}],
            "53/udp":[{"HostIp":"127.0.0.1","HostPort":"2"}],"80/tcp":null,"x":[]}"#;
        let info = inspect(r#"{"Status":"running"}"#, ports);
        assert_eq!(info.ports, [published(4096, Ipv4Addr::LOCALHOST, 32769)]);
        assert_eq!(info.name, "n");
        assert!(inspect(r#"{"Status":"exited"}"#, ports).ports.is_empty());
    }

    #[test]
    fn the_hosts_directories_are_found_in_both_forms() {
        let text = r#"{"Mounts":[{"Type":"bind","Source":"/a:b"},{"Type":"volume","Source":"cache"},{"Type":"x"}],
            "Binds":["/c:/workspace:rw,z","cache:/c"]}"#;
        let doc: json::HostConfig = serde_json::from_str(text).unwrap();
        assert_eq!(host_paths(&doc), ["/a:b", "/c"].map(PathBuf::from));
        assert!(host_paths(&json::HostConfig::default()).is_empty());
    }

    #[test]
    fn a_document_that_is_not_a_container_is_refused() {
        for text in ["{}", r#"{"Id":null,"State":{}}"#, r#"{"Id":"a"}"#, "[]", r#"{"Containers":3}"#] {
            assert!(serde_json::from_str::<json::Container>(text).is_err(), "{text}");
        }
        let hostile = r#"{"Id":"a/../b","State":{}}"#;
        assert!(container(serde_json::from_str(hostile).unwrap()).is_err());
    }

    #[test]
    fn a_summary_is_enough_for_what_lives() {
        let doc = |state: &str| -> json::Summary {
            serde_json::from_str(&format!(
                r#"{{"Id":"abc","Names":["/other/link","/n"],"State":"{state}","Labels":{{"k":"v"}},
                    "Ports":[{{"IP":"127.0.0.1","PrivatePort":4096,"PublicPort":32768,"Type":"tcp"}},
                             {{"PrivatePort":4097,"Type":"tcp"}}]}}"#
            ))
            .unwrap()
        };
        let info = summary(&doc("running")).unwrap().unwrap();
        assert_eq!((info.name.as_str(), info.ports.len()), ("n", 1));
        for state in ["exited", "created", "weird", "dead"] {
            assert_eq!(summary(&doc(state)).unwrap(), None, "{state}");
        }
        assert_eq!(unknown(&doc("weird")).unwrap().state, ContainerState::Unknown("weird".into()));
    }
}
