//! One HTTP/1 exchange over a connection of its own.
//!
//! bollard is given this as its transport, and the calls that bollard does not do well use it directly. Compared
//! with bollard's own transports it keeps the operating system's error of a failed connection, and it lets us see
//! the moment when a reply's headers arrive. One connection per call, as bollard does: there is no stale
//! connection to trip over after the engine was restarted.

use std::io;

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

/// Why an exchange gave no reply.
#[derive(Debug)]
pub(crate) enum WireError {
    /// No connection was made.
    Dial(io::Error),
    /// The connection broke before the reply's headers.
    Broken(hyper::Error),
}

/// Connects to one engine, again for every exchange.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    host: DockerHost,
}

impl Wire {
    pub(crate) fn new(host: DockerHost) -> Self {
        Self { host }
    }

    /// Sends a request and returns when the reply's headers are there. Dropping the future or the reply closes the
    /// connection.
    pub(crate) async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, WireError> {
        match &self.host {
            DockerHost::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(WireError::Dial)?;
                exchange(stream, request, HeaderValue::from_static("docker")).await
            }
            DockerHost::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(WireError::Dial)?;
                // Requests are small and answered one by one; a failure to set it costs only time.
                drop(stream.set_nodelay(true));
                let named =
                    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                let named = HeaderValue::from_str(&named).unwrap_or(HeaderValue::from_static("docker"));
                exchange(stream, request, named).await
            }
        }
    }
}

async fn exchange<S>(
    stream: S,
    mut request: BollardRequest,
    host: HeaderValue,
) -> Result<Response<Incoming>, WireError>
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
    // A server wants the path alone, and the host beside it.
    let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    request.headers_mut().insert(HOST, host);
    sender.send_request(request).await.map_err(WireError::Broken)
}

/// The same failure in bollard's words; `error.rs` reads it back.
pub(crate) fn to_bollard(error: WireError) -> bollard::errors::Error {
    match error {
        WireError::Dial(err) => bollard::errors::Error::IOError { err },
        WireError::Broken(err) => bollard::errors::Error::HyperResponseError { err },
    }
}
