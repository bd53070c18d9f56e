use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

fn engine_paths() -> [PathBuf; 2] {
    ["/var/run/docker.sock", "/var/lib/docker"].map(PathBuf::from)
}

/// An engine on this host.
fn rules() -> MountRules {
    MountRules::new(true, Vec::new(), &engine_paths()).unwrap()
}

/// An engine elsewhere.
fn foreign() -> MountRules {
    MountRules::new(false, Vec::new(), &engine_paths()).unwrap()
}

fn mount(source: impl Into<PathBuf>) -> Mount {
    Mount { source: MountSource::HostPath(source.into()), target: "/workspace".into(), read_only: false }
}

fn check(rules: &MountRules, source: impl Into<PathBuf>) -> Result<AllowedMount> {
    rules.check(&[mount(source)]).map(|mut all| all.remove(0))
}

/// A directory of the test's own that is not below a forbidden tree.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn what_belongs_to_the_system_is_refused_by_its_text() {
    // Not all of these exist on every machine, so the text alone is judged, as for a remote engine.
    let rules = foreign();
    for path in [
        "/",
        "/proc",
        "/proc/1/root",
        "/sys/fs/cgroup",
        "/dev/shm",
        "/etc",
        "/etc/ssh",
        "/boot/grub",
        "/run/docker.sock",
        "/run/user/1000/podman",
        "/var/run/docker.sock",
        "/var/lib/docker/volumes/a/_data",
        "/var/lib/containerd",
        "/var",
        "/var/lib",
        "/root",
        "/home",
        "/home/u",
        "/home/u/.docker",
        "/home/u/.ssh/keys",
        "/home/u/.config",
        "/home/u/.config/gh",
        "/home/u/.password-store",
        "/home/u/.local",
        "/home/u/.local/share",
        "/home/u/.local/share/opencode",
        "/home/u/bin",
        "/root/.deno",
        "/var/home/u/.ssh",
        "/usr",
        "/usr/local",
        "/bin",
        "/sbin",
        "/lib",
        "/lib64",
        "/opt",
        "/opt/cni/bin",
        "/snap/bin",
        "/nix/store",
        "/tmp",
        "/tmp/.X11-unix",
        "/var/tmp",
        "/var/log",
        "/var/spool/cron",
        "/var/backups",
        "/var/lib/lxd/unix.socket",
        "/var/lib/incus",
        "/var/lib/rancher/k3s",
        "/var/lib/kubelet/pods",
        "/var/lib/containers/storage",
        "/var/lib/libvirt",
        "/var/lib/dpkg/info",
        "/var/lib/systemd",
        "/run/containerd",
        "/run/podman/podman.sock",
        "/srv/engine/docker.sock",
        "/data/../etc",
        "/data/\0",
        "relative",
    ] {
        let e = check(&rules, path).expect_err(path);
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{path}");
        assert!(e.message().contains(path), "{e}");
    }
    let root = Path::new("/root");
    assert!(check(&rules, root.join(".ssh")).is_err());
    let mac = Path::new("/Users").join("u");
    for path in [mac.clone(), mac.join("Library"), mac.join("Library/Keychains"), mac.join(".docker/run")] {
        assert!(check(&rules, &path).is_err(), "{}", path.display());
    }
    assert!(check(&rules, mac.join("work/data")).is_ok());
    assert!(check(&rules, root.join("project/data")).is_ok());
    for path in [
        "/srv",
        "/srv/runner",
        "/opt/runner/data",
        "/mnt/disk",
        "/library",
        "/var/tmp/runner",
        "/var/lib/runner",
        "/var/lib/docker-data",
        "/data",
        "/home/u/.local/share/runner",
        "/home/u/work/.ssh",
        "/home2/u",
        "/tmp/runner",
        "/etcetera",
        "/a:b,c d\"é",
    ] {
        assert!(check(&rules, path).is_ok(), "{path}");
    }
}

