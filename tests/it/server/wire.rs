//! The connection: reads lines and writes bytes, with or without TLS.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use native_tls::{TlsAcceptor, TlsStream};

/// The size of a write of repeated data.
const FLOOD: usize = 64 * 1024;

/// The connection of one client.
#[derive(Debug)]
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<TlsStream<TcpStream>>,
    input: Vec<u8>,
    piece: usize,
}

/// A line from the client.
#[derive(Debug)]
pub(super) struct Line {
    /// The line without its CRLF or LF.
    pub(super) text: Vec<u8>,
    /// True if it did not arrive together with the line before it.
    pub(super) waited: bool,
}

impl Wire {
    /// Wraps a connection that was just accepted.
    pub(super) fn new(socket: TcpStream, piece: usize) -> io::Result<Self> {
        // Otherwise the kernel merges bytes that were written separately.
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            tls: None,
            input: Vec::new(),
            piece,
        })
    }

    /// Waits for the TLS handshake of the client. Cleartext that arrived before it is discarded.
    pub(super) fn secure(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        self.forget();
        let private = acceptor.accept(self.socket.try_clone()?);
        self.tls = Some(private.map_err(io::Error::other)?);
        Ok(())
    }

    /// Reads the next line. Returns `None` if the client closed the connection.
    pub(super) fn read_line(&mut self) -> io::Result<Option<Line>> {
        let mut waited = false;
        loop {
            if let Some(end) = self.input.iter().position(|&octet| octet == b'\n') {
                let mut text: Vec<_> = self.input.drain(..=end).collect();
                text.pop();
                text.pop_if(|last| *last == b'\r');
                return Ok(Some(Line { text, waited }));
            }
            waited = true;
            let mut octets = [0; 16 * 1024];
            match self.read(&mut octets)? {
                0 => return Ok(None),
                count => self.input.extend(&octets[..count]),
            }
        }
    }

    /// Writes all bytes, in pieces of the configured size.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        octets
            .chunks(self.piece)
            .try_for_each(|piece| match &mut self.tls {
                Some(tls) => tls.write_all(piece),
                None => self.socket.write_all(piece),
            })
    }

    /// Writes bytes repeatedly until the client closes the connection.
    pub(super) fn repeat(&mut self, octets: &[u8]) {
        let flood = octets.repeat(FLOOD.div_ceil(octets.len().max(1)));
        while !flood.is_empty() && self.write(&flood).is_ok() {}
    }

    /// Writes ten bytes per second until the client closes the connection. The time limit for
    /// reading from the client sets the pace.
    pub(super) fn drip(&mut self, octets: &[u8]) {
        let _ = self
            .socket
            .set_read_timeout(Some(Duration::from_millis(100)));
        for octet in octets.iter().cycle() {
            if self.write(&[*octet]).is_err() || matches!(self.socket.read(&mut [0; 1024]), Ok(0)) {
                break;
            }
        }
    }

    /// Discards the data that has arrived and was not read yet.
    pub(super) fn forget(&mut self) {
        self.input.clear();
    }

    /// Reads and discards data until the client closes the connection.
    pub(super) fn swallow(&mut self) {
        let mut octets = [0; 16 * 1024];
        while self.socket.read(&mut octets).is_ok_and(|count| count > 0) {}
    }

    /// Closes the connection properly.
    pub(super) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            // The client may have closed the connection already.
            let _ = tls.shutdown();
        }
        self.cut();
    }

    /// Closes the connection after the bytes written so far.
    ///
    /// Data from the client is read and discarded: closing a socket with unread input resets the
    /// connection, and the client could lose bytes that it should receive.
    pub(super) fn cut(mut self) {
        if self.socket.shutdown(Shutdown::Write).is_ok() {
            self.swallow();
        }
    }

    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(octets),
            None => self.socket.read(octets),
        }
    }
}
