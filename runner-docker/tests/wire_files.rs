//! Copies through an engine that misbehaves by script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state their expectations by panicking"
)]

mod support;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use runner_core::container::UserSpec;
use runner_core::files::{ContainerFile, FileKind};
use runner_core::{ContainerId, ContainerRuntime, ErrorKind, Retry};
use runner_docker::DockerRuntime;
use support::{Call, Fake, Reply, Then, fail, ok};
use tar::{Archive, Builder, EntryType, Header};

const INSPECT: &str = "GET /containers/abc/json";
const LOOK: &str = "HEAD /containers/abc/archive";
const PUT: &str = "PUT /containers/abc/archive";
const GET: &str = "GET /containers/abc/archive";

/// A recorded description: a read-only root, memory at /tmp, /mt and /workspace/t, mounts at /workspace and /fixed.
const PLACES: &str = include_str!("fixtures/places.json");
const WRITABLE_ROOT: &str = r#"{"Id":"abc","State":{"Status":"running"},"HostConfig":{"Tmpfs":{"/tmp":""}}}"#;

fn id() -> ContainerId {
    ContainerId::new("abc").unwrap()
}

fn owner() -> UserSpec {
    UserSpec { uid: 12_345, gid: 6 }
}

fn file(path: &str, contents: &str) -> ContainerFile {
    let kind = FileKind::File(contents.as_bytes().to_vec());
    ContainerFile { path: path.into(), mode: 0o600, owner: owner(), kind }
}

fn directory(path: &str) -> ContainerFile {
    ContainerFile { path: path.into(), mode: 0o700, owner: owner(), kind: FileKind::Directory }
}

/// What an engine says of a path: a Go program's file mode, and where a link leads.
fn stat(mode: u32, link: &str) -> Reply {
    let text = format!(
        r#"{{"name":"x","size":1,"mode":{mode},"mtime":"2026-01-01T00:00:00Z","linkTarget":"{link}"}}"#
    );
    Reply::Head(200, "X-Docker-Container-Path-Stat", BASE64_STANDARD.encode(text))
}

fn is_directory() -> Reply {
    stat(1 << 31 | 0o755, "")
}

fn link_to(path: &str) -> Reply {
    stat(1 << 27 | 0o777, path)
}

fn is_missing() -> Reply {
    Reply::Head(404, "X-Nothing", String::new())
}

/// The path that a request is about.
fn path_of(call: &Call) -> String {
    let path = call.query.split('&').find_map(|part| part.strip_prefix("path=")).unwrap();
    path.replace("%2F", "/")
}

/// An engine with directories, that takes every copy and gives this one.
fn engine(places: &'static str, archive: Reply) -> Fake {
    Fake::engine(move |call| match call.what.as_str() {
        INSPECT => ok(places),
        LOOK => match path_of(call).as_str() {
            "/workspace/out" => link_to("/etc"),
            "/workspace/memory" => link_to("/tmp/x"),
            "/workspace/file" => stat(0o644, ""),
            "/srv" => link_to("/workspace"),
            path if path.contains("new") => is_missing(),
            _ => is_directory(),
        },
        PUT => ok(""),
        GET => archive.clone(),
        _ => fail(599, &call.what),
    })
}

type Script = Box<dyn Fn(&Call) -> Reply + Send + Sync>;

fn nothing() -> Reply {
    Reply::Hangup
}

/// Names, modes, owners and contents of what was put.
fn unpacked(call: &Call) -> Vec<(String, u32, u64, Option<String>)> {
    let mut archive = Archive::new(call.body.as_bytes());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let (mode, uid) = (entry.header().mode().unwrap(), entry.header().uid().unwrap());
        let contents = (entry.header().entry_type() == EntryType::Regular)
            .then(|| std::io::read_to_string(&mut entry).unwrap());
        (path, mode, uid, contents)
    });
    entries.collect()
}

#[tokio::test]
async fn files_are_put_with_their_missing_directories() {
    let fake = engine(PLACES, nothing());
    let files = [
        file("new/deep/b", "bee"),
        file("a", "ay"),
        directory("listed"),
        file("listed/c", ""),
        file("there/d", "dee"),
    ];
    fake.connect().await.copy_in(&id(), Path::new("/workspace/"), &files).await.unwrap();
    let put = fake.calls(PUT).remove(0);
    assert_eq!(path_of(&put), "/workspace");
    assert!(put.query.contains("noOverwriteDirNonDir=true"), "{}", put.query);
    let text = |text: &str| Some(text.to_owned());
    let want = [
        ("a", 0o600, text("ay")),
        ("listed", 0o700, None),
        ("listed/c", 0o600, text("")),
        // Made as their first file's owner's; by itself the engine would make them root's.
        ("new", 0o755, None),
        ("new/deep", 0o755, None),
        ("new/deep/b", 0o600, text("bee")),
        ("there/d", 0o600, text("dee")),
    ]
    .map(|(path, mode, contents)| (path.to_owned(), mode, 12_345, contents));
    assert_eq!(unpacked(&put), want);
    fake.quiet().await;
}

