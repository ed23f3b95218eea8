//! The line to the server: TCP with time-outs and signals, TLS over it.

mod dial;
mod roots;
mod socket;
mod tls;
mod tls_cache;
mod tls_io;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use native_tls::TlsStream;
use tls_io::Records;

pub use dial::{PendingConnection, dial, dial_local};
pub use roots::SystemRoots;
pub use socket::{LastError, Socket};
pub use tls::{Certificate, TlsConfig};
pub use tls_cache::TlsCache;

/// A line to the server.
pub enum Stream {
    /// In clear.
    Plain(Socket),
    /// Protected by TLS.
    Tls(Box<TlsStream<Records>>, LastError),
}

impl Stream {
    /// The server's address.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(socket) => socket.peer(),
            Self::Tls(stream, _) => stream.get_ref().socket().peer(),
        }
    }

    /// The server's certificate, where there is TLS.
    pub fn certificate(&self) -> Option<Certificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream, _) => tls::certificate(stream),
        }
    }

    /// The TCP connection alone, to begin TLS on; nothing where there is TLS already.
    pub fn into_socket(self) -> Option<Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(..) => None,
        }
    }
}

/// native-tls blurs a time-out of the socket into an error of TLS: what the socket itself said
/// tells more.
fn unblurred<T>(result: io::Result<T>, captured: &LastError) -> io::Result<T> {
    result.map_err(|error| captured.take().unwrap_or(error))
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream, captured) => {
                let mut filled = unblurred(stream.read(buffer), captured)?;
                // a record is small, and more of them may have come
                stream.get_mut().wait(false);
                while let Ok(octets @ 1..) = stream.read(&mut buffer[filled..]) {
                    filled += octets;
                }
                stream.get_mut().wait(true);
                Ok(filled)
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(octets),
            Self::Tls(stream, captured) => unblurred(stream.write(octets), captured),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream, captured) => unblurred(stream.flush(), captured),
        }
    }
}
