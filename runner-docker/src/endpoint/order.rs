//! What somebody ordered.

use std::path::{Path, PathBuf};

use runner_core::{Error, Result};

use super::{EndpointSources, FIND, Found, Origin, certs, context};
use crate::host::DockerHost;
use crate::tls::TlsFiles;

impl EndpointSources {
    /// The engine that a setting, `DOCKER_HOST` or a Docker context names; `None` where none of them does, so that
    /// [`find_endpoint`](super::find_endpoint) will try the usual sockets. Reads Docker's files, and asks nobody.
    ///
    /// Errors as [`find_endpoint`](super::find_endpoint), except for what only an answer can tell.
    pub fn ordered(&self) -> Result<Option<Found>> {
        if let Some(setting) = &self.explicit {
            return self.address(&setting.value, Origin::Explicit(setting.name.clone())).map(Some);
        }
        if let Some(value) = set(self.docker_host.as_deref()) {
            return self.address(value, Origin::DockerHost).map(Some);
        }
        context::current(self.config_directory().as_deref(), set(self.docker_context.as_deref()))
    }

    fn address(&self, value: &str, origin: Origin) -> Result<Found> {
        let host = DockerHost::read(value, self.verify(), || self.tls_files()).map_err(|e| {
            let error = Error::new(e.kind(), FIND, format!("{origin}: {}", e.message()));
            error.with_hint(e.hint().map_or_else(|| origin.way_out(), str::to_owned))
        })?;
        Ok(Found { host, origin })
    }

    /// As for `docker`, whatever the value is.
    fn verify(&self) -> bool {
        set(self.docker_tls_verify.as_deref()).is_some()
    }

    fn tls_files(&self) -> Result<TlsFiles> {
        if let Some(directory) = set_path(self.docker_cert_path.as_ref()) {
            return certs::in_named_directory(directory);
        }
        self.config_directory().map_or_else(|| Ok(TlsFiles::default()), |d| certs::in_directory(&d))
    }

    fn config_directory(&self) -> Option<PathBuf> {
        context::directory(set_path(self.docker_config.as_ref()), set_path(self.home.as_ref()))
    }

    /// What is set and does not do what its reader may expect.
    pub(super) fn notes(&self, found: &Found) -> Vec<String> {
        let Found { host, origin } = found;
        let mut notes = Vec::new();
        let from_context = matches!(origin, Origin::Context { .. });
        if !from_context && set(self.docker_context.as_deref()).is_some_and(|name| name != "default") {
            notes.push(format!("DOCKER_CONTEXT has no effect: {origin} goes before it"));
        }
        match (host, set(self.docker_tls_verify.as_deref())) {
            (DockerHost::Tcp { .. }, Some(_)) if from_context => notes.push(format!(
                "{origin} names a plain connection to {host}; DOCKER_TLS_VERIFY has no effect on contexts"
            )),
            (DockerHost::Tcp { .. }, None) if set_path(self.docker_cert_path.as_ref()).is_some() => {
                notes.push(format!(
                    "DOCKER_CERT_PATH has no effect: without DOCKER_TLS_VERIFY the connection to {host} is plain"
                ));
            }
            (DockerHost::Tls { .. }, Some(value)) if !from_context && means_no(value) => notes.push(format!(
                "DOCKER_TLS_VERIFY={value} counts as set, as for the docker command: the connection to {host} is \
                 verified TLS; unset it for a plain one"
            )),
            _ => {}
        }
        notes
    }
}

fn means_no(value: &str) -> bool {
    ["0", "false", "no", "off"].contains(&value.trim().to_ascii_lowercase().as_str())
}

fn set(value: Option<&str>) -> Option<&str> {
    value.filter(|text| !text.is_empty())
}

fn set_path(value: Option<&PathBuf>) -> Option<&Path> {
    value.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_effect_is_said() {
        let some = |text: &str| Some(text.to_owned());
        let tcp = DockerHost::Tcp { host: "h".to_owned(), port: 1 };
        let tls = DockerHost::Tls { host: "h".to_owned(), port: 1, files: TlsFiles::default() };
        let context = Origin::Context { name: "c".to_owned(), chosen_in: None };
        let none = EndpointSources::default();
        let verify = |value: &str| EndpointSources { docker_tls_verify: some(value), ..none.clone() };
        let certs = EndpointSources { docker_cert_path: Some("/c".into()), ..none.clone() };
        let both = EndpointSources { docker_context: some("c"), ..none.clone() };
        let default = EndpointSources { docker_context: some("default"), ..none.clone() };
        for (sources, host, origin, want) in [
            (&both, &tcp, &Origin::DockerHost, "DOCKER_CONTEXT has no effect: DOCKER_HOST"),
            (&both, &tcp, &context, ""),
            (&default, &tcp, &Origin::DockerHost, ""),
            (&certs, &tcp, &Origin::DockerHost, "DOCKER_CERT_PATH has no effect"),
            (&certs, &tls, &Origin::DockerHost, ""),
            (&verify("1"), &tcp, &context, "no effect on contexts"),
            (&verify("1"), &tls, &Origin::DockerHost, ""),
            (&verify("False"), &tls, &Origin::DockerHost, "DOCKER_TLS_VERIFY=False counts as set"),
            (&verify("0"), &DockerHost::default(), &Origin::DockerHost, ""),
        ] {
            let found = Found { host: host.clone(), origin: origin.clone() };
            let notes = sources.notes(&found);
            assert_eq!(notes.len(), usize::from(!want.is_empty()), "{notes:?}");
            assert!(notes.iter().all(|note| note.contains(want)), "{want}: {notes:?}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let sources = EndpointSources {
            explicit: Some(super::super::Setting {
                name: "X".to_owned(),
                value: "ssh://a:hunter2@h".to_owned(),
            }),
            docker_host: Some("tcp://b:hunter2@h".to_owned()),
            ..EndpointSources::default()
        };
        assert!(!format!("{sources:?}").contains("hunter2"), "{sources:?}");
    }
}
