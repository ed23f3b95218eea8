//! A proxy that delays what passes through it: latency, and no limit of bandwidth, no loss.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// A line to a local port. It lives as long as the process.
#[derive(Debug)]
pub struct SlowLine {
    pub port: u16,
}

impl SlowLine {
    /// Opens a line to a local port whose round trip takes `round_trip`.
    pub fn open(to: u16, round_trip: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let one_way = round_trip / 2;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || carry(&client, to, one_way));
            }
        });
        Ok(Self { port })
    }
}

fn carry(client: &TcpStream, to: u16, one_way: Duration) -> io::Result<()> {
    // A real handshake takes a round trip before the client may speak; here the system answered at
    // once, so that the greeting has to come two round trips after the call.
    wait_until(Instant::now() + one_way * 3);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, to))?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    let (up, down) = (
        (client.try_clone()?, server.try_clone()?),
        (server, client.try_clone()?),
    );
    thread::spawn(move || pass(up.0, up.1, one_way));
    pass(down.0, down.1, one_way);
    Ok(())
}

/// Passes on what `from` says, each octet so much later, and its end.
fn pass(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
    // What is on its way is held to what a fast line of this length holds.
    let waiting = Arc::new(AtomicU64::new(0));
    let arrived = Arc::clone(&waiting);
    let writer = thread::spawn(move || {
        for (due, octets) in receive {
            wait_until(due);
            arrived.fetch_sub(octets.len() as u64, Ordering::Relaxed);
            if octets.is_empty() || to.write_all(&octets).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        waiting.fetch_add(read as u64, Ordering::Relaxed);
        if send
            .send((Instant::now() + one_way, buffer[..read].to_vec()))
            .is_err()
            || read == 0
        {
            break;
        }
        while waiting.load(Ordering::Relaxed) > 64 << 20 && !writer.is_finished() {
            wait_until(Instant::now() + Duration::from_millis(1));
        }
    }
    let _ = writer.join();
    let _ = from.shutdown(Shutdown::Read);
}

#[expect(clippy::disallowed_methods, reason = "delay is what it is for")]
fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}
