//! One plain HTTP exchange with an engine, for what the port has no call for: looking behind it, planting what others
//! would leave, moving archives.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use runner_docker::DockerHost;
use serde_json::Value;

/// No engine is silent for so long over anything asked here.
const SILENCE: Duration = Duration::from_mins(1);

pub(crate) const JSON: &str = "application/json";
pub(crate) const TAR: &str = "application/x-tar";

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Null where the body is no document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// HTTP/1.0, so that the reply ends with the connection and comes in one piece.
pub(crate) fn send(
    host: &DockerHost,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> io::Result<Reply> {
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    match host {
        DockerHost::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_write_timeout(Some(SILENCE))?;
            exchange(stream, &head, body)
        }
        DockerHost::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))?;
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_write_timeout(Some(SILENCE))?;
            exchange(stream, &head, body)
        }
        other => panic!("{other} is not known here"),
    }
}

fn exchange(mut stream: impl Read + Write, head: &str, body: &[u8]) -> io::Result<Reply> {
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let end = reply.windows(4).position(|at| at == b"\r\n\r\n");
    let (Some(end), Some(status)) = (end, status(&reply)) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is not HTTP"));
    };
    Ok(Reply { status, body: reply.split_off(end + 4) })
}

fn status(reply: &[u8]) -> Option<u16> {
    let line = reply.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.split(' ').nth(1)?.parse().ok()
}
