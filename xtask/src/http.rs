//! As much HTTP as a probe needs: one request per connection, over TCP or a Unix socket, within a limit.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// No reply that is read here comes near it; a server that never stops talking is cut off.
const LARGEST_REPLY: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    /// User and password of basic authentication.
    pub(crate) login: Option<(&'a str, &'a str)>,
    pub(crate) json: Option<&'a str>,
}

impl<'a> Request<'a> {
    pub(crate) fn get(target: &'a str) -> Self {
        Self { method: "GET", target, login: None, json: None }
    }

    /// HTTP/1.0, so that the reply ends with the connection and comes in one piece.
    fn text(&self) -> String {
        let mut text = format!("{} {} HTTP/1.0\r\nHost: localhost\r\n", self.method, self.target);
        if let Some((user, password)) = self.login {
            text.push_str(&authorization(user, password));
            text.push_str("\r\n");
        }
        match self.json {
            Some(json) => {
                let length = json.len();
                let _ =
                    write!(text, "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}");
            }
            None => text.push_str("\r\n"),
        }
        text
    }
}

pub(crate) fn over_unix(socket: &Path, request: &Request<'_>, limit: Duration) -> io::Result<Reply> {
    let deadline = Instant::now() + limit;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(request.text().as_bytes())?;
    receive(&mut stream, |stream| stream.set_read_timeout(Some(left(deadline)?)))
}

pub(crate) fn over_tcp(address: &str, request: &Request<'_>, limit: Duration) -> io::Result<Reply> {
    let deadline = Instant::now() + limit;
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address")))?;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(request.text().as_bytes())?;
    receive(&mut stream, |stream| stream.set_read_timeout(Some(left(deadline)?)))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Reads to the end of the connection; the time that is left is set anew before each read.
fn receive<S: Read>(stream: &mut S, before_read: impl Fn(&S) -> io::Result<()>) -> io::Result<Reply> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        before_read(stream)?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend(buffer.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // What the system says when a read's limit passes.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if bytes.len() > LARGEST_REPLY {
            return Err(invalid("the reply does not end"));
        }
    }
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(text: &str) -> io::Result<Reply> {
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| invalid("the reply is not HTTP"))?;
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split_whitespace().nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| invalid("the reply is not HTTP"))?;
    Ok(Reply { status, head: head.to_owned(), body: body.to_owned() })
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The header of basic authentication.
pub(crate) fn authorization(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_u32, |sum, at| (sum << 8) | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4_usize {
            // Three bytes are four letters; a letter of which no bit was given is padding.
            let letter = (group >> (18 - 6 * at)) & 63;
            let letter = LETTERS.get(letter as usize).copied().unwrap_or(b'=');
            text.push(if at > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn base64_pads() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_reply_is_taken_apart() {
        let reply = parse("HTTP/1.1 401 Unauthorized\r\nServer: Docker/20\r\n\r\nno").expect("HTTP");
        assert_eq!(
            (reply.status, reply.header("server"), reply.body.as_str()),
            (401, Some("Docker/20"), "no")
        );
        assert!(parse("SSH-2.0-OpenSSH\r\n").is_err());
        assert!(parse("HTTP/1.1 abc\r\n\r\n").is_err());
    }

    #[test]
    fn a_request_carries_login_and_body() {
        let request = Request { method: "POST", target: "/x", login: Some(("a", "b")), json: Some("{}") };
        let text = request.text();
        assert!(text.starts_with("POST /x HTTP/1.0\r\n"), "{text}");
        assert!(
            text.contains("Authorization: Basic YTpi\r\n") && text.contains("Content-Length: 2\r\n"),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn a_server_that_accepts_and_says_nothing_costs_the_limit_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let held = thread::spawn(move || listener.accept().map(|(stream, _)| stream));
        let begun = Instant::now();
        let error = over_tcp(&address, &Request::get("/"), Duration::from_millis(100)).expect_err("silent");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(held.join());
    }
}
