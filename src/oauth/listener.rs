//! The listener for the redirect: a server on this machine for one request of the browser.
//!
//! Each connection has its own thread and a short time limit, since browsers open connections in
//! advance on which they send nothing. Any program of this machine can connect: a request counts
//! only if it has the `state` that this sign-in has sent.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::{IpAddr, Ipv6Addr, Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags};
use url::{Host, Url};

use super::response::{CodeResponse, Expected, has_response};
use crate::{
    config::oauth::loopback_address,
    error::{Error, Kind, Result},
};

/// The time limit for a request.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The largest request head that is read, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// The maximum number of connections at the same time. Further ones are closed.
const MAX_CONNECTIONS: usize = 16;

/// The listening sockets, and what was received.
pub(super) struct Listener {
    sockets: Vec<TcpListener>,
    /// The redirect URI with the port.
    redirect: Url,
    expected: Arc<Expected>,
    connections: Arc<AtomicUsize>,
    /// The responses that had the right state, and a byte in the pipe for each.
    responses: Receiver<CodeResponse>,
    sender: Sender<CodeResponse>,
    wake: PipeReader,
    waker: Arc<PipeWriter>,
}

impl Listener {
    /// Listens for `redirect`, on its port, else on `port` or a free one.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the port is in use.
    pub(super) fn new(redirect: &Url, port: Option<u16>, expected: Expected) -> Result<Self> {
        let port = port.or(redirect.port()).unwrap_or(0);
        let (sockets, port) = listen(redirect, port).map_err(|error| {
            Error::new(Kind::Unavailable, format!("cannot listen on port {port}"))
                .with_fact(error.to_string())
                .with_hint("choose another port with `--port`")
        })?;
        let mut redirect = redirect.clone();
        let _ = redirect.set_port(Some(port));
        let (wake, waker) = io::pipe().map_err(|error| cannot_listen(&error))?;
        let (sender, responses) = channel();
        Ok(Self {
            sockets,
            redirect,
            expected: Arc::new(expected),
            connections: Arc::default(),
            responses,
            sender,
            wake,
            waker: Arc::new(waker),
        })
    }

    /// Returns the redirect URI with its port.
    pub(super) fn redirect(&self) -> &Url {
        &self.redirect
    }

    /// Returns what the expected response has to have.
    pub(super) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// Returns the files to wait for before [`serve`](Self::serve).
    pub(super) fn files(&self) -> impl Iterator<Item = PollFd<'_>> {
        let sockets = self.sockets.iter().map(AsFd::as_fd);
        let files = sockets.chain([self.wake.as_fd()]);
        files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN))
    }

    /// Accepts the waiting connections. Returns the response, if one has arrived.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn serve(&self) -> Result<Option<CodeResponse>> {
        for socket in &self.sockets {
            // the browser has closed a connection that fails
            while let Ok((stream, _)) = socket.accept() {
                self.serve_one(stream)?;
            }
        }
        Ok(self.responses.try_recv().ok())
    }

    fn serve_one(&self, stream: TcpStream) -> Result<()> {
        if self.connections.load(Ordering::SeqCst) >= MAX_CONNECTIONS {
            return Ok(());
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        let connections = Arc::clone(&self.connections);
        let (expected, sender) = (Arc::clone(&self.expected), self.sender.clone());
        let waker = Arc::clone(&self.waker);
        let work = move || {
            if let Some(response) = answer(stream, &expected) {
                // the main thread may have finished already
                let _ = sender.send(response);
                let _ = (&*waker).write_all(b"x");
            }
            connections.fetch_sub(1, Ordering::SeqCst);
        };
        let started = thread::Builder::new().spawn(work);
        started.map(drop).map_err(|error| Error::thread(&error))
    }
}

fn cannot_listen(error: &io::Error) -> Error {
    Error::new(Kind::Io, "cannot listen for the browser").with_fact(error.to_string())
}

/// Listens on the address of `redirect`. For `localhost` that is 127.0.0.1, and `::1` if the
/// machine has it, because a browser may use either.
fn listen(redirect: &Url, port: u16) -> io::Result<(Vec<TcpListener>, u16)> {
    let first = TcpListener::bind((loopback_address(redirect), port))?;
    let port = first.local_addr()?.port();
    let mut sockets = vec![first];
    if matches!(redirect.host(), Some(Host::Domain(_))) {
        sockets.extend(TcpListener::bind((IpAddr::from(Ipv6Addr::LOCALHOST), port)));
    }
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    Ok((sockets, port))
}

/// Reads a request, and answers it. Returns the response of the issuer, if the request has it.
fn answer(mut stream: TcpStream, expected: &Expected) -> Option<CodeResponse> {
    stream.set_nonblocking(false).ok()?;
    let head = read_head(&mut stream)?;
    let line = head.lines().next()?;
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    let base = Url::parse("http://localhost/").ok()?;
    let url = base.join(target).ok()?;
    let response = expected.read(&url);
    let (status, text) = match &response {
        Some(CodeResponse::Code(_)) => (
            "200 OK",
            "The terminal shows whether pouch is signed in. You can close this window.",
        ),
        Some(CodeResponse::Refused(_)) => (
            "200 OK",
            "The provider refused the sign-in; the terminal shows why. You can close this window.",
        ),
        None if has_response(&url) => (
            "400 Bad Request",
            "This address belongs to another sign-in.",
        ),
        None => ("404 Not Found", "There is nothing here."),
    };
    let page = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{text}",
        text.len(),
    );
    // the browser's page does not matter
    let _ = stream.write_all(page.as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    response
}

/// Reads the head of a request. Returns `None` if it does not come in time.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let end = Instant::now() + REQUEST_TIME;
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > MAX_HEAD {
            return None;
        }
        stream.set_read_timeout(Some(left)).ok()?;
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(bytes) => head.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    String::from_utf8(head).ok()
}
