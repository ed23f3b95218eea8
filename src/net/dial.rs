//! Connecting to a server, by TCP, through a proxy or by a program, within one time limit.

use std::{
    io::{self, ErrorKind, PipeReader},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};

use super::{
    proxy::{self, ProxyAccess},
    socket::{Socket, Wire},
    tcp::{self, timed_out},
};
use crate::{
    error::{Error, Kind, Result},
    sys::{
        interrupt::{Interrupt, Wake},
        process::{ConnectedProgram, program, start_hint},
    },
};

/// How to reach a server.
#[derive(Clone, Default)]
pub enum Route {
    /// By TCP.
    #[default]
    Direct,
    /// Through a proxy, which resolves the host name.
    Proxy(ProxyAccess),
    /// Through a program whose standard input and output are the connection: the command, and
    /// variables that are added to its environment.
    Program(Vec<String>, Vec<(&'static str, String)>),
}

/// Looks up `host` and connects to one of its addresses, tried in the system's order of preference.
///
/// All of that together takes at most `budget`. No later read or write waits longer than `timeout`.
///
/// # Errors
/// [`Kind::NoHost`]; [`Kind::Offline`]; [`Kind::Refused`];
/// [`Kind::TimedOut`]; [`Kind::Stopped`] by a signal.
pub fn dial(
    host: &str,
    port: u16,
    budget: Duration,
    timeout: Duration,
    stop: &Interrupt,
) -> Result<Socket> {
    PendingConnection::begin((host, port), &Route::Direct, budget, stop).wait(timeout, stop)
}

/// Connects to the Unix socket at `path` within `budget`. No later read or write waits longer than
/// `timeout`.
///
/// # Errors
/// [`Kind::Refused`]; [`Kind::TimedOut`]; [`Kind::Stopped`] by a
/// signal.
pub fn dial_local(
    path: &Path,
    budget: Duration,
    timeout: Duration,
    stop: &Interrupt,
) -> Result<Socket> {
    let shown = path.display().to_string();
    let path = path.to_owned();
    let pending = PendingConnection::start(&shown, budget, move || {
        UnixStream::connect(&path)
            .map(Wire::Unix)
            .map_err(|error| socket_refused(&path, &error))
    });
    pending.wait(timeout, stop)
}

/// Returns the error about a Unix socket. It is transient even if the socket does not exist, since
/// a server that restarts removes it.
fn socket_refused(path: &Path, error: &io::Error) -> Error {
    let shown = path.display();
    let hint = match error.kind() {
        ErrorKind::NotFound => {
            format!("check that the server is running, and that its socket is {shown}")
        }
        ErrorKind::PermissionDenied => {
            format!("allow this user to write to {shown}, for example by its group")
        }
        _ => "check that the server is running".to_owned(),
    };
    Error::new(Kind::Refused, format!("cannot connect to {shown}"))
        .with_fact(error.to_string())
        .with_hint(hint)
}

fn lost(host: &str, error: &io::Error) -> Error {
    Error::new(
        Kind::ConnectionLost,
        format!("the connection to {host} was lost"),
    )
    .with_fact(error.to_string())
}

/// How long after its time limit a connecting thread may still report more than a time-out.
const REPORT_TIME: Duration = Duration::from_millis(200);

/// A connection that is being established.
///
/// Neither the look-up of a name nor a connect can be interrupted. They run in a thread, which is
/// abandoned if a signal comes. A program is started at once, and ended with this value.
#[derive(Debug)]
pub struct PendingConnection {
    /// What is connected to, for messages.
    shown: String,
    budget: Duration,
    deadline: Instant,
    attempt: Result<Attempt>,
}

/// An attempt to connect.
#[derive(Debug)]
enum Attempt {
    /// It has succeeded.
    Connected(Wire),
    /// It is carried out by a thread.
    Thread(ConnectingThread),
}

/// A thread that connects.
#[derive(Debug)]
struct ConnectingThread {
    result: mpsc::Receiver<Result<Wire>>,
    /// A pipe whose other end is closed once the result was sent: a channel cannot be polled.
    sent: PipeReader,
}

impl PendingConnection {
    /// Starts to connect to a host and a port, as [`dial`] does, and returns immediately. The
    /// result is an error if that takes longer than `budget`.
    pub fn begin(
        (host, port): (&str, u16),
        route: &Route,
        budget: Duration,
        stop: &Interrupt,
    ) -> Self {
        let name = host.to_owned();
        match route {
            Route::Direct => Self::start(host, budget, move || {
                tcp::connect(&name, port, Instant::now() + budget).map(Wire::Tcp)
            }),
            Route::Proxy(access) => {
                let shown = format!("{host} through the proxy {}", access.server.address());
                let access = access.clone();
                Self::start(&shown, budget, move || {
                    proxy::connect(&access, (&name, port), Instant::now() + budget)
                        .map(Wire::Proxied)
                })
            }
            Route::Program(argv, environment) => Self {
                shown: host.to_owned(),
                budget,
                deadline: Instant::now(),
                attempt: start_program(argv, environment, stop).map(Attempt::Connected),
            },
        }
    }

    fn start(
        shown: &str,
        budget: Duration,
        connect: impl FnOnce() -> Result<Wire> + Send + 'static,
    ) -> Self {
        Self {
            shown: shown.to_owned(),
            budget,
            deadline: Instant::now() + budget + REPORT_TIME,
            attempt: ConnectingThread::start(connect).map(Attempt::Thread),
        }
    }

    /// Waits until the connection is established. No later read or write waits longer than
    /// `timeout`.
    ///
    /// # Errors
    /// As for [`dial`]; those of the proxy ([`ProxyAccess`]); or [`Kind::Config`] if the program
    /// cannot be started.
    pub fn wait(self, timeout: Duration, stop: &Interrupt) -> Result<Socket> {
        let shown = self.shown.clone();
        Socket::new(self.stream(stop)?, timeout, stop.clone()).map_err(|error| lost(&shown, &error))
    }

    fn stream(self, stop: &Interrupt) -> Result<Wire> {
        let ConnectingThread { result, sent } = match self.attempt? {
            Attempt::Connected(wire) => return stop.check().map(|()| wire),
            Attempt::Thread(thread) => thread,
        };
        let sent = PollFd::new(&sent, PollFlags::IN);
        match stop.wait([sent], Some(self.deadline)) {
            Ok(Wake::Deadline) => return Err(timed_out(&self.shown, self.budget)),
            Ok(Wake::Ready | Wake::Signal) => stop.check()?,
            Err(error) => return Err(cannot_wait(&error)),
        }
        result
            .recv()
            .unwrap_or_else(|_| Err(Error::new(Kind::Bug, "the connecting thread ended")))
    }
}

impl ConnectingThread {
    fn start(connect: impl FnOnce() -> Result<Wire> + Send + 'static) -> Result<Self> {
        let (sender, result) = mpsc::channel();
        let (sent, writer) = io::pipe().map_err(|error| cannot_wait(&error))?;
        let work = move || {
            // the receiver may have given up
            let _ = sender.send(connect());
            drop(writer);
        };
        thread::Builder::new()
            .spawn(work)
            .map_err(|error| Error::thread(&error))?;
        Ok(Self { result, sent })
    }
}

/// Starts the program of a connection.
fn start_program(
    argv: &[String],
    environment: &[(&'static str, String)],
    stop: &Interrupt,
) -> Result<Wire> {
    let started = ConnectedProgram::start(argv, environment, stop);
    let connected = started.map(|program| Wire::Program(Box::new(program)));
    connected.map_err(|error| {
        let what = format!("cannot run the `connect-command` `{}`", program(argv));
        let usual = "write `connect-command` as a list: [\"ssh\", \"-W\", \"%h:%p\", \"gate\"]";
        Error::new(Kind::Config, what)
            .with_fact(error.to_string())
            .with_hint(start_hint(argv, &error, usual))
    })
}

fn cannot_wait(error: &io::Error) -> Error {
    Error::new(Kind::Io, "cannot wait for a connection").with_fact(error.to_string())
}
