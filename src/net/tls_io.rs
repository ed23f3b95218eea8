//! What TLS reads from and writes to.

use std::io::{self, BufReader, ErrorKind, Read, Write};

use super::socket::Socket;

/// The most that is read from the socket at once.
const BUFFER: usize = 32 * 1024;

/// A socket of which OpenSSL reads record by record: five octets, then as many as these announce.
/// The socket is asked for all that has come.
#[derive(Debug)]
pub struct Records {
    socket: BufReader<Socket>,
    waits: bool,
}

impl Records {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket: BufReader::with_capacity(BUFFER, socket),
            waits: true,
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        self.socket.get_ref()
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        self.socket.get_mut()
    }

    /// Whether a read waits for the server, or takes what has come and else fails with
    /// [`ErrorKind::WouldBlock`].
    pub(super) fn wait(&mut self, waits: bool) {
        self.waits = waits;
    }
}

impl Read for Records {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.waits && self.socket.buffer().is_empty() {
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
