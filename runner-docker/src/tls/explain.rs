//! What the TLS library says → what is wrong, and the way out.

use std::error::Error as StdError;
use std::io;

use runner_core::ErrorKind;
use rustls::{AlertDescription, CertificateError, Error};

use super::TlsFiles;
use super::failure::TlsFailure;

/// The TLS library's error in a chain of causes.
pub(super) fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error names its cause's cause as its own; the cause itself is inside.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

pub(super) fn failure(error: &Error, files: &TlsFiles) -> TlsFailure {
    use ErrorKind::{Connection, Protocol, Unauthorized, Unsupported};
    const OURS: &str = "use a certificate that this engine accepts: cert.pem and key.pem";
    match error {
        Error::InvalidCertificate(why) => untrusted(why, files),
        Error::InvalidMessage(_) => TlsFailure::new(
            Protocol,
            "what listens there does not speak TLS",
            "check the port (2376 is the usual one for TLS), or ask for a plain connection",
        ),
        Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => match &files.client {
                None => TlsFailure::new(
                    Unauthorized,
                    format!("the engine asks for a client's certificate, and there is none ({alert:?})"),
                    OURS,
                ),
                Some(client) => TlsFailure::new(
                    Unauthorized,
                    format!(
                        "the engine refuses the certificate {} ({alert:?})",
                        client.certificate.display()
                    ),
                    OURS,
                ),
            },
            AlertDescription::ProtocolVersion => {
                TlsFailure::new(Unsupported, "the engine speaks no TLS 1.2 or 1.3", "update the engine")
            }
            alert => {
                TlsFailure::new(Connection, format!("the engine ends the TLS handshake ({alert:?})"), "")
            }
        },
        Error::PeerIncompatible(_) => TlsFailure::new(
            Unsupported,
            format!("the engine's TLS is not ours: {error}"),
            "update the engine",
        ),
        error => TlsFailure::new(Connection, format!("TLS with the engine fails: {error}"), ""),
    }
}

fn untrusted(why: &CertificateError, files: &TlsFiles) -> TlsFailure {
    use CertificateError as Why;
    let authority = match &files.ca {
        Some(path) => path.display().to_string(),
        None => "the system's roots".to_owned(),
    };
    let (what, hint) = match why {
        Why::UnknownIssuer | Why::BadSignature => (
            format!("is not signed by an authority in {authority}"),
            "give the authority that signed it: ca.pem (DOCKER_CERT_PATH, or the Docker context's)",
        ),
        Why::Expired | Why::ExpiredContext { .. } => {
            ("has expired".to_owned(), "renew the engine's certificate, or correct this host's clock")
        }
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), "correct the clock of this host, or the engine's")
        }
        Why::NotValidForName | Why::NotValidForNameContext { .. } => (
            "is for another name".to_owned(),
            "address the engine by a name or address that its certificate is for",
        ),
        why => (format!("cannot be accepted: {why}"), "replace the engine's certificate"),
    };
    TlsFailure::new(ErrorKind::Connection, format!("the engine's certificate {what}"), hint)
}