#[test]
fn links_and_detours_are_judged_by_where_they_lead() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    for (name, target) in [("etc", "/etc"), ("all", "/"), ("up", ".."), ("twice", "etc")] {
        symlink(target, root.join(name)).unwrap();
    }
    std::fs::create_dir_all(root.join("real/deep")).unwrap();
    symlink("real", root.join("fine")).unwrap();
    for path in ["etc", "all", "all/proc", "twice", "twice/ssh/..", "real/../etc"] {
        let e = check(&rules(), root.join(path)).expect_err(path);
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{path}: {e}");
    }
    let allowed = check(&rules(), root.join("fine/deep/../deep")).unwrap();
    let real = root.join("real/deep").to_str().unwrap().to_owned();
    assert_eq!(allowed.source, AllowedSource::Directory(real), "the engine gets the resolved path");
}

#[test]
fn the_engines_own_socket_and_data_are_refused_wherever_they_are() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    let socket = root.join("engine/docker.sock");
    std::fs::create_dir_all(root.join("engine")).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    let data = root.join("data-root");
    std::fs::create_dir_all(data.join("volumes")).unwrap();
    std::fs::create_dir_all(root.join("work")).unwrap();
    let rules = MountRules::new(true, Vec::new(), &[socket.clone(), data.clone()]).unwrap();
    for path in [socket, root.join("engine"), root.clone(), data.join("volumes"), data] {
        assert!(check(&rules, &path).is_err(), "{}", path.display());
    }
    assert!(check(&rules, root.join("work")).is_ok());
}

#[test]
fn another_name_of_the_same_directory_is_recognised() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("secret/inner")).unwrap();
    // As after a bind mount of the forbidden directory, which needs more rights than a test has: the rule's
    // path leads to it, and the two texts have nothing in common.
    symlink("secret", root.join("alias")).unwrap();
    let rules = MountRules { here: Forbidden::of_trees(vec![root.join("alias")]), ..rules() };
    std::fs::create_dir_all(root.join("work")).unwrap();
    for path in ["secret", "secret/inner"] {
        let e = check(&rules, root.join(path)).expect_err(path);
        assert!(e.message().contains("under another name"), "{e}");
    }
    assert!(check(&rules, root.join("work")).is_ok());
}

/// As on systems where `/home` is a link to `/var/home`: the path is judged by where it leads, so the rule must be,
/// too.
#[test]
fn homes_are_known_by_where_they_really_are() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    for inside in ["homes/u/.ssh/keys", "homes/u/data", "admin/.aws", "admin/data"] {
        std::fs::create_dir_all(root.join(inside)).unwrap();
    }
    symlink("homes", root.join("home")).unwrap();
    let here = Forbidden::of_homes(vec![root.join("homes")], vec![root.join("admin")]);
    let rules = MountRules { here, ..rules() };
    for path in ["home", "home/u", "home/u/.ssh/keys", "homes/u/.ssh", "admin", "admin/.aws"] {
        let e = check(&rules, root.join(path)).expect_err(path);
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{path}: {e}");
    }
    for path in ["home/u/data", "admin/data"] {
        assert!(check(&rules, root.join(path)).is_ok(), "{path}");
    }
}

/// A tunnel to this host's engine looks like an engine elsewhere.
#[test]
fn what_is_forbidden_here_is_forbidden_to_an_engine_elsewhere_too() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    symlink("/etc", root.join("link")).unwrap();
    let e = check(&foreign(), root.join("link")).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
    let missing = root.join("missing").to_str().unwrap().to_owned();
    let allowed = check(&foreign(), &missing).unwrap();
    assert_eq!(allowed.source, AllowedSource::Directory(missing), "it may be there");
}

#[test]
fn a_mapped_directory_is_judged_on_both_sides() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("data/a")).unwrap();
    std::fs::create_dir_all(root.join("system")).unwrap();
    std::fs::create_dir_all(root.join("elsewhere")).unwrap();
    symlink("/etc", root.join("data/etc")).unwrap();
    symlink("a", root.join("data/b")).unwrap();
    symlink("../elsewhere", root.join("data/out")).unwrap();
    let mapping = |here: &str, engine: &str| PathMapping { here: root.join(here), engine: engine.into() };
    let map = vec![mapping("data", "/srv/runner"), mapping("system", "/var/lib/docker/x")];
    let rules = MountRules::new(true, map, &engine_paths()).unwrap();
    for name in ["data/a", "data/b", "data/../data/a"] {
        let allowed = check(&rules, root.join(name)).unwrap();
        assert_eq!(allowed.source, AllowedSource::Directory("/srv/runner/a".into()), "{name}");
    }
    for (name, kind, text) in [
        ("data/etc", ErrorKind::InvalidInput, "/etc"),
        ("system", ErrorKind::InvalidInput, "/var/lib/docker/x"),
        ("data/out", ErrorKind::Workspace, "not known"),
        ("elsewhere", ErrorKind::Workspace, "not known"),
        ("data/missing", ErrorKind::Workspace, "does not exist"),
    ] {
        let e = check(&rules, root.join(name)).expect_err(name);
        assert_eq!(e.kind(), kind, "{name}: {e}");
        assert!(e.message().contains(text) && e.hint().is_some(), "{name}: {e}");
    }
    // Again, by the engine's names.
    rules.check_again(&["/srv/runner/a".into(), "/srv/runner".into()]).unwrap();
    for source in ["/srv/runner/b", "/srv/runner/etc", "/srv/runner/missing", "/srv/other"] {
        assert!(rules.check_again(&[source.into()]).is_err(), "{source}");
    }
}

