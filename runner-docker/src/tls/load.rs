//! Files → a configuration of rustls.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use runner_core::ErrorKind;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::TlsFiles;
use super::failure::TlsFailure;

/// Largest file that is read. A bundle of every public root is a fifth of it.
const MAX_FILE: u64 = 1 << 20;

/// Reads the files. Blocks.
pub(super) fn config(files: &TlsFiles) -> Result<ClientConfig, TlsFailure> {
    // Named, never guessed: where another crate of the application has brought a second provider, and nobody has
    // installed one for the process, rustls would panic.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsFailure::new(ErrorKind::Internal, "the TLS library has no version of TLS", ""))?
        .with_root_certificates(roots(files.ca.as_deref())?);
    let Some(client) = &files.client else { return Ok(builder.with_no_client_auth()) };
    let certificates = certificates(&client.certificate)?;
    let key = private_key(&client.key)?;
    builder.with_client_auth_cert(certificates, key).map_err(|_| {
        bad(&client.key, &format!("is no key for the certificate {}", client.certificate.display()))
    })
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsFailure> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|_| bad(path, "has a certificate that is not one"))?;
        }
        return Ok(roots);
    }
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::debug!(%error, "a root certificate of the system was left out");
    }
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        let hint = "name the authority of the engine's certificate (ca.pem), or install the system's (ca-certificates)";
        return Err(TlsFailure::new(ErrorKind::InvalidInput, "this system has no root certificates", hint));
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFailure> {
    let text = contents(path)?;
    // The library's errors quote what they could not read.
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad(path, "has no PEM certificate in it")),
        Ok(found) => Ok(found),
        Err(_) => Err(bad(path, "is damaged: it is not PEM throughout")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFailure> {
    let text = contents(path)?;
    let encrypted = text.windows(9).any(|word| word == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        _ if encrypted => bad(path, "is encrypted; only keys in the clear are read"),
        pem::Error::NoItemsFound => bad(path, "has no PEM private key in it"),
        _ => bad(path, "is damaged: it is not PEM throughout"),
    })
}

fn contents(path: &Path) -> Result<Vec<u8>, TlsFailure> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    match read {
        Ok(_) if u64::try_from(text.len()).is_ok_and(|length| length <= MAX_FILE) => Ok(text),
        Ok(_) => Err(bad(path, "is far too large for certificates")),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(TlsFailure::new(
            ErrorKind::PermissionDenied,
            format!("{} may not be read by this user", path.display()),
            "let this user read it, or use files of its own",
        )),
        Err(e) => Err(bad(path, &format!("cannot be read ({e})"))),
    }
}

fn bad(path: &Path, why: &str) -> TlsFailure {
    TlsFailure::new(
        ErrorKind::InvalidInput,
        format!("{} {why}", path.display()),
        "correct the TLS files (DOCKER_CERT_PATH, or those of the Docker context)",
    )
}
