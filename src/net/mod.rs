//! Connections to servers: TCP and Unix sockets with timeouts and signals, and TLS.

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

/// A connection to a server, with or without TLS.
pub enum Stream {
    /// TCP in clear text.
    Plain(Socket),
    /// TLS, and the last error of the socket below it.
    Tls(Box<TlsStream<Records>>, LastError),
}

impl Stream {
    /// Returns the server's address.
    ///
    /// # Errors
    /// The connection was closed.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(socket) => socket.peer(),
            Self::Tls(stream, _) => stream.get_ref().socket().peer(),
        }
    }

    /// Returns the server's certificate, or `None` without TLS.
    pub fn certificate(&self) -> Option<Certificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream, _) => tls::certificate(stream),
        }
    }

    /// Returns the socket, to start TLS on it, or `None` if TLS has been started already.
    pub fn into_socket(self) -> Option<Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(..) => None,
        }
    }
}

/// Replaces an error of TLS by that of the socket, if there is one: native-tls does not pass on a
/// timeout as such.
fn with_socket_error<T>(result: io::Result<T>, socket_error: &LastError) -> io::Result<T> {
    result.map_err(|error| socket_error.take().unwrap_or(error))
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream, socket_error) => {
                let mut filled = with_socket_error(stream.read(buffer), socket_error)?;
                // A record has at most 16 KiB, and more of them may have arrived.
                stream.get_mut().set_blocking(false);
                while let Ok(octets @ 1..) = stream.read(&mut buffer[filled..]) {
                    filled += octets;
                }
                stream.get_mut().set_blocking(true);
                Ok(filled)
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(octets),
            Self::Tls(stream, socket_error) => {
                with_socket_error(stream.write(octets), socket_error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream, socket_error) => with_socket_error(stream.flush(), socket_error),
        }
    }
}
