//! A connection on which waiting ends with a timeout or a signal.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};

use crate::sys::interrupt::{Interrupt, Wake};

/// The last error of a socket. TLS reports such errors without their kind.
#[derive(Clone, Debug, Default)]
pub struct LastError(Arc<Mutex<Option<io::Error>>>);

impl LastError {
    /// Returns the error, and clears it.
    pub fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: &io::Error) {
        let copy = io::Error::new(error.kind(), error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
    }
}

/// A connection by TCP or by a Unix socket.
///
/// A read or write fails with [`ErrorKind::TimedOut`] if the peer was silent for the timeout, and
/// with [`ErrorKind::ConnectionAborted`] if a signal asked pouch to stop. It never fails with
/// [`ErrorKind::WouldBlock`].
#[derive(Debug)]
pub struct Socket<S = TcpStream> {
    /// The stream, which does not block: all waiting is done by `stop`, below TLS.
    stream: S,
    timeout: Duration,
    /// The time after which reads and writes fail, even if the peer keeps sending.
    deadline: Option<Instant>,
    stop: Interrupt,
    last_error: LastError,
}

impl Socket<UnixStream> {
    pub(super) fn unix(stream: UnixStream, timeout: Duration, stop: Interrupt) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::new(stream, timeout, stop))
    }
}

impl Socket {
    pub(super) fn tcp(stream: TcpStream, timeout: Duration, stop: Interrupt) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self::new(stream, timeout, stop))
    }

    /// Returns the server's address.
    ///
    /// # Errors
    /// The connection is closed.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Makes all reads and writes fail after `timeouts` times the timeout, even if data keeps
    /// arriving, until [`clear_deadline`](Self::clear_deadline).
    pub fn set_deadline(&mut self, timeouts: u32) {
        self.deadline = Instant::now().checked_add(self.timeout.saturating_mul(timeouts));
    }

    /// Removes the deadline, so that only the timeout applies.
    pub fn clear_deadline(&mut self) {
        self.deadline = None;
    }

    /// Returns the shared record of the last error.
    pub fn last_error(&self) -> LastError {
        self.last_error.clone()
    }
}

impl<S> Socket<S> {
    fn new(stream: S, timeout: Duration, stop: Interrupt) -> Self {
        Self {
            stream,
            timeout,
            deadline: None,
            stop,
            last_error: LastError::default(),
        }
    }
}

impl<S: AsFd> Socket<S> {
    /// Repeats `step` until it does not block.
    fn complete<T>(
        &mut self,
        ready: PollFlags,
        mut step: impl FnMut(&mut S) -> io::Result<T>,
    ) -> io::Result<T> {
        let error = loop {
            // data that keeps arriving must not hide a signal
            if self.stop.signal().is_some() {
                break stopped();
            }
            if self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            {
                break io::Error::new(
                    ErrorKind::TimedOut,
                    "too slow; `timeout` sets how long to wait",
                );
            }
            match step(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if let Err(error) = self.wait(ready) {
                        break error;
                    }
                }
                Err(error) => break error,
                done => return done,
            }
        };
        self.last_error.set(&error);
        Err(error)
    }

    /// Waits until the stream can be read or written.
    fn wait(&self, ready: PollFlags) -> io::Result<()> {
        let silence = Instant::now() + self.timeout;
        let until = self
            .deadline
            .map_or(silence, |deadline| deadline.min(silence));
        let file = PollFd::new(&self.stream, ready);
        match self.stop.wait([file], Some(until))? {
            Wake::Ready => Ok(()),
            Wake::Signal => Err(stopped()),
            // The caller reports the deadline.
            Wake::Deadline if until != silence => Ok(()),
            Wake::Deadline => Err(io::Error::new(
                ErrorKind::TimedOut,
                format!(
                    "no data for {} s; `timeout` sets how long to wait",
                    self.timeout.as_secs()
                ),
            )),
        }
    }
}

fn stopped() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "stopped by a signal")
}

impl<S: Read + AsFd> Read for Socket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.complete(PollFlags::IN, |stream| stream.read(buffer))
    }
}

impl<S: Write + AsFd> Write for Socket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.complete(PollFlags::OUT, |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;
    use crate::net::dial::dial;

    #[test]
    fn read_past_the_deadline_fails_despite_incoming_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            while client.write_all(&[0; 4096]).is_ok() {}
        });
        // On a busy machine, the other thread may not send anything for some milliseconds.
        let (minute, timeout) = (Duration::from_mins(1), Duration::from_millis(20));
        let stop = Interrupt::default();
        let mut socket = dial("127.0.0.1", port, minute, timeout, &stop).unwrap();
        socket.set_deadline(10);
        let end = Instant::now() + minute;
        let error = loop {
            if let Err(error) = socket.read(&mut [0; 1]) {
                break error;
            }
            assert!(Instant::now() < end, "the deadline has no effect");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        socket.clear_deadline();
        assert_eq!(socket.read(&mut [0; 1]).unwrap(), 1);
        drop(socket);
        server.join().unwrap();
    }
}
