//! The server: answers every request with the whole stream.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::Failure;

/// How the stream is cut into chunks.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// A chunk for each event, as OpenCode sends.
    EachEvent,
    /// Chunks of 64 KiB, which end anywhere.
    Large,
}

const LARGE: usize = 64 << 10;

impl Way {
    /// Of the names of its metrics.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::EachEvent => "",
            Self::Large => "_large_chunks",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::EachEvent => "a chunk for each event",
            Self::Large => "chunks of 64 KiB",
        }
    }

    fn body(self, text: &str) -> Vec<u8> {
        let mut body = Vec::with_capacity(text.len() + text.len() / 16);
        let pieces: Box<dyn Iterator<Item = &[u8]>> = match self {
            Self::EachEvent => Box::new(text.split_inclusive("\n\n").map(str::as_bytes)),
            Self::Large => Box::new(text.as_bytes().chunks(LARGE)),
        };
        pieces.for_each(|piece| chunk(&mut body, piece));
        body.extend_from_slice(b"0\r\n\r\n");
        body
    }
}

fn chunk(body: &mut Vec<u8>, bytes: &[u8]) {
    body.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n");
}

pub(crate) struct Server {
    pub(crate) url: String,
}

impl Server {
    /// Serves for as long as the process lives.
    pub(crate) fn start(text: &str, way: Way) -> Result<Self, Failure> {
        let body = Arc::new(way.body(text));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let body = Arc::clone(&body);
                thread::spawn(move || answer(socket, &body));
            }
        });
        Ok(Self { url })
    }
}

/// A reader that has gone needs no answer.
fn answer(mut socket: TcpStream, body: &[u8]) -> Option<()> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
                        Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(buffer.get(..read)?);
    }
    socket.write_all(HEAD.as_bytes()).ok()?;
    body.chunks(LARGE).try_for_each(|piece| socket.write_all(piece)).ok()
}
