//! The frames of the control socket: a JSON header and raw bytes.
//!
//! ```text
//! u32 length of the header | u32 length of the body | header | body      (little endian)
//! ```
//! Descriptors of memory files travel with the first byte. Requests and answers alternate: each side
//! sends only when it is its turn, so neither waits for the other to read.

use super::sys::{self, Ready};
use serde_json::Value;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A header is written by our own code; a longer one is a sign of garbage on the socket.
const MAX_HEADER: usize = 1 << 26;
const PREFIX: usize = 8;

/// One frame as it came.
#[derive(Debug)]
pub struct Frame {
    pub header: Value,
    pub body: Vec<u8>,
}

/// Why no frame came.
#[derive(Debug)]
pub enum FrameError {
    /// The other side closed the socket.
    Closed,
    /// `keep_waiting` said to stop.
    Stopped,
    Io(io::Error),
    Garbage(String),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                FrameError::Closed
            }
            _ => FrameError::Io(error),
        }
    }
}

/// Asked again and again while a frame is on its way, every `tick` at least.
pub struct Patience<'a> {
    pub tick: Duration,
    pub keep_waiting: &'a mut dyn FnMut() -> bool,
}

/// Sends a frame.
pub fn send(
    socket: &UnixStream,
    header: &Value,
    body: &[u8],
    fds: &[BorrowedFd<'_>],
    patience: &mut Patience<'_>,
) -> Result<(), FrameError> {
    let header = header.to_string();
    let mut start = Vec::with_capacity(PREFIX + header.len());
    let too_long = |_| FrameError::Garbage("a frame of more than 4 GiB".to_owned());
    start.extend(u32::try_from(header.len()).map_err(too_long)?.to_le_bytes());
    start.extend(u32::try_from(body.len()).map_err(too_long)?.to_le_bytes());
    start.extend(header.as_bytes());
    let mut fds = fds;
    for part in [start.as_slice(), body] {
        let mut rest = part;
        while !rest.is_empty() {
            match sys::send_with_fds(socket, rest, fds) {
                Ok(sent) => {
                    rest = &rest[sent..];
                    fds = &[];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(socket, Ready::Write, patience)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Receives a frame.
pub fn receive(socket: &UnixStream, patience: &mut Patience<'_>) -> Result<Frame, FrameError> {
    let mut prefix = [0; PREFIX];
    read_exact(socket, &mut prefix, patience)?;
    let length =
        |at: usize| u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]) as usize;
    let (header_len, body_len) = (length(0), length(4));
    if header_len > MAX_HEADER {
        return Err(FrameError::Garbage(format!("a header of {header_len} bytes on its control socket")));
    }
    let mut header = vec![0; header_len];
    read_exact(socket, &mut header, patience)?;
    let header = serde_json::from_slice(&header)
        .map_err(|e| FrameError::Garbage(format!("no JSON on its control socket: {e}")))?;
    let mut body = vec![0; body_len];
    read_exact(socket, &mut body, patience)?;
    Ok(Frame { header, body })
}

fn read_exact(
    mut socket: &UnixStream,
    mut into: &mut [u8],
    patience: &mut Patience<'_>,
) -> Result<(), FrameError> {
    while !into.is_empty() {
        match socket.read(into) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(read) => into = &mut into[read..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(socket, Ready::Read, patience)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait(socket: &UnixStream, what: Ready, patience: &mut Patience<'_>) -> Result<(), FrameError> {
    while !sys::wait_for(socket, what, patience.tick)? {
        if !(patience.keep_waiting)() {
            return Err(FrameError::Stopped);
        }
    }
    Ok(())
}
