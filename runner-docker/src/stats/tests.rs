use std::time::SystemTime;

use super::*;

fn read(text: &str) -> Option<ContainerStats> {
    sample(&serde_json::from_str(text).expect(text))
}

fn at(seconds: u64, nanos: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
}

#[expect(clippy::unnecessary_wraps, reason = "what is compared with it is optional")]
fn traffic(received: u64, sent: u64) -> Option<Traffic> {
    Some(Traffic { received, sent })
}

/// Replies of engine 20.10.24 on cgroup v1, and of others as they document themselves.
#[test]
fn every_engines_document_is_understood() {
    let cases = [
        (
            "cgroup v1, 40 MiB in a memory-backed directory",
            include_str!("../../tests/fixtures/stats/cgroup1_running.json"),
            ContainerStats {
                read_at: at(1_795_589_713, 425_500_197),
                cpu: Some(Duration::from_nanos(93_722_647)),
                memory: Some(MemoryUse {
                    used: 43_323_392 - 86_016,
                    total: 43_323_392,
                    limit: Some(268_435_456),
                }),
                pids: Some(3),
                network: traffic(1_016, 0),
                disk: None,
            },
        ),
        (
            "cgroup v1, without a limit and a network: what it is told as its limit is the host's memory",
            include_str!("../../tests/fixtures/stats/cgroup1_no_network.json"),
            ContainerStats {
                read_at: at(1_795_589_714, 428_790_597),
                cpu: Some(Duration::from_nanos(81_676_510)),
                memory: Some(MemoryUse { used: 17_866_752 - 8_503_296, total: 17_866_752, limit: None }),
                pids: Some(2),
                network: None,
                disk: None,
            },
        ),
        (
            "cgroup v2",
            include_str!("../../tests/fixtures/stats/cgroup2_running.json"),
            ContainerStats {
                read_at: at(1_795_580_114, 706_239_334),
                cpu: Some(Duration::from_micros(167_978)),
                memory: Some(MemoryUse { used: 9_437_184, total: 11_534_336, limit: Some(536_870_912) }),
                pids: Some(7),
                network: traffic(1_326 + 500, 126 + 700),
                disk: traffic(4_096 + 1_000, 8_192 + 2_000),
            },
        ),
        (
            "Podman, which tells no details of memory",
            include_str!("../../tests/fixtures/stats/podman_running.json"),
            ContainerStats {
                read_at: at(1_795_580_114, 500_000_000),
                cpu: Some(Duration::from_millis(3_800)),
                memory: Some(MemoryUse { used: 12_000_000, total: 12_000_000, limit: Some(8_000_000_000) }),
                pids: Some(11),
                network: traffic(3_000, 2_000),
                disk: traffic(45_000_000, 1_200_000),
            },
        ),
    ];
    for (name, text, want) in cases {
        assert_eq!(read(text), Some(want), "{name}");
    }
}

#[test]
fn what_does_not_run_has_no_sample() {
    for text in [
        include_str!("../../tests/fixtures/stats/stopped.json"),
        include_str!("../../tests/fixtures/stats/podman_stopped.json"),
        r#"{"read":"2026-11-25T04:15:14Z"}"#,
        r#"{"read":"","memory_stats":{"usage":5}}"#,
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_document_that_is_not_a_sample_is_refused() {
    for text in ["{}", r#"{"message":"no"}"#, "[]", r#"{"read":null}"#] {
        assert!(serde_json::from_str::<Document>(text).is_err(), "{text}");
    }
}

/// A running container's document with these parts.
fn with(parts: &str) -> ContainerStats {
    read(&format!(r#"{{"read":"2026-11-25T04:15:14Z","pids_stats":{{"current":1}},{parts}}}"#)).expect(parts)
}

#[test]
fn memory_is_what_the_limit_counts() {
    let cases: &[(&str, Option<MemoryUse>)] = &[
        ("null", None),
        ("{}", None),
        (r#"{"usage":0,"limit":9}"#, None),
        (r#"{"usage":-1}"#, None),
        (r#"{"usage":"5"}"#, None),
        (r#"{"usage":100}"#, Some(MemoryUse { used: 100, total: 100, limit: None })),
        (r#"{"usage":100,"stats":null,"limit":0}"#, Some(MemoryUse { used: 100, total: 100, limit: None })),
        // v1's name before v2's; never the cache.
        (
            r#"{"usage":100,"stats":{"inactive_file":1,"total_inactive_file":30,"cache":90,"total_cache":90}}"#,
            Some(MemoryUse { used: 70, total: 100, limit: None }),
        ),
        (
            r#"{"usage":100,"stats":{"inactive_file":40,"file":90}}"#,
            Some(MemoryUse { used: 60, total: 100, limit: None }),
        ),
        // Counters of two moments: only if smaller.
        (
            r#"{"usage":100,"stats":{"inactive_file":100}}"#,
            Some(MemoryUse { used: 100, total: 100, limit: None }),
        ),
        (
            r#"{"usage":100,"stats":{"inactive_file":101}}"#,
            Some(MemoryUse { used: 100, total: 100, limit: None }),
        ),
        // The kernel's "no limit", on pages of 4 and of 64 KiB, and of cgroup v2.
        (
            r#"{"usage":100,"limit":9223372036854771712}"#,
            Some(MemoryUse { used: 100, total: 100, limit: None }),
        ),
        (
            r#"{"usage":100,"limit":9223372036854710272}"#,
            Some(MemoryUse { used: 100, total: 100, limit: None }),
        ),
        (
            r#"{"usage":100,"limit":18446744073709551615}"#,
            Some(MemoryUse { used: 100, total: 100, limit: None }),
        ),
        (r#"{"usage":100,"limit":200}"#, Some(MemoryUse { used: 100, total: 100, limit: Some(200) })),
    ];
    for (text, want) in cases {
        assert_eq!(with(&format!(r#""memory_stats":{text}"#)).memory, *want, "{text}");
    }
}

#[test]
fn traffic_is_summed_where_it_is_known() {
    for (text, want) in [
        ("null", None),
        ("{}", None),
        (r#"{"eth0":{}}"#, None),
        (r#"{"eth0":{"rx_bytes":0,"tx_bytes":0}}"#, traffic(0, 0)),
        (r#"{"a":{"rx_bytes":1,"tx_bytes":2},"b":{"rx_bytes":10,"tx_bytes":20}}"#, traffic(11, 22)),
        (r#"{"a":{"rx_bytes":18446744073709551615,"tx_bytes":2},"b":{"rx_bytes":1}}"#, traffic(u64::MAX, 2)),
    ] {
        assert_eq!(with(&format!(r#""networks":{text}"#)).network, want, "{text}");
    }
    for (text, want) in [
        ("null", None),
        ("[]", None),
        (r#"[{"op":"Total","value":5}]"#, None),
        (r#"[{"op":"READ"},{"op":"write","value":0}]"#, traffic(0, 0)),
        (
            r#"[{"op":"Read","value":1},{"op":"Write","value":2},{"op":"Sync","value":3},{"op":"Total","value":3},
                {"op":"read","value":10},{"op":"rios","value":9},{"op":null},7]"#,
            traffic(11, 2),
        ),
    ] {
        let parts = format!(r#""blkio_stats":{{"io_service_bytes_recursive":{text}}}"#);
        assert_eq!(with(&parts).disk, want, "{text}");
    }
}