#[tokio::test]
async fn what_would_not_be_seen_or_kept_is_refused_before_anything_is_sent() {
    let unsupported = ErrorKind::Unsupported;
    let invalid = ErrorKind::InvalidInput;
    let cases: Vec<(&str, &str, Vec<ContainerFile>, ErrorKind)> = vec![
        ("a read-only root", "/etc", vec![file("a", "")], unsupported),
        ("a read-only mount", "/fixed", vec![file("a", "")], unsupported),
        ("memory", "/tmp", vec![file("a", "")], unsupported),
        ("below memory", "/mt/x", vec![file("a", "")], unsupported),
        ("memory in a mount", "/workspace/t", vec![], unsupported),
        ("a file that would be in memory", "/workspace", vec![file("a", ""), file("t/a", "")], unsupported),
        ("the kernel's", "/proc/1", vec![], unsupported),
        ("a link to memory", "/workspace/memory", vec![file("a", "")], unsupported),
        ("a link to the root", "/workspace/out/x", vec![file("a", "")], unsupported),
        ("through a link", "/workspace", vec![file("out/passwd", "")], invalid),
        ("through a file", "/workspace", vec![file("file/x", "")], invalid),
        ("into a file", "/workspace/file", vec![file("x", "")], invalid),
        ("a file as a directory", "/workspace", vec![file("x", ""), file("x/y", "")], invalid),
        ("twice", "/workspace", vec![file("x", ""), file("x", "")], invalid),
        ("leaving", "/workspace", vec![file("../x", "")], invalid),
        ("absolute", "/workspace", vec![file("/x", "")], invalid),
        ("a relative directory", "workspace", vec![file("x", "")], invalid),
        ("a climbing directory", "/workspace/../etc", vec![file("x", "")], invalid),
        ("a set-id bit", "/workspace", vec![ContainerFile { mode: 0o4755, ..file("x", "") }], invalid),
    ];
    for (what, at, files, kind) in cases {
        let fake = engine(PLACES, nothing());
        let error = fake.connect().await.copy_in(&id(), Path::new(at), &files).await.expect_err(what);
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Permanent), "{what}: {error}");
        assert_eq!(fake.count(PUT), 0, "{what}");
    }
    let big = ContainerFile { kind: FileKind::File(vec![0; 64 << 20]), ..file("x", "") };
    let fake = engine(PLACES, nothing());
    let error = fake.connect().await.copy_in(&id(), Path::new("/workspace"), &[big]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Capacity, "{error}");
    assert!(error.hint().is_some());
}

/// A link on the way to the directory is one of the image or of the operator's, as long as it ends where it may.
#[tokio::test]
async fn a_directory_may_be_reached_through_a_link() {
    let fake = engine(PLACES, nothing());
    fake.connect().await.copy_in(&id(), Path::new("/srv/x"), &[file("a", "")]).await.unwrap();
    assert_eq!(path_of(&fake.calls(PUT)[0]), "/workspace/x");
    let fake = engine(WRITABLE_ROOT, nothing());
    fake.connect().await.copy_in(&id(), Path::new("/"), &[file("a", "")]).await.unwrap();
    assert_eq!(path_of(&fake.calls(PUT)[0]), "/");
}

/// Texts as engine 20.10.24 writes them; it calls nearly all of them a 500.
#[tokio::test]
async fn a_refusal_of_the_engine_has_its_kind() {
    for (status, text, kind, retry) in [
        (500, "container rootfs is marked read-only", ErrorKind::Unsupported, Retry::Permanent),
        (403, "mounted volume is marked read-only", ErrorKind::Unsupported, Retry::Permanent),
        (
            500,
            "Error processing tar file(exit status 1): open /workspace/a: read-only file system",
            ErrorKind::Unsupported,
            Retry::Permanent,
        ),
        (
            500,
            "Error processing tar file(exit status 1): cannot overwrite directory \"/workspace/a\" with non-directory \"/workspace\"",
            ErrorKind::InvalidInput,
            Retry::Permanent,
        ),
        (500, "extraction point is not a directory", ErrorKind::InvalidInput, Retry::Permanent),
        (
            500,
            "Error processing tar file(exit status 1): write /workspace/a: no space left on device",
            ErrorKind::HostResources,
            Retry::Permanent,
        ),
        (404, "Could not find the file /workspace in container abc", ErrorKind::NotFound, Retry::Permanent),
        (404, "No such container: abc", ErrorKind::NotFound, Retry::Permanent),
        (500, "something new", ErrorKind::Engine, Retry::Temporary),
    ] {
        let fake = Fake::engine(move |call| match call.what.as_str() {
            INSPECT => ok(WRITABLE_ROOT),
            LOOK => is_directory(),
            _ => fail(status, text),
        });
        let runtime = fake.connect().await;
        let error = runtime.copy_in(&id(), Path::new("/workspace"), &[file("a", "")]).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{text}: {error}");
        assert_eq!(error.container(), Some(&id()));
    }
}

