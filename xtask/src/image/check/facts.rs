//! What `docker inspect` and /proc have to say about a hardened container. Pure.

use serde_json::Value;

/// Everything in which this container falls short of the runner's safety defaults.
pub(super) fn shortcomings(inspect: &Value) -> Vec<String> {
    let host = |name: &str| inspect.pointer(&format!("/HostConfig/{name}"));
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |name: &str| -> Vec<String> {
        let items = host(name).and_then(Value::as_array).cloned().unwrap_or_default();
        items.iter().map(|item| text(Some(item))).collect()
    };
    let user = text(inspect.pointer("/Config/User"));
    let memory = host("Memory").and_then(Value::as_i64).unwrap_or_default();
    let addresses: Vec<String> = inspect
        .pointer("/HostConfig/PortBindings")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(serde_json::Map::values)
        .filter_map(Value::as_array)
        .flatten()
        .map(|binding| text(binding.get("HostIp")))
        .collect();
    let wanted = [
        (
            !matches!(user.split(':').next(), None | Some("" | "0" | "root")),
            format!("the user is \"{user}\""),
        ),
        (
            host("ReadonlyRootfs") == Some(&Value::Bool(true)),
            "the root file system can be written to".to_owned(),
        ),
        (
            list("CapDrop").iter().any(|cap| cap.eq_ignore_ascii_case("all")),
            "capabilities are kept".to_owned(),
        ),
        (
            list("SecurityOpt").iter().any(|option| option.starts_with("no-new-privileges")),
            "new privileges can be gained".to_owned(),
        ),
        (
            host("PidsLimit").and_then(Value::as_i64).is_some_and(|limit| limit > 0),
            "processes are not limited".to_owned(),
        ),
        (memory > 0, "memory is not limited".to_owned()),
        (host("MemorySwap").and_then(Value::as_i64) == Some(memory), "swap is on".to_owned()),
        (host("Init") == Some(&Value::Bool(true)), "there is no init".to_owned()),
        (
            !addresses.is_empty() && addresses.iter().all(|address| address == "127.0.0.1"),
            format!("ports are published on {addresses:?}"),
        ),
    ];
    wanted.into_iter().filter(|(holds, _)| !holds).map(|(_, shortcoming)| shortcoming).collect()
}

/// One process, as /proc/PID/status shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) name: String,
    /// Real, effective, saved and file system user.
    users: Vec<u32>,
    capabilities: Option<u64>,
    no_new_privileges: bool,
    seccomp: bool,
}

impl Process {
    /// Several status files, one after the other.
    pub(super) fn parse_all(text: &str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if key == "Name" {
                all.push(Self { name: value.to_owned(), ..Self::default() });
            }
            let Some(process) = all.last_mut() else { continue };
            match key {
                "Uid" => {
                    process.users = value.split_whitespace().filter_map(|user| user.parse().ok()).collect();
                }
                "CapBnd" => process.capabilities = u64::from_str_radix(value, 16).ok(),
                "NoNewPrivs" => process.no_new_privileges = value == "1",
                "Seccomp" => process.seccomp = value == "2",
                _ => {}
            }
        }
        all
    }

    /// What this process could do and must not.
    pub(super) fn shortcomings(&self) -> Vec<String> {
        let name = &self.name;
        let wanted = [
            (!self.users.is_empty() && !self.users.contains(&0), format!("{name} runs as {:?}", self.users)),
            (self.capabilities == Some(0), format!("{name} can get capabilities: {:x?}", self.capabilities)),
            (self.no_new_privileges, format!("{name} can gain privileges")),
            (self.seccomp, format!("{name} runs without a seccomp filter")),
        ];
        wanted.into_iter().filter(|(holds, _)| !holds).map(|(_, shortcoming)| shortcoming).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hardened() -> Value {
        json!({
            "Config": {"User": "12345:12345"},
            "HostConfig": {
                "ReadonlyRootfs": true, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "PidsLimit": 256,
                "Memory": 1024, "MemorySwap": 1024, "Init": true,
                "PortBindings": {"4096/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            },
        })
    }

    #[test]
    fn a_hardened_container_has_none() {
        assert_eq!(shortcomings(&hardened()), Vec::<String>::new());
    }

    #[test]
    fn each_missing_piece_is_named() {
        let cases = [
            ("/Config/User", json!(""), "the user is"),
            ("/Config/User", json!("0:0"), "the user is"),
            ("/Config/User", json!("root"), "the user is"),
            ("/HostConfig/ReadonlyRootfs", json!(false), "root file system"),
            ("/HostConfig/CapDrop", json!(null), "capabilities"),
            ("/HostConfig/SecurityOpt", json!(null), "privileges"),
            ("/HostConfig/PidsLimit", json!(null), "processes"),
            ("/HostConfig/Memory", json!(0), "memory"),
            ("/HostConfig/MemorySwap", json!(-1), "swap"),
            ("/HostConfig/Init", json!(false), "no init"),
            ("/HostConfig/PortBindings", json!({"4096/tcp": [{"HostIp": "0.0.0.0"}]}), "0.0.0.0"),
            ("/HostConfig/PortBindings", json!({"4096/tcp": [{"HostIp": ""}]}), "ports"),
        ];
        for (pointer, value, says) in cases {
            let mut inspect = hardened();
            *inspect.pointer_mut(pointer).expect(pointer) = value;
            let found = shortcomings(&inspect);
            assert!(found.iter().any(|shortcoming| shortcoming.contains(says)), "{pointer}: {found:?}");
        }
        assert!(shortcomings(&json!({})).len() >= 8);
    }

    const GOOD: &str = "Name:\topencode\nUid:\t12345\t12345\t12345\t12345\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn processes_are_read_one_after_the_other() {
        let all =
            Process::parse_all(&format!("{GOOD}Name:\tsh\nUid:\t0\t0\t0\t0\nCapBnd:\t00000000a80425fb\n"));
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].shortcomings(), Vec::<String>::new());
        assert_eq!(all[1].shortcomings().len(), 4, "{:?}", all[1].shortcomings());
    }

    #[test]
    fn one_root_among_the_four_users_is_enough() {
        let all = Process::parse_all(&GOOD.replace("12345\nCap", "0\nCap"));
        assert_eq!(all[0].shortcomings(), ["opencode runs as [12345, 12345, 12345, 0]"]);
    }
}
