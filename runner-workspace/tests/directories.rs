//! The provider on a real disk. As root (CI) and as anybody else (a developer) the same must hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests state their expectations by panicking"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use runner_core::container::{Mount, MountSource, UserSpec};
use runner_core::workspace_provider::WorkspaceRequest;
use runner_core::{AgentId, AgentSettings, ErrorKind, Secret, TaskId, WorkspaceProvider};
use runner_workspace::{DirectoryWorkspaces, WorkspaceConfig};
use tempfile::TempDir;

fn request(agent: &str, task: &str) -> WorkspaceRequest {
    let mut settings = AgentSettings::default();
    settings.keys.insert("stub".to_owned(), Secret::new("sk-planted"));
    WorkspaceRequest { agent: AgentId::new(agent).unwrap(), task: TaskId::new(task).unwrap(), settings }
}

fn open(dir: &TempDir) -> DirectoryWorkspaces {
    DirectoryWorkspaces::open(WorkspaceConfig::new(dir.path().join("data"))).unwrap()
}

fn source(mounts: &[Mount], target: &str) -> PathBuf {
    let mount = mounts.iter().find(|m| m.target == Path::new(target)).expect(target);
    match &mount.source {
        MountSource::HostPath(path) => path.clone(),
        other => panic!("{target} is not a path but {other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_prepared_workspace_has_its_directories_owner_and_secrets() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let prepared = workspaces.prepare(&request("writer", "t1")).await.unwrap();

    assert_ne!(prepared.user.uid, 0, "a container never runs as root");
    let workspace = source(&prepared.mounts, "/workspace");
    assert_eq!(workspace, workspaces.workspace_path(&AgentId::new("writer").unwrap()));
    for name in [".opencode", "project", "logs"] {
        assert!(workspace.join(name).is_dir(), "{name}");
    }
    let run = source(&prepared.mounts, "/run/runner");
    let state = source(&prepared.mounts, "/state");
    let all =
        [&workspace, &workspace.join("project"), &state, &run, &run.join("password"), &run.join("keys/stub")];
    for path in all {
        let owner = fs::metadata(path).unwrap();
        assert_eq!(UserSpec { uid: owner.uid(), gid: owner.gid() }, prepared.user, "{}", path.display());
    }
    let read_only: Vec<_> = prepared.mounts.iter().filter(|m| m.read_only).map(|m| &m.target).collect();
    assert_eq!(read_only, [Path::new("/run/runner")]);

    assert_eq!((mode(&state), mode(&run)), (0o700, 0o700));
    for file in ["password", "opencode/opencode.json", "keys/stub"] {
        assert_eq!(mode(&run.join(file)), 0o400, "{file}");
    }
    assert_eq!(fs::read_to_string(run.join("password")).unwrap(), prepared.password.expose());
    assert_eq!(prepared.password.expose().len(), 64);
    assert_eq!(fs::read_to_string(run.join("keys/stub")).unwrap(), "sk-planted");
    let config = fs::read_to_string(run.join("opencode/opencode.json")).unwrap();
    assert!(config.contains("{file:/run/runner/keys/stub}") && !config.contains("sk-planted"), "{config}");
}

#[tokio::test]
async fn preparing_again_keeps_the_workspace_and_the_state_and_changes_the_password() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let first = workspaces.prepare(&request("a", "t")).await.unwrap();
    fs::write(source(&first.mounts, "/workspace").join("project/kept"), "x").unwrap();
    fs::write(source(&first.mounts, "/state").join("kept"), "x").unwrap();
    let second = workspaces.prepare(&request("a", "t")).await.unwrap();
    assert!(source(&second.mounts, "/workspace").join("project/kept").exists());
    assert!(source(&second.mounts, "/state").join("kept").exists());
    assert_ne!(first.password.expose(), second.password.expose());
}

#[tokio::test]
async fn calls_at_once_for_one_task_each_leave_a_whole_directory() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let wanted = request("a", "t");
    let all = futures::future::join_all((0..8).map(|_| workspaces.prepare(&wanted))).await;
    let passwords: Vec<_> = all.into_iter().map(|p| p.unwrap().password.expose().to_owned()).collect();
    let left = fs::read_to_string(workspaces.root().join(".run/t/password")).unwrap();
    assert!(passwords.contains(&left));
}

