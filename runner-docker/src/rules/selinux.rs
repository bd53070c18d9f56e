//! SELinux: whether a container may read what is mounted into it.
//!
//! Where an engine labels its containers, a mounted directory is closed to them unless its files carry a label for
//! containers. Giving files that label changes them on the host and in depth, so it is done only where the operator
//! says so, and never to what the deny list touches: a mount gets here only after it has passed that list.

use runner_core::{Error, ErrorKind, Result};

use crate::rules::mounts::{AllowedMount, AllowedSource};

const OPERATION: &str = "label the mounts";

/// What is done about mounted directories on an engine with SELinux. On other engines each of these does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SelinuxPolicy {
    /// Nothing: the directories carry a label for containers already. The default, because the alternatives change
    /// files of the host or weaken a container.
    #[default]
    Leave,
    /// The engine gives mounted directories, in depth, the label that all containers share. Containers still see
    /// only what is mounted into them. Works with files that move from one mounted directory to another, as the warm
    /// pool moves them.
    Relabel,
    /// The same with a label of the one container for what it may write, and the shared one for what it may only
    /// read. A container that breaks out still cannot read another's files. Not for a directory that several
    /// containers use, nor for a warm pool: the label of one locks out the next.
    RelabelPrivate,
    /// The container runs without a label: SELinux does not confine it.
    DisableLabel,
}

impl SelinuxPolicy {
    /// What it comes down to on an engine.
    pub(crate) fn on(self, security_options: &[String]) -> Self {
        let labels = |option: &String| option.split(',').any(|part| part == "name=selinux");
        if security_options.iter().any(labels) { self } else { Self::Leave }
    }

    /// The mount as a text that makes the engine label it; `None` where it is not labelled. Only this old form of a
    /// mount can ask for it.
    pub(crate) fn bind(self, mount: &AllowedMount) -> Result<Option<String>> {
        let AllowedSource::Directory(source) = &mount.source else { return Ok(None) };
        let label = match self {
            Self::Leave | Self::DisableLabel => return Ok(None),
            Self::RelabelPrivate if !mount.read_only => "Z",
            Self::Relabel | Self::RelabelPrivate => "z",
        };
        for path in [source, &mount.target] {
            // It would end the path, and what follows would be taken for something else.
            if path.contains(':') {
                let message = format!("{path} cannot be labelled for SELinux: it has a ':' in it");
                return Err(Error::new(ErrorKind::InvalidInput, OPERATION, message).with_hint(
                    "use another path, or label the directory yourself and set DockerConfig::selinux to Leave",
                ));
            }
        }
        let access = if mount.read_only { "ro" } else { "rw" };
        Ok(Some(format!("{source}:{}:{access},{label},rprivate", mount.target)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: &str, read_only: bool) -> AllowedMount {
        AllowedMount {
            source: AllowedSource::Directory(source.into()),
            target: "/workspace".into(),
            read_only,
        }
    }

    #[test]
    fn directories_are_labelled_as_the_policy_says() {
        use SelinuxPolicy::{DisableLabel, Leave, Relabel, RelabelPrivate};
        for (policy, read_only, want) in [
            (Leave, false, None),
            (DisableLabel, false, None),
            (Relabel, false, Some("/srv/a b,c:/workspace:rw,z,rprivate")),
            (Relabel, true, Some("/srv/a b,c:/workspace:ro,z,rprivate")),
            (RelabelPrivate, false, Some("/srv/a b,c:/workspace:rw,Z,rprivate")),
            (RelabelPrivate, true, Some("/srv/a b,c:/workspace:ro,z,rprivate")),
        ] {
            let text = policy.bind(&mount("/srv/a b,c", read_only)).unwrap();
            assert_eq!(text.as_deref(), want, "{policy:?}");
        }
        let volume = AllowedMount {
            source: AllowedSource::Volume("cache".into()),
            target: "/c".into(),
            read_only: false,
        };
        assert_eq!(Relabel.bind(&volume).unwrap(), None, "the engine labels its own");
        let refused = Relabel.bind(&mount("/srv/a:b", false)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.hint().is_some(), "{refused}");
    }

    #[test]
    fn without_selinux_there_is_nothing_to_do() {
        let options = |text: &str| vec!["name=seccomp,profile=default".to_owned(), text.to_owned()];
        let relabel = SelinuxPolicy::Relabel;
        assert_eq!(relabel.on(&options("name=selinux")), relabel);
        assert_eq!(relabel.on(&options("name=apparmor")), SelinuxPolicy::Leave);
        assert_eq!(SelinuxPolicy::DisableLabel.on(&[]), SelinuxPolicy::Leave);
    }
}
