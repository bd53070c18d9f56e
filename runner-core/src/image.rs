//! Image references and the progress of fetching them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// A reference to an image, always with a tag or a digest: a name alone would pull every tag there is.
///
/// ```
/// use runner_core::ImageRef;
/// assert_eq!("cnap-runner".parse::<ImageRef>()?.as_str(), "cnap-runner:latest");
/// assert_eq!("reg.example:5000/a/b".parse::<ImageRef>()?.as_str(), "reg.example:5000/a/b:latest");
/// assert!("Cnap Runner".parse::<ImageRef>().is_err());
/// # Ok::<(), runner_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef(String);

impl ImageRef {
    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self> {
        let value = value.trim();
        // What the engine accepts is its own affair; this keeps out what would bend the request's URL.
        let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
        let begins = value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let name = value.split(['@']).next().unwrap_or(value);
        let name = match name.rsplit_once(':') {
            // A colon before the last slash belongs to the registry's port.
            Some((name, tag)) if !tag.contains('/') => name,
            _ => name,
        };
        let path = name.split_once('/').map_or(name, |(_, path)| path);
        let odd = !begins
            || value.len() > 512
            || !value.bytes().all(legal)
            || value.contains("..")
            // An empty tag is none, and a name alone pulls every tag there is.
            || value.ends_with([':', '@', '/'])
            || path.bytes().any(|b| b.is_ascii_uppercase());
        if odd {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "read an image reference",
                format!("{value:?} is not an image reference"),
            )
            .with_hint("write it as name:tag or name@sha256:…, in lower case"));
        }
        let tagged = value.contains('@') || value.len() > name.len();
        Ok(Self(if tagged { value.to_owned() } else { format!("{value}:latest") }))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Only when the engine does not have it. The default: a start must not depend on a registry.
    #[default]
    Missing,
    /// Every time: whoever moves a tag wants it followed. A registry that cannot be reached fails the start, even
    /// where an older image is there.
    Always,
    /// Never: an image that is not there is an error at once.
    Never,
}

/// An operating system and a processor architecture, as `linux/amd64` or `linux/arm64/v8`.
///
/// ```
/// use runner_core::image::Platform;
/// assert_eq!("linux/arm64/v8".parse::<Platform>()?.architecture(), "arm64");
/// assert!("amd64".parse::<Platform>().is_err());
/// # Ok::<(), runner_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform(String);

impl Platform {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The operating system.
    pub fn os(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The architecture, without its variant.
    pub fn architecture(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self> {
        let value = value.trim();
        let parts: Vec<&str> = value.split('/').collect();
        let legal = |part: &&str| {
            (1..=32).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if (2..=3).contains(&parts.len()) && parts.iter().all(legal) {
            return Ok(Self(value.to_owned()));
        }
        Err(Error::new(ErrorKind::InvalidInput, "read a platform", format!("{value:?} is not a platform"))
            .with_hint("write it as linux/amd64 or linux/arm64/v8"))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a registry is told who asks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistryLogin {
    /// A user's name and password, or a robot's.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token that was given for a login (`identitytoken` in Docker's own file).
    IdentityToken(Secret),
    /// A token that the registry itself takes.
    RegistryToken(Secret),
}

/// Credentials for one registry.
#[derive(Debug, Clone)]
pub struct RegistryCredentials {
    /// The registry's address; the image's own if `None`.
    pub server: Option<String>,
    /// Who asks.
    pub login: RegistryLogin,
}

/// Which image is wanted, and how it may be fetched.
#[derive(Debug, Clone)]
pub struct ImageRequest {
    /// The image.
    pub image: ImageRef,
    /// When it is fetched.
    pub policy: PullPolicy,
    /// The platform it must be for; the engine's own if `None`.
    pub platform: Option<Platform>,
    /// For a registry that wants a login. Sent to the engine with the pull and kept nowhere.
    pub credentials: Option<RegistryCredentials>,
}

impl ImageRequest {
    /// The image for the engine's own platform, from a registry that lets anybody pull.
    pub fn new(image: ImageRef, policy: PullPolicy) -> Self {
        Self { image, policy, platform: None, credentials: None }
    }
}

/// A step of fetching an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageProgress {
    /// What the engine says it does.
    pub status: String,
    /// The layer it is about.
    pub layer: Option<String>,
    /// Bytes done and bytes in all, where the engine tells.
    pub bytes: Option<(u64, u64)>,
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// The engine's id (`sha256:…`).
    pub id: String,
    /// Size in bytes, all layers.
    pub size: u64,
    /// Processor architecture, as the engine names it.
    pub architecture: String,
    /// Operating system, as the engine names it.
    pub os: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_two_or_three_parts() {
        let platform: Platform = " linux/arm64/v8 ".parse().unwrap();
        assert_eq!(
            (platform.os(), platform.architecture(), platform.as_str()),
            ("linux", "arm64", "linux/arm64/v8")
        );
        for bad in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64&x=1", "linux/am d64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let login = RegistryLogin::Password { username: "u".into(), password: Secret::new("hunter2") };
        let request = ImageRequest {
            credentials: Some(RegistryCredentials { server: None, login }),
            ..ImageRequest::new("a".parse().unwrap(), PullPolicy::Always)
        };
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    #[test]
    fn references_always_get_a_tag_and_hostile_ones_are_refused() {
        for (text, want) in [
            ("a", "a:latest"),
            ("a:1", "a:1"),
            ("a/b:1.2-x_y", "a/b:1.2-x_y"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("a@sha256:00", "a@sha256:00"),
            ("Registry.Example/a:T", "Registry.Example/a:T"),
        ] {
            assert_eq!(text.parse::<ImageRef>().expect(text).as_str(), want);
        }
        for bad in [
            "",
            " ",
            "-a",
            "a b",
            "a?x=1",
            "a#b",
            "a:",
            "a@",
            "a/",
            "a@sha256:",
            "../a",
            "a/../b",
            "A",
            "é",
            "a\n",
        ] {
            // "a\n" is trimmed to a legal name, as a value from a file would be.
            assert_eq!(bad.parse::<ImageRef>().is_err(), bad != "a\n", "{bad:?}");
        }
    }
}