#[tokio::test]
async fn release_and_discard_remove_what_they_name_and_may_be_repeated() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let wanted = request("a", "t");
    let prepared = workspaces.prepare(&wanted).await.unwrap();
    for _ in 0..2 {
        workspaces.release(&wanted.task).await.unwrap();
        assert!(!source(&prepared.mounts, "/run/runner").exists());
        assert!(source(&prepared.mounts, "/state").exists());
    }
    for _ in 0..2 {
        workspaces.discard_state(&wanted.task).await.unwrap();
        assert!(!source(&prepared.mounts, "/state").exists());
        assert!(source(&prepared.mounts, "/workspace").exists());
    }
}

#[tokio::test]
async fn a_workspace_that_is_a_file_or_a_link_is_refused_by_name() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(workspaces.root().join("file"), "precious").unwrap();
    symlink(&elsewhere, workspaces.root().join("link")).unwrap();
    for agent in ["file", "link"] {
        let e = workspaces.prepare(&request(agent, "t")).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Workspace);
        assert_eq!(e.agent().unwrap().as_str(), agent);
        assert!(e.to_string().contains(agent) && e.hint().is_some(), "{e}");
    }
    assert_eq!(fs::read_to_string(workspaces.root().join("file")).unwrap(), "precious");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing may be made through a link");
    assert!(!workspaces.root().join(".run/t").exists(), "a refused call leaves no secrets");
}

#[tokio::test]
async fn a_link_that_an_agent_planted_is_not_followed() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let prepared = workspaces.prepare(&request("a", "t")).await.unwrap();
    let workspace = source(&prepared.mounts, "/workspace");
    let target = dir.path().join("host-file-dir");
    fs::create_dir(&target).unwrap();
    let before = fs::metadata(&target).unwrap();
    fs::remove_dir(workspace.join("logs")).unwrap();
    symlink(&target, workspace.join("logs")).unwrap();
    let e = workspaces.prepare(&request("a", "t")).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Workspace, "{e}");
    let after = fs::metadata(&target).unwrap();
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
}

#[tokio::test]
async fn a_state_whose_making_was_cut_off_is_given_to_the_containers_user() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    // What a kill between the two steps leaves: the directory, still the controller's.
    fs::create_dir(workspaces.root().join(".state/t")).unwrap();
    let prepared = workspaces.prepare(&request("a", "t")).await.unwrap();
    let state = fs::metadata(source(&prepared.mounts, "/state")).unwrap();
    assert_eq!((state.uid(), state.gid()), (prepared.user.uid, prepared.user.gid));
}

#[tokio::test]
async fn a_workspace_left_to_root_is_refused_with_the_command_that_helps() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let mine = workspaces.root().join("left");
    fs::create_dir(&mine).unwrap();
    let result = workspaces.prepare(&request("left", "t")).await;
    if fs::metadata(&mine).unwrap().uid() == 0 {
        let e = result.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Workspace);
        assert!(e.hint().unwrap().contains("chown -R 10001:10001"), "{e}");
    } else {
        // Whoever runs this is not root: the directory is theirs, and so is the container's user.
        assert_eq!(result.unwrap().user.uid, fs::metadata(&mine).unwrap().uid());
    }
}

#[test]
fn a_root_that_is_a_file_or_lies_below_one_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for root in [file.clone(), file.join("below")] {
        let e = DirectoryWorkspaces::open(WorkspaceConfig::new(&root)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Workspace, "{e}");
        assert!(e.to_string().contains("file"), "{e}");
        assert!(e.hint().is_some(), "{e}");
    }
}

#[tokio::test]
async fn a_mistake_in_the_settings_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let workspaces = open(&dir);
    let mut wanted = request("a", "t");
    wanted.settings.keys.insert("../../x".to_owned(), Secret::new("sk-planted"));
    let e = workspaces.prepare(&wanted).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
    assert!(!e.chain().contains("sk-planted"));
    let left: Vec<_> = fs::read_dir(workspaces.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == ".run" || name == ".state"), "{left:?}");
}