#[tokio::test]
async fn a_missing_path_is_not_a_missing_container() {
    // Of a look, an engine gives the same answer for both.
    let path_gone = |call: &Call| match call.what.as_str() {
        INSPECT => ok(WRITABLE_ROOT),
        LOOK if path_of(call) == "/a" => is_directory(),
        _ => is_missing(),
    };
    let late = |call: &Call| match call.what.as_str() {
        INSPECT => ok(WRITABLE_ROOT),
        LOOK => is_directory(),
        _ => fail(404, "Could not find the file /a/b in container abc"),
    };
    let through_a_file = |call: &Call| match call.what.as_str() {
        INSPECT => ok(WRITABLE_ROOT),
        _ => stat(0o644, ""),
    };
    let container_gone = |_: &Call| fail(404, "No such container: abc");
    let gone_meanwhile = |call: &Call| match (call.what.as_str(), call.nth) {
        (INSPECT, 0) => ok(WRITABLE_ROOT),
        (INSPECT, _) => fail(404, "No such container: abc"),
        _ => is_missing(),
    };
    let removed_at_last = |call: &Call| match call.what.as_str() {
        INSPECT => ok(WRITABLE_ROOT),
        LOOK => is_directory(),
        _ => fail(404, "No such container: abc"),
    };
    let cases: Vec<(&str, Script, &str)> = vec![
        ("path", Box::new(path_gone), "/a/b"),
        ("late", Box::new(late), "/a/b"),
        ("through a file", Box::new(through_a_file), "/a/b"),
        ("container", Box::new(container_gone), "No such container"),
        ("meanwhile", Box::new(gone_meanwhile), "No such container"),
        ("at last", Box::new(removed_at_last), "No such container"),
    ];
    for (what, script, text) in cases {
        let fake = Fake::engine(script);
        let runtime = fake.connect().await;
        let read = runtime.copy_out(&id(), Path::new("/a/b"), 100).await.expect_err(what);
        let written = runtime.copy_in(&id(), Path::new("/a/b"), &[]).await.expect_err(what);
        for error in [read, written] {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
            assert!(error.message().contains(text), "{what}: {error}");
        }
    }
}

// ---- out

fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, contents) in files {
        let mut header = Header::new_gnu();
        header.set_mode(0o100_640);
        header.set_uid(12_345);
        header.set_gid(6);
        header.set_size(contents.len() as u64);
        builder.append_data(&mut header, path, *contents).unwrap();
    }
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn an_archive_is_read_whatever_pieces_it_arrives_in() {
    let bytes = packed(&[("d/a", b"ay"), ("d/b", &[7; 5000])]);
    for size in [7, 511, 100_000] {
        let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
        let fake = engine(PLACES, Reply::Stream(pieces, Then::End));
        let mut config = fake.config();
        // Thousands of pieces take their time on a busy machine.
        config.budgets.copy = Duration::from_secs(10);
        let runtime = DockerRuntime::connect(config).await.unwrap();
        let files = runtime.copy_out(&id(), Path::new("/srv/d"), 5002).await.unwrap();
        let b = ContainerFile { kind: FileKind::File(vec![7; 5000]), ..file("d/b", "") };
        let want = [file("d/a", "ay"), b].map(|file| ContainerFile { mode: 0o640, ..file });
        assert_eq!(files, want, "pieces of {size}");
        assert_eq!(path_of(&fake.calls(GET)[0]), "/workspace/d");
        let error = runtime.copy_out(&id(), Path::new("/srv/d"), 5001).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Capacity, "{error}");
        assert!(error.message().contains("5001"), "{error}");
        fake.quiet().await;
    }
}