#[test]
fn a_directory_that_is_no_longer_itself_is_refused() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    let work = root.join("work");
    std::fs::create_dir_all(work.join("deep")).unwrap();
    std::fs::create_dir_all(root.join("other/deep")).unwrap();
    let sources = [work.clone(), work.join("deep")];
    rules().check_again(&sources).unwrap();
    rules().check_again(&[]).unwrap();
    for (what, kind) in [
        ("/etc", ErrorKind::InvalidInput),
        ("other", ErrorKind::Workspace),
        ("nowhere", ErrorKind::Workspace),
    ] {
        std::fs::rename(&work, root.join("kept")).unwrap();
        symlink(what, &work).unwrap();
        for source in &sources {
            let e = rules().check_again(std::slice::from_ref(source)).unwrap_err();
            // `/etc/deep` is not there to be judged.
            assert!(e.kind() == kind || e.kind() == ErrorKind::Workspace, "{what}: {e}");
            assert!(e.hint().is_some() && e.message().contains("work"), "{e}");
        }
        std::fs::remove_file(&work).unwrap();
        std::fs::rename(root.join("kept"), &work).unwrap();
        rules().check_again(&sources).unwrap();
    }
    std::fs::remove_dir_all(&work).unwrap();
    std::fs::write(&work, "").unwrap();
    let e = rules().check_again(&[work]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Workspace, "{e}");
    let foreign = foreign();
    foreign.check_again(&["/srv/runner".into()]).unwrap();
    assert!(foreign.check_again(&["/etc".into()]).is_err());
}

#[test]
fn nothing_is_mounted_over_what_confines_the_container() {
    let dir = dir();
    for (target, good) in [
        ("/proc", false),
        ("/proc/sys", false),
        ("/sys/fs/cgroup", false),
        ("/dev", false),
        ("/dev/shm", false),
        ("/process", true),
        ("/workspace/dev", true),
    ] {
        let mount = Mount { target: target.into(), ..mount(dir.path()) };
        assert_eq!(rules().check(&[mount]).is_ok(), good, "{target}");
    }
}

#[test]
fn only_a_directory_that_exists_is_mounted() {
    let dir = dir();
    let root = dir.path().canonicalize().unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    let _listener = UnixListener::bind(root.join("x.sock")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    for path in ["missing", "file", "dangling"] {
        let e = check(&rules(), root.join(path)).expect_err(path);
        assert_eq!(e.kind(), ErrorKind::Workspace, "{path}: {e}");
        assert!(e.hint().is_some() && e.message().contains(path), "{e}");
    }
    assert!(!root.join("missing").exists(), "nothing is made");
    let e = check(&rules(), root.join("x.sock")).unwrap_err();
    assert!(e.kind() == ErrorKind::InvalidInput && e.message().contains("socket"), "{e}");
    // Nobody is told to make what would be refused.
    let e = check(&rules(), "/var/lib/lxd/cnap-no-such-directory").unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
}

#[test]
fn a_volume_is_a_name_and_never_a_path() {
    for (name, good) in
        [("cache", true), ("a.b_c-1", true), ("/etc", false), ("../x", false), ("", false), ("a b", false)]
    {
        let volume = Mount { source: MountSource::Volume(name.into()), target: "/c".into(), read_only: true };
        assert_eq!(rules().check(&[volume]).is_ok(), good, "{name}");
    }
}
