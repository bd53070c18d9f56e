//! The engine's own interface, raw: what tests and benchmarks hold our adapter against.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests state their expectations by panicking"
)]
#![allow(unreachable_pub, dead_code, reason = "a module of several targets, each using its own part")]

use std::path::PathBuf;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Where the engine listens.
#[derive(Debug, Clone)]
pub enum Engine {
    Unix(PathBuf),
    Tcp(String),
}

impl Engine {
    /// As `DOCKER_HOST` says it; the usual socket without one.
    pub fn from_host(host: Option<&str>) -> Self {
        let host = host.unwrap_or("unix:///var/run/docker.sock");
        match host.split_once("://") {
            Some(("unix", path)) => Self::Unix(path.into()),
            Some(("tcp" | "http", address)) => Self::Tcp(address.to_owned()),
            _ => panic!("tests know unix:// and tcp:// engines, not {host}"),
        }
    }

    /// One request, one connection, as bollard does it. Gives the status and the body.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (status, body) = match self {
            Self::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.expect("the engine's socket");
                exchange(stream, method, path, "", body).await
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await.expect("the engine's address");
                exchange(stream, method, path, "", body).await
            }
        }
        .expect("the engine answers");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub async fn inspect(&self, container: &str) -> Value {
        let (status, value) = self.call("GET", &format!("/containers/{container}/json"), None).await;
        assert_eq!(status, 200, "{value}");
        value
    }

    /// How many containers carry a label.
    pub async fn count(&self, label: &str) -> usize {
        let filters = format!("%7B%22label%22%3A%5B%22{}%22%5D%7D", label.replace('=', "%3D"));
        let (status, list) =
            self.call("GET", &format!("/containers/json?all=true&filters={filters}"), None).await;
        assert_eq!(status, 200, "{list}");
        list.as_array().expect("a list").len()
    }
}

/// One HTTP/1.1 exchange on a fresh connection, closed at its end. `Err` if the peer cuts it short.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&Value>,
) -> std::io::Result<(u16, Vec<u8>)> {
    let body = body.map(ToString::to_string).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    parse(&answer).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
}

fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..split]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut rest = &answer[split + 4..];
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Some((status, rest.to_vec()));
    }
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some((status, body));
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}
