//! Which TLS files there are.

use std::path::Path;

use runner_core::Result;

use super::files::{bad, exists};
use crate::tls::{ClientFiles, TlsFiles};

/// The files by Docker's names for them; what there is not is not used, except for half of a client's pair.
pub(super) fn in_directory(directory: &Path) -> Result<TlsFiles> {
    let [ca, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.join(name));
    let client = match (exists(&certificate)?, exists(&key)?) {
        (true, true) => Some(ClientFiles { certificate, key }),
        (false, false) => None,
        (true, false) => return Err(bad(&key, "is missing beside cert.pem")),
        (false, true) => return Err(bad(&certificate, "is missing beside key.pem")),
    };
    Ok(TlsFiles { ca: exists(&ca)?.then_some(ca), client })
}

/// The same for `DOCKER_CERT_PATH`. Whoever names a directory means its authority, and not the system's.
pub(super) fn in_named_directory(directory: &Path) -> Result<TlsFiles> {
    let files = in_directory(directory)?;
    match files.ca {
        Some(_) => Ok(files),
        None => Err(bad(&directory.join("ca.pem"), "is missing (DOCKER_CERT_PATH)")),
    }
}
