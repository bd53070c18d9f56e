//! Which devices of the host can be given to a container at all.
//!
//! The operator allows each by its name; this is about those that nobody should allow, because with them a container
//! owns the host whatever its other limits: the memory of the kernel, raw storage (which has every file on it,
//! whoever owns it), the terminals and keyboards of people. A device file that only looks harmless is recognised by what
//! it is, where the engine's devices are ours to look at.
//!
//! `/dev/kvm`, `/dev/fuse`, `/dev/net/tun` and graphics cards can be allowed: they are kernel to attack, and nobody's
//! data.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use runner_core::{Error, ErrorKind, Result};

const OPERATION: &str = "check the devices";

/// What one container gets of a device: never the right to make device files anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantedDevice {
    pub(crate) path: String,
    /// `r` or `rw`.
    pub(crate) permissions: &'static str,
}

const MEMORY: &str = "it opens the host's memory, firmware or kernel";
const STORAGE: &str = "it is storage, with every file of the host that is on it";
const PEOPLE: &str = "it is a terminal, keyboard or screen of the host";
const NO_DEVICE: &str = "it is not one device";

/// First names below `/dev` that are never given, with all that is below them.
const NEVER: &[(&str, &str)] = &[
    ("mem", MEMORY),
    ("kmem", MEMORY),
    ("port", MEMORY),
    ("kmsg", MEMORY),
    ("oldmem", MEMORY),
    ("crash", MEMORY),
    ("snapshot", MEMORY),
    ("nvram", MEMORY),
    ("cpu", MEMORY),
    ("userfaultfd", MEMORY),
    // Devices that a driver of the guest's own can make write anywhere.
    ("vfio", MEMORY),
    ("mapper", STORAGE),
    ("raw", STORAGE),
    ("bsg", STORAGE),
    ("btrfs-control", STORAGE),
    ("zfs", STORAGE),
    ("console", PEOPLE),
    ("ptmx", PEOPLE),
    ("pts", PEOPLE),
    ("input", PEOPLE),
    ("uinput", PEOPLE),
    ("uhid", PEOPLE),
    // Directories of links, and of what the container has of its own.
    ("block", NO_DEVICE),
    ("char", NO_DEVICE),
    ("disk", NO_DEVICE),
    ("fd", NO_DEVICE),
    ("shm", NO_DEVICE),
    ("mqueue", NO_DEVICE),
    ("hugepages", NO_DEVICE),
];

/// Beginnings of first names below `/dev` that are never given.
const FAMILIES: &[(&str, &str)] = &[
    ("sd", STORAGE),
    ("sg", STORAGE),
    ("sr", STORAGE),
    ("hd", STORAGE),
    ("vd", STORAGE),
    ("xvd", STORAGE),
    ("nvme", STORAGE),
    ("ng", STORAGE),
    ("mmcblk", STORAGE),
    ("dm-", STORAGE),
    ("md", STORAGE),
    ("loop", STORAGE),
    ("nbd", STORAGE),
    ("rbd", STORAGE),
    ("drbd", STORAGE),
    ("bcache", STORAGE),
    ("zd", STORAGE),
    ("zram", STORAGE),
    ("ram", STORAGE),
    ("pmem", STORAGE),
    ("dax", STORAGE),
    ("mtd", STORAGE),
    ("ubi", STORAGE),
    ("dasd", STORAGE),
    ("vcs", PEOPLE),
    ("hidraw", PEOPLE),
    ("tpm", MEMORY),
    ("mei", MEMORY),
    ("ipmi", MEMORY),
    ("watchdog", MEMORY),
];

/// Character devices of the kernel's memory, by number, under whatever name: `mem`, `kmem`, `port`, `kmsg`.
const MEMORY_NUMBERS: &[(u64, u64)] = &[(1, 1), (1, 2), (1, 4), (1, 11)];

/// Judges a device by its name. Returns the name.
pub(crate) fn check_name(path: &Path) -> Result<String> {
    let shown = path.display();
    let text = path.to_str().unwrap_or_default();
    let written_out: PathBuf = path.components().collect();
    let plain = path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    let below = path.strip_prefix("/dev").ok().and_then(|below| below.components().next());
    let (Some(Component::Normal(first)), true, true) = (below, plain, written_out.as_os_str() == text) else {
        return Err(refuse(format!("{shown} is not a device below /dev"))
            .with_hint("use its absolute path, without links and '..'"));
    };
    let first = first.to_string_lossy();
    let virtual_terminal =
        first.strip_prefix("tty").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let never = NEVER.iter().find(|(name, _)| first == *name).map(|(_, why)| *why);
    let family = || FAMILIES.iter().find(|(start, _)| first.starts_with(start)).map(|(_, why)| *why);
    match never.or_else(family).or(virtual_terminal.then_some(PEOPLE)) {
        Some(why) => Err(refuse(format!("{shown} is never given to a container: {why}"))),
        None => Ok(text.to_owned()),
    }
}

