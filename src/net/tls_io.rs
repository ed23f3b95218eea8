//! The socket below TLS, with a read buffer.
//!
//! OpenSSL reads each record with two calls, five bytes of header and then the rest. The buffer
//! turns many of these into one system call.

use std::io::{self, BufReader, ErrorKind, Read, Write};

use super::socket::Socket;

/// The size of the read buffer, in bytes.
const BUFFER: usize = 32 * 1024;

/// A socket that OpenSSL reads records from.
#[derive(Debug)]
pub struct Records {
    socket: BufReader<Socket>,
    blocking: bool,
}

impl Records {
    /// Returns a blocking socket with an empty buffer.
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket: BufReader::with_capacity(BUFFER, socket),
            blocking: true,
        }
    }

    /// Returns the socket.
    pub(super) fn socket(&self) -> &Socket {
        self.socket.get_ref()
    }

    /// Returns the socket.
    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        self.socket.get_mut()
    }

    /// Sets whether a read with an empty buffer waits for the server, or fails with
    /// [`ErrorKind::WouldBlock`].
    pub(super) fn set_blocking(&mut self, blocking: bool) {
        self.blocking = blocking;
    }
}

impl Read for Records {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.blocking && self.socket.buffer().is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.socket.read(buffer)
    }
}

impl Write for Records {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.socket_mut().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
