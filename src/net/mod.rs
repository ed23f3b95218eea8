//! Connections to servers: TCP, proxies, Unix sockets and programs, with timeouts and signals, and
//! TLS.

mod dial;
mod proxy;
mod roots;
mod socket;
mod tcp;
mod tls;
mod tls_cache;
mod tls_io;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use native_tls::TlsStream;
use tls_io::Records;

pub use dial::{PendingConnection, Route, dial, dial_local};
pub use proxy::ProxyAccess;
pub use roots::SystemRoots;
pub use socket::{LastError, Socket};
pub use tls::{Certificate, TlsConfig};
pub use tls_cache::TlsCache;

/// The time for one read or write through TLS, as a multiple of the timeout.
///
/// The timeout ends a silence of the socket. But a server can send records without content for
/// ever, such as session tickets and key updates, or a record byte by byte, and OpenSSL does not
/// return before it has content.
const TIMEOUTS_PER_TRANSFER: u32 = 10;

/// A connection to a server, with or without TLS.
pub enum Stream {
    /// Clear text.
    Plain(Socket),
    /// TLS, and the last error of the socket below it.
    Tls(Box<TlsStream<Records>>, LastError),
}

impl Stream {
    /// Returns the server's address, or `None` if it is not known.
    pub fn peer(&self) -> Option<SocketAddr> {
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

/// Reads or writes through TLS, with a deadline for all records together.
///
/// An error of TLS is replaced by that of the socket, if there is one: native-tls does not pass on
/// a timeout as such.
fn transfer<T>(
    stream: &mut TlsStream<Records>,
    socket_error: &LastError,
    step: impl FnOnce(&mut TlsStream<Records>) -> io::Result<T>,
) -> io::Result<T> {
    let socket = stream.get_mut().socket_mut();
    socket.set_deadline(TIMEOUTS_PER_TRANSFER);
    let result = step(stream);
    stream.get_mut().socket_mut().clear_deadline();
    result.map_err(|error| socket_error.take().unwrap_or(error))
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream, socket_error) => {
                let mut filled = transfer(stream, socket_error, |stream| stream.read(buffer))?;
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
                transfer(stream, socket_error, |stream| stream.write(octets))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream, socket_error) => transfer(stream, socket_error, Write::flush),
        }
    }
}