/// Judges a device of this host by what it is.
pub(crate) fn check_node(path: &Path) -> Result<()> {
    let shown = path.display();
    let real = path.canonicalize().map_err(|e| unusable(path, e))?;
    if real != path {
        return Err(refuse(format!("{shown} leads to {}", real.display()))
            .with_hint("allow and ask for the device by its own name"));
    }
    let found = path.metadata().map_err(|e| unusable(path, e))?;
    let kind = found.file_type();
    if kind.is_block_device() {
        return Err(refuse(format!("{shown} is never given to a container: {STORAGE}")));
    }
    if !kind.is_char_device() {
        return Err(refuse(format!("{shown} is not a device")).with_hint("name each device by itself"));
    }
    if MEMORY_NUMBERS.contains(&numbers(found.rdev())) {
        return Err(refuse(format!("{shown} is never given to a container: {MEMORY}")));
    }
    Ok(())
}

/// Major and minor, as Linux packs them.
fn numbers(device: u64) -> (u64, u64) {
    let major = (device >> 8 & 0xfff) | (device >> 32 & !0xfff);
    let minor = (device & 0xff) | (device >> 12 & 0xffff_ff00);
    (major, minor)
}

fn refuse(message: String) -> Error {
    Error::new(ErrorKind::InvalidInput, OPERATION, message)
}

fn unusable(path: &Path, error: io::Error) -> Error {
    let (kind, what) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "does not exist"),
        io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, "cannot be looked at"),
        _ => (ErrorKind::InvalidInput, "cannot be used"),
    };
    Error::new(kind, OPERATION, format!("{} {what}", path.display()))
        .with_hint("load its driver, or do without it")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_names_and_what_is_no_device_are_refused() {
        for path in [
            "/dev/mem",
            "/dev/kmem",
            "/dev/port",
            "/dev/kmsg",
            "/dev/sda",
            "/dev/sda1",
            "/dev/sg0",
            "/dev/vda",
            "/dev/xvda",
            "/dev/nvme0",
            "/dev/nvme0n1p1",
            "/dev/ng0n1",
            "/dev/dm-0",
            "/dev/loop0",
            "/dev/loop-control",
            "/dev/mapper/root",
            "/dev/disk/by-id/x",
            "/dev/block/8:0",
            "/dev/cpu/0/msr",
            "/dev/input/event0",
            "/dev/uinput",
            "/dev/tty1",
            "/dev/console",
            "/dev/pts/0",
            "/dev/vcsa1",
            "/dev/fd/3",
            "/dev",
            "/dev/",
            "/dev/../etc/passwd",
            "/dev//null",
            "/dev/null/",
            "/dev/./null",
            "/etc/hostname",
            "dev/null",
            "/devices/x",
            "",
        ] {
            let e = check_name(Path::new(path)).expect_err(path);
            assert_eq!(e.kind(), ErrorKind::InvalidInput, "{path}");
        }
        for path in [
            "/dev/null",
            "/dev/fuse",
            "/dev/kvm",
            "/dev/net/tun",
            "/dev/dri/renderD128",
            "/dev/nvidia0",
            "/dev/nvidia-uvm",
            "/dev/snd/timer",
            "/dev/ttyUSB0",
            "/dev/random",
            "/dev/bus/usb/001/002",
        ] {
            assert_eq!(check_name(Path::new(path)).expect(path), path);
        }
    }

    #[test]
    fn only_a_character_device_under_its_own_name_is_one() {
        check_node(Path::new("/dev/null")).unwrap();
        for (path, kind) in [
            ("/dev/stdin", ErrorKind::InvalidInput),
            ("/dev/fd", ErrorKind::InvalidInput),
            ("/dev/pts", ErrorKind::InvalidInput),
            ("/dev/cnap-no-such-device", ErrorKind::NotFound),
        ] {
            assert_eq!(check_node(Path::new(path)).expect_err(path).kind(), kind, "{path}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("link")).unwrap();
        for name in ["file", "link"] {
            let path = dir.path().canonicalize().unwrap().join(name);
            assert_eq!(check_node(&path).expect_err(name).kind(), ErrorKind::InvalidInput, "{name}");
        }
    }

    #[test]
    fn device_numbers_are_read_as_linux_packs_them() {
        for (path, want) in [("/dev/null", (1, 3)), ("/dev/zero", (1, 5)), ("/dev/tty", (5, 0))] {
            assert_eq!(numbers(Path::new(path).metadata().unwrap().rdev()), want, "{path}");
        }
        // 259:1048575, which does not fit the old eight bits.
        assert_eq!(numbers(0xfff1_03ff), (259, 0xf_ffff));
    }
}
