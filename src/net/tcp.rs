//! A TCP connection whose waits end: by the server's silence, or by a signal.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};

use crate::{
    error::{Error, Kind, Result},
    sys::interrupt::{Interrupt, LOOK},
    text::count,
};

/// The last error of a socket, kept beside the TLS that blurs it.
#[derive(Clone, Debug, Default)]
pub struct LastError(Arc<Mutex<Option<io::Error>>>);

impl LastError {
    /// Takes the error out.
    pub fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, error: &io::Error) {
        let copy = io::Error::new(error.kind(), error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
    }
}

/// A connection, by TCP or a Unix socket. A read or write fails with [`ErrorKind::TimedOut`] when
/// the other side was silent for the time-out, and with [`ErrorKind::ConnectionAborted`] when pouch
/// was told to stop.
#[derive(Debug)]
pub struct Socket<S = TcpStream> {
    stream: S,
    timeout: Duration,
    /// When all waiting has to end, whatever comes.
    deadline: Option<Instant>,
    stop: Interrupt,
    captured: LastError,
}

// Waits are cut into slices, below TLS, to look at the clock and for signals.

impl Socket<UnixStream> {
    fn local(stream: UnixStream, timeout: Duration, stop: Interrupt) -> io::Result<Self> {
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
        Ok(Self {
            stream,
            timeout,
            deadline: None,
            stop,
            captured: LastError::default(),
        })
    }
}

impl Socket {
    fn new(stream: TcpStream, timeout: Duration, stop: Interrupt) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(LOOK))?;
        Ok(Self {
            stream,
            timeout,
            deadline: None,
            stop,
            captured: LastError::default(),
        })
    }

    /// The server's address.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// From now on nothing is read or written after ten times the time-out, until that is
    /// [taken back](Self::take_time).
    pub fn hurry(&mut self) {
        self.deadline = Some(Instant::now() + self.timeout.saturating_mul(10));
    }

    /// Only silence ends a wait again.
    pub fn take_time(&mut self) {
        self.deadline = None;
    }

    /// Where the socket's own errors are kept.
    pub fn captured(&self) -> LastError {
        self.captured.clone()
    }
}

impl<S> Socket<S> {
    fn wait<T>(&mut self, mut step: impl FnMut(&mut S) -> io::Result<T>) -> io::Result<T> {
        let start = Instant::now();
        let error = loop {
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
                Ok(done) => return Ok(done),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => break error,
            }
            if self.stop.signal().is_some() {
                break io::Error::new(ErrorKind::ConnectionAborted, "stopped by a signal");
            }
            if start.elapsed() >= self.timeout {
                let text = format!(
                    "{} s of silence; `timeout` sets how long to wait",
                    self.timeout.as_secs()
                );
                break io::Error::new(ErrorKind::TimedOut, text);
            }
        };
        self.captured.keep(&error);
        Err(error)
    }
}

impl<S: Read> Read for Socket<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|stream| stream.read(buffer))
    }
}

impl<S: Write> Write for Socket<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.wait(|stream| stream.write(octets))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Looks the host up and connects to one of its addresses, in the order that the system gives.
/// All of that together takes `budget` at most; afterwards no wait takes longer than `timeout`.
///
/// # Errors
/// [`Kind::NoHost`], [`Kind::Offline`], [`Kind::Unavailable`] where nobody listens,
/// [`Kind::TimedOut`] where time was up, or a signal came.
pub fn dial(
    host: &str,
    port: u16,
    budget: Duration,
    timeout: Duration,
    stop: &Interrupt,
) -> Result<Socket> {
    PendingConnection::begin(host, port, budget).wait(timeout, stop)
}

