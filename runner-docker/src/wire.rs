//! One HTTP/1 exchange over a connection of its own.
//!
//! bollard is given this as its transport, and the calls that bollard does not do well use it directly. Compared
//! with bollard's own transports it keeps the operating system's error of a failed connection, it puts the version
//! of the interface into every path, it chooses the provider of TLS itself, and it lets us see the moment when a
//! reply's headers arrive. One connection per call, as bollard does: there is no stale connection to trip over
//! after the engine was restarted.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::BollardRequest;
use http::header::{HOST, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use crate::host::DockerHost;
use crate::tls::{Tls, TlsFailure};
use crate::version::ApiVersion;

/// Why an exchange gave no reply.
#[derive(Debug)]
pub(crate) enum WireError {
    /// No connection was made.
    Dial(io::Error),
    /// The connection is not a secure one.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only TLS says so; everybody reads it"))]
    Tls(TlsFailure),
    /// The connection broke before the reply's headers.
    Broken(hyper::Error),
}

/// Connects to one engine, again for every exchange. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    way: Arc<Way>,
    /// As HTTP wants it in every request.
    host: HeaderValue,
    version: Option<ApiVersion>,
}

#[derive(Debug)]
enum Way {
    Unix(PathBuf),
    Tcp(String, u16),
    Tls(String, u16, Tls),
}

impl Wire {
    /// Connects to nobody yet. With TLS, reads its files.
    pub(crate) async fn open(host: &DockerHost) -> Result<Self, TlsFailure> {
        let way = match host {
            DockerHost::Unix(path) => Way::Unix(path.clone()),
            DockerHost::Tcp { host, port } => Way::Tcp(host.clone(), *port),
            DockerHost::Tls { host, port, files } => {
                Way::Tls(host.clone(), *port, Tls::open(host, files).await?)
            }
        };
        let named = match &way {
            Way::Unix(_) => "docker".to_owned(),
            Way::Tcp(host, port) | Way::Tls(host, port, _) if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Way::Tcp(host, port) | Way::Tls(host, port, _) => format!("{host}:{port}"),
        };
        let host = HeaderValue::from_str(&named).unwrap_or(HeaderValue::from_static("docker"));
        Ok(Self { way: Arc::new(way), host, version: None })
    }

    /// The same wire, with a version in every path.
    pub(crate) fn speaking(self, version: ApiVersion) -> Self {
        Self { version: Some(version), ..self }
    }

    /// Sends a request and returns when the reply's headers are there. Dropping the future or the reply closes the
    /// connection.
    pub(crate) async fn send(&self, mut request: BollardRequest) -> Result<Response<Incoming>, WireError> {
        // A server wants the path alone, and the host beside it.
        *request.uri_mut() = self.target(request.uri());
        request.headers_mut().insert(HOST, self.host.clone());
        match &*self.way {
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(WireError::Dial)?;
                exchange(stream, request).await
            }
            Way::Tcp(host, port) => exchange(dial(host, *port).await?, request).await,
            // Boxed: the state of a handshake is some ten kilobytes, and would be in the future of every call.
            Way::Tls(host, port, tls) => {
                let secured = async {
                    let stream = tls.secure(dial(host, *port).await?).await?;
                    exchange(stream, request).await.map_err(|e| tls.explain(e))
                };
                Box::pin(secured).await
            }
        }
    }

    fn target(&self, uri: &Uri) -> Uri {
        let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let Some(version) = self.version else { return Uri::from(path) };
        // Podman's own interface counts its versions differently.
        if path.path().starts_with("/v") && path.path().contains("/libpod/") {
            return Uri::from(path);
        }
        // A prefix of digits and a dot before a good path is a good path.
        Uri::try_from(format!("/v{version}{path}")).unwrap_or(Uri::from(path))
    }
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, WireError> {
    let stream = TcpStream::connect((host, port)).await.map_err(WireError::Dial)?;
    // Requests are small and answered one by one; a failure to set it costs only time.
    drop(stream.set_nodelay(true));
    Ok(stream)
}

async fn exchange<S>(stream: S, request: BollardRequest) -> Result<Response<Incoming>, WireError>
where
    TokioIo<S>: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(WireError::Broken)?;
    // Ends by itself: when the reply's body has been read or dropped, or the caller gave up.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection to the engine ended");
        }
    });
    sender.send_request(request).await.map_err(WireError::Broken)
}

/// The same failure in bollard's words; `error.rs` reads it back.
pub(crate) fn to_bollard(error: WireError) -> bollard::errors::Error {
    match error {
        WireError::Dial(err) => bollard::errors::Error::IOError { err },
        WireError::Tls(failure) => {
            bollard::errors::Error::IOError { err: io::Error::new(io::ErrorKind::InvalidData, failure) }
        }
        WireError::Broken(err) => bollard::errors::Error::HyperResponseError { err },
    }
}
