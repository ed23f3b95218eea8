//! A proxy that adds latency, without loss or a bandwidth limit.

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

/// A proxy to a local port, which runs until the process exits.
#[derive(Debug)]
pub struct SlowLine {
    pub port: u16,
}

impl SlowLine {
    /// Starts a proxy to the local port `to` with the round-trip time `round_trip`.
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
    // A real TCP handshake takes a round trip before the client can send. Here the kernel completed
    // it at once, so that the greeting has to arrive two round trips after connect().
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

/// Copies `from` to `to` with a delay of `one_way`, including the end of the stream.
fn pass(mut from: TcpStream, mut to: TcpStream, one_way: Duration) {
    let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
    // The number of delayed bytes is limited to the capacity of a fast line with this latency.
    let waiting = Arc::new(AtomicU64::new(0));
    let arrived = Arc::clone(&waiting);
    let writer = thread::spawn(move || {
        for (due, bytes) in receive {
            wait_until(due);
            arrived.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
            if bytes.is_empty() || to.write_all(&bytes).is_err() {
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

#[expect(clippy::disallowed_methods, reason = "the proxy has to delay data")]
fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}