/// Connects to the Unix socket at `path`, within `budget`; afterwards no wait takes longer than
/// `timeout`.
///
/// # Errors
/// [`Kind::Unavailable`] where nobody listens, [`Kind::TimedOut`] where time was up, or a signal
/// came.
pub fn dial_local(
    path: &Path,
    budget: Duration,
    timeout: Duration,
    stop: &Interrupt,
) -> Result<Socket<UnixStream>> {
    let shown = path.display().to_string();
    let path = path.to_owned();
    let dialing = PendingConnection::beside(&shown, budget, move || {
        UnixStream::connect(&path).map_err(|error| {
            Error::new(
                Kind::Unavailable,
                format!("{} refused the connection", path.display()),
            )
            .with_fact(error.to_string())
        })
    });
    Socket::local(dialing.stream(stop)?, timeout, stop.clone())
        .map_err(|error| lost(&shown, &error))
}

fn lost(host: &str, error: &io::Error) -> Error {
    Error::new(
        Kind::ConnectionLost,
        format!("the connection to {host} was lost"),
    )
    .with_fact(error.to_string())
}

/// A connection that is being made. Neither look-up nor connect can be interrupted: they run beside
/// whatever comes next, and are left alone there when a signal comes.
#[derive(Debug)]
pub struct PendingConnection<S = TcpStream> {
    host: String,
    budget: Duration,
    end: Instant,
    made: mpsc::Receiver<Result<S>>,
}

impl PendingConnection {
    /// Begins to do what [`dial`] does.
    pub fn begin(host: &str, port: u16, budget: Duration) -> Self {
        let name = host.to_owned();
        Self::beside(host, budget, move || {
            connect(&name, port, Instant::now() + budget)
        })
    }

    /// The connection, once it is made.
    ///
    /// # Errors
    /// As for [`dial`].
    pub fn wait(self, timeout: Duration, stop: &Interrupt) -> Result<Socket> {
        Socket::new(self.stream(stop)?, timeout, stop.clone())
            .map_err(|error| lost(&self.host, &error))
    }
}

impl<S: Send + 'static> PendingConnection<S> {
    fn beside(
        host: &str,
        budget: Duration,
        connect: impl FnOnce() -> Result<S> + Send + 'static,
    ) -> Self {
        let (sender, made) = mpsc::channel();
        let dialing = Self {
            host: host.to_owned(),
            budget,
            end: Instant::now() + budget + LOOK,
            made,
        };
        let failed = sender.clone();
        let work = move || {
            // nobody may be waiting any more
            let _ = sender.send(connect());
        };
        if let Err(error) = thread::Builder::new().spawn(work) {
            let _ = failed.send(Err(Error::thread(&error)));
        }
        dialing
    }

    fn stream(&self, stop: &Interrupt) -> Result<S> {
        loop {
            match self.made.recv_timeout(LOOK) {
                Ok(result) => return result,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Kind::Bug, "the connecting thread ended"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    stop.check()?;
                    if Instant::now() >= self.end {
                        return Err(timed_out(&self.host, self.budget));
                    }
                }
            }
        }
    }
}

fn timed_out(host: &str, budget: Duration) -> Error {
    // a part of it may be gone already
    let seconds = budget.as_secs_f64().round();
    Error::new(
        Kind::TimedOut,
        format!("connecting to {host} timed out after {seconds} s"),
    )
}

fn connect(host: &str, port: u16, deadline: Instant) -> Result<TcpStream> {
    let budget = deadline.saturating_duration_since(Instant::now());
    let addresses = resolve(host, port)?;
    let mut failures = Vec::new();
    let mut any_timed_out = false;
    let mut unreachable = 0;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            any_timed_out = true;
            failures.push(format!("{address}: not tried: connect-timeout used up"));
            continue;
        }
        match TcpStream::connect_timeout(address, share(left, addresses.len() - tried)) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => {
                any_timed_out |= error.kind() == ErrorKind::TimedOut;
                if matches!(
                    error.kind(),
                    ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
                ) {
                    unreachable += 1;
                }
                failures.push(format!("{address}: {error}"));
            }
        }
    }
    let error = if addresses.is_empty() {
        Error::new(Kind::NoHost, format!("{host} has no address"))
    } else if unreachable == addresses.len() {
        Error::new(
            Kind::TimedOut,
            format!("cannot reach {host}: the network is unreachable"),
        )
    } else if any_timed_out {
        timed_out(host, budget).with_fact(format!(
            "{} tried",
            count(addresses.len() as u64, "address")
        ))
    } else {
        Error::new(
            Kind::Unavailable,
            format!("{host} refused the connection on port {port}"),
        )
        .with_hint(
            "check `host`, `port` and `tls`; 995 is for tls = \"implicit\", 110 for \"starttls\"",
        )
    };
    Err(failures.into_iter().fold(error, Error::with_fact))
}