/// A file of a terabyte, of which only the beginning comes: the claim is enough, and the connection is closed.
#[tokio::test]
async fn what_is_too_large_is_not_waited_for() {
    let mut header = Header::new_gnu();
    header.set_path("big").unwrap();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(1 << 40);
    header.set_cksum();
    let fake = engine(PLACES, Reply::Stream(vec![header.as_bytes().to_vec()], Then::Stall));
    let runtime = fake.connect().await;
    let error = runtime.copy_out(&id(), Path::new("/workspace/big"), 1 << 30).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Capacity, Retry::Permanent), "{error}");
    fake.quiet().await;
}

#[tokio::test]
async fn a_broken_copy_is_not_taken_for_whole() {
    let bytes = packed(&[("a", b"contents")]);
    let half = vec![bytes[..700].to_vec()];
    for (reply, kind, retry) in [
        (Reply::Stream(half.clone(), Then::End), ErrorKind::Connection, Retry::Temporary),
        (Reply::Stream(half.clone(), Then::Cut), ErrorKind::Connection, Retry::Temporary),
        (Reply::Stream(half, Then::Stall), ErrorKind::Timeout, Retry::Temporary),
        (Reply::Silence, ErrorKind::Timeout, Retry::Temporary),
        (Reply::Stream(vec![vec![b'<'; 512]], Then::Stall), ErrorKind::Protocol, Retry::Permanent),
        // Nothing but its end.
        (Reply::Stream(vec![vec![0; 1024]], Then::End), ErrorKind::Connection, Retry::Temporary),
        (fail(500, "boom"), ErrorKind::Engine, Retry::Temporary),
    ] {
        let shown = format!("{reply:?}");
        let fake = engine(PLACES, reply);
        let error = fake.connect().await.copy_out(&id(), Path::new("/workspace/a"), 100).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry), "{shown}: {error}");
        assert_eq!(error.container(), Some(&id()), "{shown}");
        fake.quiet().await;
    }
}

#[tokio::test]
async fn what_the_engine_does_not_see_is_not_read() {
    for (path, text) in [
        ("/tmp/x", "not on a disk"),
        ("/workspace/t", "not on a disk"),
        ("/workspace/memory/x", "not on a disk"),
        ("/proc/self/environ", "not on a disk"),
        ("/workspace", "/workspace/t"),
        ("/", "/dev"),
    ] {
        let fake = engine(PLACES, Reply::Stream(vec![packed(&[("x", b"")])], Then::End));
        let error = fake.connect().await.copy_out(&id(), Path::new(path), 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{path}: {error}");
        assert!(error.message().contains(text) && error.hint().is_some(), "{path}: {error}");
        assert_eq!(fake.count(GET), 0, "{path}");
    }
    // A link is read as what it is.
    let fake = engine(PLACES, Reply::Stream(vec![packed(&[("memory", b"")])], Then::End));
    fake.connect().await.copy_out(&id(), Path::new("/workspace/memory"), 100).await.unwrap();
}

/// Every step hangs once; the whole is bounded.
#[tokio::test]
async fn no_step_of_a_copy_hangs() {
    for step in [INSPECT, LOOK, PUT, GET] {
        let fake = Fake::engine(move |call| match call.what.as_str() {
            what if what == step => Reply::Silence,
            INSPECT => ok(WRITABLE_ROOT),
            LOOK => is_directory(),
            _ => Reply::Stream(vec![packed(&[("a", b"")])], Then::End),
        });
        let runtime = fake.connect().await;
        let read = runtime.copy_out(&id(), Path::new("/a"), 100).await;
        let written = runtime.copy_in(&id(), Path::new("/a"), &[file("b", "")]).await;
        for (what, result) in [(GET, read.map(drop)), (PUT, written)] {
            if step == what || step == INSPECT || step == LOOK {
                let error = result.unwrap_err();
                assert_eq!((error.kind(), error.retry()), (ErrorKind::Timeout, Retry::Temporary), "{step}");
            } else {
                result.unwrap();
            }
        }
        fake.quiet().await;
    }
}

#[tokio::test]
async fn a_look_without_an_answer_is_an_error() {
    for reply in [
        Reply::Head(200, "X-Other", "x".to_owned()),
        Reply::Head(200, "X-Docker-Container-Path-Stat", "%%%".to_owned()),
        Reply::Head(200, "X-Docker-Container-Path-Stat", BASE64_STANDARD.encode("[]")),
    ] {
        let fake =
            Fake::engine(move |call| if call.what == INSPECT { ok(WRITABLE_ROOT) } else { reply.clone() });
        let error = fake.connect().await.copy_out(&id(), Path::new("/a"), 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
}
