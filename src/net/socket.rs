//! A connection on which waiting ends with a timeout or a signal.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};

use crate::sys::{
    interrupt::{Interrupt, Wake},
    process::ConnectedProgram,
};

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

/// The stream of a connection. It does not block.
#[derive(Debug)]
pub(super) enum Wire {
    /// TCP to the server.
    Tcp(TcpStream),
    /// TCP to a proxy, which is connected to the server.
    Proxied(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// A program that is connected to the server.
    Program(Box<ConnectedProgram>),
}

impl Wire {
    /// Prepares the stream for polling.
    fn set_up(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) | Self::Proxied(tcp) => {
                tcp.set_nodelay(true)?;
                tcp.set_nonblocking(true)
            }
            Self::Unix(unix) => unix.set_nonblocking(true),
            Self::Program(_) => Ok(()),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) | Self::Proxied(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
            Self::Program(program) => program.as_fd(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) | Self::Proxied(tcp) => tcp.read(buffer),
            Self::Unix(unix) => unix.read(buffer),
            Self::Program(program) => program.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) | Self::Proxied(tcp) => tcp.write(bytes),
            Self::Unix(unix) => unix.write(bytes),
            Self::Program(program) => program.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection by TCP, by a Unix socket or by a program.
///
/// A read or write fails with [`ErrorKind::TimedOut`] if the peer was silent for the timeout, and
/// with [`ErrorKind::ConnectionAborted`] if a signal asked pouch to stop. It never fails with
/// [`ErrorKind::WouldBlock`].
#[derive(Debug)]
pub struct Socket {
    /// The stream, which does not block: all waiting is done by `stop`, below TLS.
    stream: Wire,
    timeout: Duration,
    /// The time after which reads and writes fail, even if the peer keeps sending.
    deadline: Option<Instant>,
    stop: Interrupt,
    last_error: LastError,
}

impl Socket {
    pub(super) fn new(stream: Wire, timeout: Duration, stop: Interrupt) -> io::Result<Self> {
        stream.set_up()?;
        Ok(Self {
            stream,
            timeout,
            deadline: None,
            stop,
            last_error: LastError::default(),
        })
    }

    /// Returns the server's address, or `None` if it is not known: only a proxy or a program knows
    /// it, or the connection is closed.
    pub fn peer(&self) -> Option<SocketAddr> {
        match &self.stream {
            Wire::Tcp(tcp) => tcp.peer_addr().ok(),
            Wire::Proxied(_) | Wire::Unix(_) | Wire::Program(_) => None,
        }
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

    /// Returns whether the server sends nothing for `time`.
    ///
    /// # Errors
    /// The wait fails.
    pub fn is_silent_for(&self, time: Duration) -> io::Result<bool> {
        let file = PollFd::new(&self.stream, PollFlags::IN);
        let wake = self.stop.wait([file], Some(Instant::now() + time))?;
        Ok(matches!(wake, Wake::Deadline))
    }

    /// Returns the shared record of the last error.
    pub fn last_error(&self) -> LastError {
        self.last_error.clone()
    }

    /// Repeats `step` until it does not block.
    fn complete<T>(
        &mut self,
        ready: PollFlags,
        mut step: impl FnMut(&mut Wire) -> io::Result<T>,
    ) -> io::Result<T> {
        // from the beginning: what a program writes to standard error is not data
        let silence = Instant::now() + self.timeout;
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
                    if let Err(error) = self.wait(ready, silence) {
                        break error;
                    }
                }
                Err(error) => break error,
                done => return done,
            }
        };
        Err(self.failed(error))
    }

    /// Records an error, and returns it with the explanation of the program, if there is one.
    fn failed(&mut self, error: io::Error) -> io::Error {
        let error = match &mut self.stream {
            Wire::Program(program) if self.stop.signal().is_none() => program.explain(&error),
            _ => error,
        };
        self.last_error.set(&error);
        error
    }

    /// Waits until the stream can be read or written, or a program has written to standard error.
    ///
    /// # Errors
    /// There is no data until `silence`; or a signal was received.
    fn wait(&mut self, ready: PollFlags, silence: Instant) -> io::Result<()> {
        let until = self
            .deadline
            .map_or(silence, |deadline| deadline.min(silence));
        let file = PollFd::new(&self.stream, ready);
        let stderr = match &self.stream {
            Wire::Program(program) => program.stderr(),
            _ => None,
        };
        let files = [Some(file), stderr].into_iter().flatten();
        match self.stop.wait(files, Some(until))? {
            Wake::Ready => {
                if let Wire::Program(program) = &mut self.stream {
                    program.read_stderr();
                }
                Ok(())
            }
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

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.complete(PollFlags::IN, |stream| stream.read(buffer))? {
            // the program knows why
            0 if matches!(self.stream, Wire::Program(_)) => {
                Err(self.failed(ErrorKind::UnexpectedEof.into()))
            }
            count => Ok(count),
        }
    }
}

impl Write for Socket {
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