/// Returns the addresses of `host`, in the order in which the system prefers them.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found =
        getaddrinfo(Some(host), None, Some(hints)).map_err(|error| unresolved(host, error))?;
    Ok(found
        .flatten()
        .map(|found| {
            let mut address = found.sockaddr;
            address.set_port(port);
            address
        })
        .collect())
}

/// Returns the error about a name that was not resolved. The resolver's code tells whether the name
/// is wrong: `EAI_AGAIN` means that no name server answered, `EAI_SYSTEM` and `EAI_MEMORY` that this
/// machine lacks something.
fn unresolved(host: &str, error: LookupError) -> Error {
    let temporary = matches!(
        error.kind(),
        LookupErrorKind::Again | LookupErrorKind::System | LookupErrorKind::Memory
    );
    let fact = io::Error::from(error).to_string();
    if temporary {
        Error::new(Kind::Offline, format!("temporary failure resolving {host}")).with_fact(fact)
    } else {
        Error::new(Kind::NoHost, format!("host {host} not found"))
            .with_fact(fact)
            .with_hint("check `host` in the config")
    }
}

/// The longest a single address may take while others wait for their turn.
fn share(left: Duration, addresses_left: usize) -> Duration {
    // half of what is left for each but the last: a dead first address (IPv6 without a route)
    // leaves enough for the rest, a slow one gets more than an equal share
    if addresses_left > 1 { left / 2 } else { left }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// The codes of glibc and musl.
    const EAI_NONAME: i32 = -2;
    const EAI_AGAIN: i32 = -3;
    const EAI_NODATA: i32 = -5;
    const EAI_SYSTEM: i32 = -11;

    #[test]
    fn resolver_errors_are_told_apart_by_code() {
        for (code, kind) in [
            (EAI_AGAIN, Kind::Offline),
            (EAI_SYSTEM, Kind::Offline),
            (EAI_NONAME, Kind::NoHost),
            (EAI_NODATA, Kind::NoHost),
        ] {
            let error = unresolved("pop.example.org", LookupError::new(code));
            assert_eq!(error.kind(), kind, "{code}");
        }
    }

    #[test]
    fn invalid_names_are_not_found() {
        for name in ["-invalid-", "two words", "nul\0"] {
            assert_eq!(resolve(name, 995).unwrap_err().kind(), Kind::NoHost);
        }
    }

    #[test]
    fn addresses_need_no_resolver() {
        for (host, address) in [("127.0.0.1", "127.0.0.1:995"), ("::1", "[::1]:995")] {
            assert_eq!(resolve(host, 995).unwrap(), [address.parse().unwrap()]);
        }
    }

    #[test]
    fn hurried_reads_end_though_bytes_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let mut client = listener.accept().unwrap().0;
            while client.write_all(&[0; 4096]).is_ok() {}
        });
        let (minute, timeout) = (Duration::from_mins(1), Duration::from_millis(1));
        let stop = Interrupt::default();
        let mut socket = dial("127.0.0.1", port, minute, timeout, &stop).unwrap();
        socket.hurry();
        let end = Instant::now() + minute;
        let error = loop {
            if let Err(error) = socket.read(&mut [0; 1]) {
                break error;
            }
            assert!(Instant::now() < end, "it reads without an end");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        socket.take_time();
        assert_eq!(socket.read(&mut [0; 1]).unwrap(), 1);
        drop(socket);
        server.join().unwrap();
    }
}
