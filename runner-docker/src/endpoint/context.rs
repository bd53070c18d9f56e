//! Docker contexts, as the `docker` command stores them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runner_core::{Error, ErrorKind, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::files::{bad, json};
use super::{FIND, Found, Origin, certs};
use crate::host::DockerHost;
use crate::tls::TlsFiles;

/// What `docker` calls the absence of a context.
const NONE: &str = "default";

/// `config.json`, as far as it matters here. It also holds registries' passwords.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    current_context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    #[serde(default)]
    endpoints: BTreeMap<String, Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The context that is in force, if one is. `directory`: where `config.json` is; `named`: `DOCKER_CONTEXT`.
pub(super) fn current(directory: Option<&Path>, named: Option<&str>) -> Result<Option<Found>> {
    let (name, chosen_in) = match (named, directory) {
        (Some(name), _) => (name.to_owned(), None),
        (None, None) => return Ok(None),
        (None, Some(directory)) => {
            let file = directory.join("config.json");
            match json::<Config>(&file)?.and_then(|config| config.current_context) {
                Some(name) if !name.is_empty() => (name, Some(file)),
                _ => return Ok(None),
            }
        }
    };
    if name == NONE {
        return Ok(None);
    }
    let origin = Origin::Context { name: name.clone(), chosen_in };
    let Some(directory) = directory else {
        let message = format!("{origin}: there is no directory of contexts");
        return Err(Error::new(ErrorKind::InvalidInput, FIND, message)
            .with_hint("set DOCKER_CONFIG or HOME, or name the engine by DOCKER_HOST"));
    };
    let host = host(directory, &name, &origin)?;
    Ok(Some(Found { host, origin }))
}

fn host(directory: &Path, name: &str, origin: &Origin) -> Result<DockerHost> {
    let id = id(name);
    let file = directory.join("contexts/meta").join(&id).join("meta.json");
    let Some(meta) = json::<Meta>(&file)? else {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            FIND,
            format!("{origin} does not exist: there is no {}", file.display()),
        )
        .with_hint(format!("see `docker context ls`, and {}", origin.way_out())));
    };
    let Some(endpoint) = meta.endpoints.get("docker").filter(|endpoint| !endpoint.host.is_empty()) else {
        return Err(bad(&file, "names no Docker engine"));
    };
    let tls = directory.join("contexts/tls").join(&id).join("docker");
    let files = certs::in_directory(&tls)?;
    // As `docker` does it: the presence of a file means TLS.
    let secure = files != TlsFiles::default();
    let host = DockerHost::read(&endpoint.host, secure, || Ok(files)).map_err(|e| {
        Error::new(e.kind(), FIND, format!("{origin}: {} (in {})", e.message(), file.display()))
            .with_hint(e.hint().unwrap_or_default().to_owned())
    })?;
    // On a socket it means nothing.
    if endpoint.skip_tls_verify && host.socket().is_none() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            FIND,
            format!("{origin} asks for TLS without verification (SkipTLSVerify in {})", file.display()),
        )
        .with_hint(
            "give the context the authority of the engine's certificate: \
             docker context update NAME --docker host=…,ca=ca.pem,cert=cert.pem,key=key.pem",
        ));
    }
    Ok(host)
}

/// The directory of a context.
fn id(name: &str) -> String {
    format!("{:x}", Sha256::digest(name.as_bytes()))
}

/// The directory of `config.json`.
pub(super) fn directory(docker_config: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    docker_config.map(Path::to_owned).or_else(|| home.map(|home| home.join(".docker")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contexts_directory_is_the_hash_of_its_name() {
        // As `docker context create local` made it.
        assert_eq!(id("local"), "25bf8e1a2393f1108d37029b3df5593236c755742ec93465bbafa9b290bddcf6");
    }
}
