//! The connection itself: lines in, octets out, plain or private.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use native_tls::{TlsAcceptor, TlsStream};

/// How much is written at once when something is written for ever.
const FLOOD: usize = 64 * 1024;

/// One client's connection.
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
    /// Without its CRLF or LF.
    pub(super) text: Vec<u8>,
    /// It had not come together with the line before it.
    pub(super) waited: bool,
}

impl Wire {
    /// Takes over a connection that was just accepted.
    pub(super) fn new(socket: TcpStream, piece: usize) -> io::Result<Self> {
        // Else the kernel puts the octets together that were written one by one.
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            tls: None,
            input: Vec::new(),
            piece,
        })
    }

    /// Waits for the client's handshake. Octets that came in clear before it are dropped.
    pub(super) fn secure(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        self.forget();
        let private = acceptor.accept(self.socket.try_clone()?);
        self.tls = Some(private.map_err(io::Error::other)?);
        Ok(())
    }

    /// The next line, or `None` when the client has gone.
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

    /// Writes all of it, so many octets at once.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        octets
            .chunks(self.piece)
            .try_for_each(|piece| match &mut self.tls {
                Some(tls) => tls.write_all(piece),
                None => self.socket.write_all(piece),
            })
    }

    /// Writes until the client has had enough.
    pub(super) fn repeat(&mut self, octets: &[u8]) {
        let flood = octets.repeat(FLOOD.div_ceil(octets.len().max(1)));
        while !flood.is_empty() && self.write(&flood).is_ok() {}
    }

    /// Writes an octet at a time, ten a second, until the client has had enough. What paces it is
    /// waiting for what the client says meanwhile.
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

    /// Throws away what has arrived and was not asked for yet.
    pub(super) fn forget(&mut self) {
        self.input.clear();
    }

    /// Listens, says nothing, and comes back when the client has closed.
    pub(super) fn swallow(&mut self) {
        let mut octets = [0; 16 * 1024];
        while self.socket.read(&mut octets).is_ok_and(|count| count > 0) {}
    }

    /// Ends the connection in good order.
    pub(super) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            // The client may have gone already; there is nobody to tell.
            let _ = tls.shutdown();
        }
        self.cut();
    }

    /// Ends the connection with what was written so far.
    ///
    /// What the client still sends is read and dropped: closing a socket with unread input
    /// resets the connection, and the client could lose octets that are meant to arrive.
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
