//! What is never mounted, by whatever name, and what a mount looks like on the wire.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use runner_core::{ContainerRuntime, ErrorKind, Retry};
use runner_docker::{DockerConfig, DockerHost, DockerRuntime, PathMapping, SelinuxPolicy};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

use crate::support::{Fake, Reply};
use crate::{
    CREATE, INSPECT, START, body, created, id, inspected, temporary, unexpected, willing, with_mount,
};

/// The fake engine behind an address, as after `ssh -L`.
async fn tunnel(fake: &Fake) -> DockerHost {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = fake.socket();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut engine = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut engine).await });
        }
    });
    DockerHost::Tcp { host: "127.0.0.1".into(), port }
}

/// Paths that no machine lacks, or whose text is enough.
const FORBIDDEN: &[&str] = &[
    "/",
    "//",
    "/..",
    "/proc",
    "/proc/self/root",
    "/proc/1/cwd",
    "/sys",
    "/sys/fs/cgroup",
    "/dev",
    "/dev/shm",
    "/etc",
    "/etc/../etc/ssl",
    "/run",
    "/var/run",
    "/var/run/..",
    "/var/run/docker.sock",
    "/var/lib/docker",
    "/var/lib/../lib/docker/volumes",
    "/var",
    "/var/lib",
    "/var/log",
    "/usr",
    "/usr/local/bin",
    "/bin",
    "/sbin",
    "/lib",
    "/home",
    "/root",
    "/root/.ssh",
    "/tmp",
    "/opt/../boot",
    "relative/path",
    "",
];

/// The same and more for an engine elsewhere, by the text alone.
const FORBIDDEN_ELSEWHERE: &[&str] = &[
    "/run/containerd",
    "/run/podman/podman.sock",
    "/run/user/1000/docker.sock",
    "/var/lib/lxd",
    "/var/lib/incus",
    "/var/lib/rancher",
    "/var/lib/kubelet/pods",
    "/var/lib/containers/storage",
    "/boot/efi",
    "/lib64",
    "/home/u",
    "/home/u/.config",
    "/home/u/.password-store",
    "/home/u/.local/share/keyrings",
    "/srv/x/docker.sock",
    "/srv/runner/../../etc",
    "/srv/./../etc",
];

#[tokio::test]
async fn forbidden_mounts_are_refused_before_the_engine_is_asked() {
    let fake = willing();
    let runtime = fake.connect().await;
    let asked = fake.all().len();
    let (_dir, root) = temporary();
    std::fs::create_dir_all(root.join("parent/work")).unwrap();
    let tricks = [
        ("socket", fake.socket()),
        ("link-to-etc", "/etc".into()),
        ("link-to-all", "/".into()),
        ("link-to-run", "/var/run".into()),
        ("link-to-link", "link-to-etc".into()),
        ("link-up", "../..".into()),
        ("missing-link", "nowhere".into()),
    ];
    for (name, target) in &tricks {
        symlink(target, root.join(name)).unwrap();
    }
    let mut sources: Vec<PathBuf> = FORBIDDEN.iter().map(PathBuf::from).collect();
    sources.extend(tricks.iter().map(|(name, _)| root.join(name)));
    sources.extend(
        [
            // Through a parent that is a link.
            "link-to-etc/ssl",
            "link-to-all/proc",
            "link-to-link/../etc",
            "parent/work/../../link-to-run/..",
            "missing",
        ]
        .map(|name| root.join(name)),
    );
    sources.extend([fake.socket(), fake.socket().parent().unwrap().to_path_buf()]);
    assert!(sources.len() >= 20);
    for source in sources {
        let shown = source.display().to_string();
        let error = runtime.create(&with_mount(source)).await.expect_err(&shown);
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Workspace), "{shown}: {error}");
        assert_eq!(error.retry(), Retry::Permanent, "{shown}: {error}");
        assert!(error.hint().is_some(), "{shown}: {error}");
    }
    assert_eq!(fake.all().len(), asked, "the engine was asked: {:?}", fake.all().last());
    runtime.create(&with_mount(root.join("parent/work"))).await.unwrap();
    assert_eq!(body(&fake)["HostConfig"]["Mounts"][0]["Source"], root.join("parent/work").to_str().unwrap());
}

#[tokio::test]
async fn an_engine_elsewhere_gets_no_forbidden_mount_either() {
    let fake = willing();
    let config = DockerConfig { host: tunnel(&fake).await, ..fake.config() };
    let runtime = DockerRuntime::connect(config).await.unwrap();
    assert!(runtime.may_see_other_files());
    let asked = fake.all().len();
    let (_dir, root) = temporary();
    symlink("/etc", root.join("link")).unwrap();
    symlink("/var/run", root.join("parent")).unwrap();
    let mut sources: Vec<PathBuf> = FORBIDDEN.iter().chain(FORBIDDEN_ELSEWHERE).map(PathBuf::from).collect();
    // It may be a tunnel to this very host.
    sources.extend([root.join("link"), root.join("link/ssl"), root.join("parent")]);
    for source in sources {
        let shown = source.display().to_string();
        let error = runtime.create(&with_mount(source)).await.expect_err(&shown);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{shown}: {error}");
    }
    assert_eq!(fake.all().len(), asked, "the engine was asked: {:?}", fake.all().last());
    // What is not here may be there.
    for source in ["/srv/cnap-nowhere", "/var/lib/runner", "/opt/runner/data", "/data"] {
        runtime.create(&with_mount(source)).await.expect(source);
        assert_eq!(body(&fake)["HostConfig"]["Mounts"][0]["Source"], source);
    }
}

