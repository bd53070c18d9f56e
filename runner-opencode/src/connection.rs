//! The connection of an event stream: one request, whose answer goes on until either side ends it.
//!
//! Not through `reqwest`, whose body hands every HTTP chunk from a task that drives the connection to the reader. The
//! server makes a chunk of each event, and so each event cost two wake-ups across threads, more than all else about it.
//! Here the reader reads from the socket itself. Measured with 200,000 recorded events, a chunk each, CPU time from the
//! socket to the reader: 1.8 µs an event through `reqwest`, 0.67 µs with `hyper` driven by the reader (it still passes
//! each chunk on), 0.48 µs so. (In large chunks it is 0.45 µs in all three.) What is parsed is one answer to one
//! request: its head and the sizes of its chunks by `httparse`, as in `hyper`; there is no reuse, no redirect, and
//! nothing is sent after the request.

use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use httparse::Status;
use reqwest::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use reqwest::{StatusCode, Url};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::body::{Body, Buffered, Coding};
use crate::error::Failure;

/// As many as a proxy may add.
const MAX_HEADERS: usize = 64;

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// What an event stream is read from. Dropping it closes the connection.
pub(crate) type Incoming = Body<TcpStream>;

/// Sends a request without a body on a connection of its own.
pub(crate) async fn open(request: &reqwest::Request, limit: Duration) -> Result<(Head, Incoming), Failure> {
    let mut input = Buffered::new(connect(request.url(), limit).await.map_err(Failure::unconnected)?);
    input.io().write_all(&text(request)).await.map_err(Failure::broken)?;
    let head = head(&mut input).await.map_err(Failure::broken)?;
    let coding = coding(&head.headers).map_err(Failure::broken)?;
    Ok((head, Body::new(input, coding)))
}

async fn connect(url: &Url, limit: Duration) -> Result<TcpStream, Error> {
    let host = url.host_str().unwrap_or_default();
    // An IPv6 address stands in brackets in a URL only.
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = url.port_or_known_default().unwrap_or_default();
    let socket = timeout(limit, TcpStream::connect((host, port))).await??;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// The request as it is sent. What stands in a URL and in a header's value has no line end.
fn text(request: &reqwest::Request) -> Vec<u8> {
    let url = request.url();
    let (method, path, host) = (request.method(), url.path(), url.host_str().unwrap_or_default());
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let mut text = format!("{method} {path}{query} HTTP/1.1\r\nhost: {host}{port}").into_bytes();
    for (name, value) in request.headers().iter().filter(|(name, _)| *name != HOST) {
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
    }
    text.extend_from_slice(b"\r\n\r\n");
    text
}

/// Reads a head that fits into the buffer. Those that only say that another one will come are read over.
async fn head<R: AsyncRead + Unpin>(input: &mut Buffered<R>) -> Result<Head, Error> {
    loop {
        match parse(input.bytes())? {
            Some((length, head)) => {
                input.consume(length);
                if !head.status.is_informational() {
                    return Ok(head);
                }
            }
            None => poll_fn(|cx| input.poll_more(cx)).await?,
        }
    }
}

/// A head and its length; `None` if it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let Status::Complete(length) = answer.parse(bytes).map_err(no_http)? else { return Ok(None) };
    let status = StatusCode::from_u16(answer.code.unwrap_or_default()).map_err(no_http)?;
    let mut headers = HeaderMap::new();
    for header in answer.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(no_http)?;
        headers.append(name, HeaderValue::from_bytes(header.value).map_err(no_http)?);
    }
    Ok(Some((length, Head { status, headers })))
}

fn coding(headers: &HeaderMap) -> Result<Coding, Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => return Ok(Coding::Chunked),
        (Some(_), _) => return Err(no_http("the answer is encoded in a way that was not asked for")),
        (None, _) => {}
    }
    match headers.get(CONTENT_LENGTH) {
        None => Ok(Coding::Close),
        Some(length) => {
            let length = length.to_str().map_err(no_http)?.parse().map_err(no_http)?;
            Ok(Coding::Length(length))
        }
    }
}

fn no_http(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

/// At most so many bytes of a body; `None` where it is larger or breaks.
pub(crate) async fn read(mut body: Incoming, max: usize) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        let piece = body.fill_buf().await.ok()?;
        if piece.is_empty() {
            return Some(read);
        }
        let length = piece.len();
        if read.len() + length > max {
            return None;
        }
        read.extend_from_slice(piece);
        body.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::recordings::input;

    async fn read_head(pieces: &[&[u8]]) -> Result<Head, Error> {
        head(&mut Buffered::new(input(pieces, None))).await
    }

    #[test]
    fn a_request_is_sent_to_the_server_itself() {
        for (url, first, host) in [
            ("http://127.0.0.1:4096/a?b=%2Fc", "GET /a?b=%2Fc HTTP/1.1", "host: 127.0.0.1:4096"),
            ("http://[::1]:1/", "GET / HTTP/1.1", "host: [::1]:1"),
            ("http://runner/a", "GET /a HTTP/1.1", "host: runner"),
        ] {
            let client = reqwest::Client::new();
            let request = client.get(url).header("accept", "text/x").header("host", "other").build().unwrap();
            let text = String::from_utf8(text(&request)).unwrap();
            assert_eq!(text, format!("{first}\r\n{host}\r\naccept: text/x\r\n\r\n"));
        }
    }

    #[tokio::test]
    async fn a_head_may_come_in_pieces_and_after_others() {
        let text = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nA: c\r\n\r\nbody";
        for size in [1, 7, text.len()] {
            let pieces: Vec<_> = text.chunks(size).collect();
            let head = read_head(&pieces).await.unwrap();
            assert_eq!(
                (head.status, head.headers.get_all("a").iter().count()),
                (StatusCode::OK, 2),
                "{size}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_head_is_an_error() {
        let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(1 << 20));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1000));
        for (text, kind) in [
            ("", ErrorKind::UnexpectedEof),
            ("HTTP/1.1 2", ErrorKind::UnexpectedEof),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", ErrorKind::InvalidData),
            ("HTTP/1.1 099 x\r\n\r\n", ErrorKind::InvalidData),
            (&large, ErrorKind::InvalidData),
            (&many, ErrorKind::InvalidData),
        ] {
            let error = read_head(&[text.as_bytes()]).await.expect_err("no head");
            assert_eq!(error.kind(), kind, "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn a_head_tells_where_the_body_ends() {
        for (headers, expected) in [
            ("", Some(Coding::Close)),
            ("Content-Length: 7\r\n", Some(Coding::Length(7))),
            ("Transfer-Encoding: Chunked\r\n", Some(Coding::Chunked)),
            ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Some(Coding::Chunked)),
            ("Transfer-Encoding: gzip, chunked\r\n", None),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", None),
            ("Content-Length: -7\r\n", None),
            ("Content-Length: 99999999999999999999\r\n", None),
        ] {
            let (_, head) = parse(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes()).unwrap().unwrap();
            assert_eq!(coding(&head.headers).ok(), expected, "{headers}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_head_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat());
        }
    }
}
