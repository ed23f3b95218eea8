//! The listening socket, and a thread for each connection.

use std::{
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::{
    conversation::{Shared, converse},
    state::State,
};

/// Accepts connections until it is dropped; then it closes them and joins their threads.
#[derive(Debug)]
pub(super) struct Listener {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens on 127.0.0.1, on a port that the kernel chooses.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let stopping = Arc::new(AtomicBool::new(false));
        Self {
            address: listener
                .local_addr()
                .expect("a bound socket has an address"),
            thread: Some(thread::spawn({
                let stopping = Arc::clone(&stopping);
                move || accept_all(&listener, &shared, &stopping)
            })),
            stopping,
        }
    }

    /// Returns the port.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // A connection wakes the thread from `accept`. If it cannot be made, the thread has already
        // ended.
        let _ = TcpStream::connect(self.address);
        let outcome = self.thread.take().map_or(Ok(()), JoinHandle::join);
        if let Err(cause) = outcome
            && !thread::panicking()
        {
            panic::resume_unwind(cause);
        }
    }
}

/// An open connection, with a second handle of its socket to close it from another thread.
struct Guest {
    socket: TcpStream,
    thread: JoinHandle<()>,
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, stopping: &AtomicBool) {
    let mut guests: Vec<Guest> = Vec::new();
    for stream in listener.incoming() {
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        // The client may have closed the connection before it was accepted.
        let Ok((stream, socket)) = stream.and_then(|stream| Ok((stream.try_clone()?, stream)))
        else {
            continue;
        };
        for done in guests.extract_if(.., |guest| guest.thread.is_finished()) {
            done.join();
        }
        // Here and not in the thread, so that sessions are numbered in the order of connections.
        let (id, greeting) = shared.change(State::enter);
        let shared = Arc::clone(shared);
        let thread = thread::spawn(move || converse(&shared, stream, id, greeting));
        guests.push(Guest { socket, thread });
    }
    for guest in &guests {
        // Blocked reads and writes return now. The connection may have ended already.
        let _ = guest.socket.shutdown(Shutdown::Both);
    }
    guests.into_iter().for_each(Guest::join);
}

impl Guest {
    fn join(self) {
        if let Err(cause) = self.thread.join() {
            panic::resume_unwind(cause);
        }
    }
}