#[tokio::test]
async fn a_directory_that_was_replaced_since_the_creation_is_not_mounted_by_a_start() {
    let (_dir, root) = temporary();
    let work = root.join("work");
    std::fs::create_dir_all(root.join("other")).unwrap();
    let plain = json!({"Mounts": [{"Type": "bind", "Source": work}]});
    let labelled = json!({"Binds": [format!("{}:/workspace:rw,z,rprivate", work.display())]});
    for host_config in [plain, labelled] {
        let shown = host_config.to_string();
        let state = Arc::new(Mutex::new("created"));
        let (current, document) = (Arc::clone(&state), host_config.clone());
        let fake = Fake::engine(move |call| match call.what.as_str() {
            INSPECT => inspected(*current.lock().unwrap(), &document),
            START => {
                *current.lock().unwrap() = "running";
                Reply::Json(204, String::new())
            }
            _ => unexpected(call),
        });
        let runtime = fake.connect().await;
        for target in ["/etc", "other", "nowhere"] {
            symlink(target, &work).unwrap();
            let error = runtime.start(&id()).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Workspace), "{error}");
            assert_eq!((error.container(), error.retry()), (Some(&id()), Retry::Permanent), "{error}");
            std::fs::remove_file(&work).unwrap();
        }
        let error = runtime.start(&id()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Workspace, "gone: {error}");
        assert_eq!(fake.count(START), 0, "{shown}");
        std::fs::create_dir(&work).unwrap();
        runtime.start(&id()).await.unwrap();
        // It runs: nothing is mounted any more, and the call changes nothing.
        std::fs::remove_dir(&work).unwrap();
        runtime.start(&id()).await.unwrap();
        assert_eq!(fake.count(START), 2, "{shown}");
    }
}

#[tokio::test]
async fn a_mapped_directory_goes_over_the_wire_by_the_engines_name() {
    let (_dir, root) = temporary();
    std::fs::create_dir_all(root.join("ws/a")).unwrap();
    std::fs::create_dir_all(root.join("unmapped")).unwrap();
    symlink("a", root.join("ws/link")).unwrap();
    let fake = willing();
    let mut config = fake.config();
    config.path_map = vec![
        PathMapping { here: root.join("ws"), engine: "/srv/runner".into() },
        PathMapping { here: root.clone(), engine: "/var/lib/docker/overlay2/x".into() },
    ];
    let runtime = DockerRuntime::connect(config).await.unwrap();
    assert!(runtime.may_see_other_files());
    for name in ["ws/a", "ws/link"] {
        runtime.create(&with_mount(root.join(name))).await.unwrap();
        assert_eq!(body(&fake)["HostConfig"]["Mounts"][0]["Source"], "/srv/runner/a");
    }
    let creations = fake.count(CREATE);
    let error = runtime.create(&with_mount(root.join("unmapped"))).await.unwrap_err();
    assert!(error.message().contains("/var/lib/docker/overlay2/x/unmapped"), "by the engine's name: {error}");
    assert_eq!((error.kind(), fake.count(CREATE)), (ErrorKind::InvalidInput, creations));

    let mut config = fake.config();
    config.path_map = vec![PathMapping { here: "data".into(), engine: "/srv".into() }];
    assert_eq!(DockerRuntime::connect(config).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn directories_are_labelled_only_where_the_engine_labels_and_the_operator_wants_it() {
    let (_dir, root) = temporary();
    let work = root.join("work, a");
    std::fs::create_dir_all(&work).unwrap();
    std::fs::create_dir_all(root.join("a:b")).unwrap();
    let work_text = work.to_str().unwrap();
    let label = |how: &str| json!([format!("{work_text}:/workspace:rw,{how},rprivate")]);
    for (policy, selinux, binds, options) in [
        (SelinuxPolicy::Leave, true, Value::Null, json!(["no-new-privileges"])),
        (SelinuxPolicy::Relabel, true, label("z"), json!(["no-new-privileges"])),
        (SelinuxPolicy::RelabelPrivate, true, label("Z"), json!(["no-new-privileges"])),
        (SelinuxPolicy::DisableLabel, true, Value::Null, json!(["no-new-privileges", "label=disable"])),
        (SelinuxPolicy::Relabel, false, Value::Null, json!(["no-new-privileges"])),
        (SelinuxPolicy::DisableLabel, false, Value::Null, json!(["no-new-privileges"])),
    ] {
        let fake = if selinux { willing() } else { Fake::engine(|_| created()) };
        let config = DockerConfig { selinux: policy, ..fake.config() };
        let runtime = DockerRuntime::connect(config).await.unwrap();
        runtime.create(&with_mount(&work)).await.unwrap();
        let host = body(&fake)["HostConfig"].clone();
        assert_eq!((&host["Binds"], &host["SecurityOpt"]), (&binds, &options), "{policy:?} {selinux}");
        let plain = host["Mounts"].as_array().map_or(0, Vec::len);
        assert_eq!(plain, usize::from(binds.is_null()), "one form or the other: {host}");
        let odd = runtime.create(&with_mount(root.join("a:b"))).await;
        assert_eq!(odd.is_err(), !binds.is_null(), "{policy:?} {selinux}: {odd:?}");
        for never in ["/home", "/root", "/", "/etc"] {
            assert!(runtime.create(&with_mount(never)).await.is_err(), "{never}");
        }
    }
}
