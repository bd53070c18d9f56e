//! The certificate authorities of this machine. A network that intercepts TLS has its own, and a base image does not know it.

use std::path::{Path, PathBuf};

use crate::env;

/// As OpenSSL, Node and the common distributions name them.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];
const USUAL: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The bundle to hand to the build, if this machine has one. It is used in a build stage only and never reaches the image.
pub(super) fn bundle() -> Option<PathBuf> {
    choose(VARIABLES.into_iter().filter_map(env::path), Path::is_file)
}

fn choose(named: impl Iterator<Item = PathBuf>, exists: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    named.chain(USUAL.into_iter().map(PathBuf::from)).find(|path| exists(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_bundle_comes_before_the_usual_ones() {
        let named = || [PathBuf::from("/gone"), PathBuf::from("/mine")].into_iter();
        assert_eq!(choose(named(), |path| path != Path::new("/gone")), Some(PathBuf::from("/mine")));
        assert_eq!(choose(named(), |path| path.starts_with("/etc/pki")), Some(PathBuf::from(USUAL[1])));
        assert_eq!(choose(named(), |_| false), None);
    }
}
