//! Files of the fake engine's containers.

use std::path::Path;

use runner_core::container::{Mount, MountSource, Tmpfs};
use runner_core::container_runtime::Feature;
use runner_core::files::{ContainerFile, FileKind};
use runner_core::{ContainerId, ContainerRuntime, ErrorKind};
use runner_testkit::fake_runtime::{FakeRuntime, Op, exited};

use crate::boxes::{USER, spec};

fn file(path: &str, contents: &str) -> ContainerFile {
    ContainerFile { path: path.into(), mode: 0o640, owner: USER, kind: FileKind::File(contents.into()) }
}

/// With a workspace that it may write to, settings that it may not, and a scratch directory.
async fn created(engine: &FakeRuntime) -> ContainerId {
    let mut spec = spec("one");
    let mount = |target: &str, read_only| {
        let source = MountSource::HostPath(format!("/srv{target}").into());
        Mount { source, target: target.into(), read_only }
    };
    spec.mounts = vec![mount("/workspace", false), mount("/workspace/settings", true)];
    spec.tmpfs.push(Tmpfs { target: "/tmp".into(), size_bytes: 1 });
    engine.create(&spec).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_copied_in_comes_out_and_outlives_a_run() {
    let engine = FakeRuntime::new();
    let id = created(&engine).await;
    let copy = async |files: &[ContainerFile]| engine.copy_in(&id, Path::new("/workspace"), files).await;
    copy(&[file("a/b", "bytes"), file("c", "")]).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.crash(&id, exited(0));
    assert_eq!(engine.file(&id, "/workspace/a/b").unwrap(), b"bytes");
    let out = engine.copy_out(&id, Path::new("/workspace/a"), 5).await.unwrap();
    let paths: Vec<&str> = out.iter().map(|file| file.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["a", "a/b"]);
    assert_eq!(out[1], file("a/b", "bytes"));
    assert_eq!(engine.copy_out(&id, Path::new("/workspace/c"), 0).await.unwrap(), [file("c", "")]);
    let error = engine.copy_out(&id, Path::new("/workspace"), 4).await.unwrap_err();
    assert_eq!((error.kind(), error.container()), (ErrorKind::Capacity, Some(&id)));

    copy(&[file("a", "now a file")]).await.unwrap();
    assert_eq!(engine.file(&id, "/workspace/a/b"), None, "what was below is gone");
    assert_eq!(engine.ops().last(), Some(&Op::CopyIn));
}

#[tokio::test(start_paused = true)]
async fn only_places_that_keep_files_take_them() {
    let engine = FakeRuntime::new();
    let id = created(&engine).await;
    for (directory, want) in [
        ("/", ErrorKind::Unsupported),
        ("/etc", ErrorKind::Unsupported),
        ("/tmp", ErrorKind::Unsupported),
        ("/workspace/settings", ErrorKind::Unsupported),
        ("/workspace/nothing", ErrorKind::NotFound),
        ("workspace", ErrorKind::InvalidInput),
        ("/workspace/../etc", ErrorKind::InvalidInput),
    ] {
        let error = engine.copy_in(&id, Path::new(directory), &[file("a", "")]).await.unwrap_err();
        assert_eq!(error.kind(), want, "{directory}: {error}");
    }
    let files = [file("good", ""), file("../bad", "")];
    let error = engine.copy_in(&id, Path::new("/workspace"), &files).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(engine.file(&id, "/workspace/good"), None, "all were checked first");
    let missing = Path::new("/workspace/nothing");
    let error = engine.copy_out(&id, missing, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("/workspace/nothing"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn files_come_from_the_image_and_from_processes() {
    let engine = FakeRuntime::new();
    engine.image_file("/etc/os-release", "ID=fake\n");
    let id = created(&engine).await;
    assert!(engine.write_file(&id, "/tmp/out", "done"));
    assert!(engine.write_entry(&id, "/tmp/link", FileKind::Link("/etc/passwd".into())));
    let out = engine.copy_out(&id, Path::new("/tmp"), 100).await.unwrap();
    let kinds: Vec<FileKind> = out.into_iter().map(|file| file.kind).collect();
    let link = FileKind::Link("/etc/passwd".into());
    assert_eq!(kinds, [FileKind::Directory, link, FileKind::File(b"done".to_vec())]);
    assert_eq!(engine.copy_out(&id, Path::new("/etc/os-release"), 100).await.unwrap().len(), 1);
    let all = engine.copy_out(&id, Path::new("/"), 100).await.unwrap();
    assert!(all.iter().any(|file| file.path == Path::new("etc/os-release")), "{all:?}");

    engine.change_info(|info| info.unsupported = [Feature::Copy].into());
    let error = engine.copy_out(&id, Path::new("/tmp"), 100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    engine.remove(&id).await.unwrap();
    assert!(!engine.write_file(&id, "/tmp/out", ""));
}
