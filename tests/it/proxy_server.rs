//! A SOCKS 5 or HTTP proxy on loopback. Whatever name it is asked for, it connects to this machine.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What the proxy speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Socks5,
    Http,
}

/// A proxy, which runs until the test ends.
pub struct ProxyServer {
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl ProxyServer {
    /// Starts a proxy to the server on the port `to`. With `login`, it requires a user and a
    /// password, `user:password`.
    pub fn start(protocol: Protocol, to: u16, login: Option<&'static str>) -> Self {
        Self::forwarding(protocol, Some(to), login)
    }

    /// Starts a proxy that connects to the port for which it is asked.
    #[cfg(feature = "system-tests")]
    pub fn to_any_port(protocol: Protocol, login: Option<&'static str>) -> Self {
        Self::forwarding(protocol, None, login)
    }

    fn forwarding(protocol: Protocol, to: Option<u16>, login: Option<&'static str>) -> Self {
        Self::serving(move |client, log| match protocol {
            Protocol::Socks5 => socks5(client, to, login, log),
            Protocol::Http => http(client, to, login, log),
        })
    }

    /// Starts a proxy that sends these bytes to everyone, and then waits for the client to close
    /// the connection.
    pub fn sending(bytes: &'static [u8]) -> Self {
        Self::serving(move |mut client, _| {
            client.write_all(bytes)?;
            io::copy(&mut client, &mut io::sink()).map(drop)
        })
    }

    /// Starts a proxy that sends these bytes to everyone again and again.
    pub fn repeating(bytes: &'static [u8]) -> Self {
        Self::serving(move |mut client, _| {
            loop {
                client.write_all(bytes)?;
            }
        })
    }

    fn serving(
        serve: impl Fn(TcpStream, &Mutex<Vec<String>>) -> io::Result<()> + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let own = Arc::clone(&log);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (serve, log, client) = (serve.clone(), Arc::clone(&own), client.unwrap());
                // the client may close the connection at any time
                thread::spawn(move || serve(client, &log));
            }
        });
        Self { port, log }
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the hosts and ports that the proxy was asked for, and the logins.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_text(client: &mut TcpStream) -> io::Result<String> {
    let [length] = read(client)?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap())
}

fn socks5(
    mut client: TcpStream,
    to: Option<u16>,
    login: Option<&str>,
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let [version, count] = read(&mut client)?;
    assert_eq!(version, 5);
    let mut methods = vec![0; count.into()];
    client.read_exact(&mut methods)?;
    let method = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return client.write_all(&[5, 0xff]);
    }
    client.write_all(&[5, method])?;
    if let Some(login) = login {
        assert_eq!(read(&mut client)?, [1]);
        let user = read_text(&mut client)?;
        let given = format!("{user}:{}", read_text(&mut client)?);
        log.lock().unwrap().push(given.clone());
        client.write_all(&[1, u8::from(given != login)])?;
        if given != login {
            return Ok(());
        }
    }
    let [version, command, _, kind] = read(&mut client)?;
    assert_eq!((version, command), (5, 1));
    let host = match kind {
        1 => format!("{:?}", read::<4>(&mut client)?),
        3 => read_text(&mut client)?,
        _ => panic!("address of type {kind}"),
    };
    let port = u16::from_be_bytes(read(&mut client)?);
    log.lock().unwrap().push(format!("{host}:{port}"));
    let Ok(server) = TcpStream::connect(("127.0.0.1", to.unwrap_or(port))) else {
        return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    };
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    relay(client, server)
}

fn http(
    mut client: TcpStream,
    to: Option<u16>,
    login: Option<&str>,
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        header.extend(read::<1>(&mut client)?);
    }
    let header = String::from_utf8(header).unwrap();
    let target = header.strip_prefix("CONNECT ").unwrap();
    let target = target.split(' ').next().unwrap();
    if let Some(login) = login {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let wanted = STANDARD.encode(login);
        let given = header
            .lines()
            .find_map(|line| line.strip_prefix("Proxy-Authorization: Basic "));
        if given != Some(&wanted) {
            return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
        }
    }
    log.lock().unwrap().push(target.to_owned());
    let (_, port) = target.rsplit_once(':').unwrap();
    let to = to.unwrap_or_else(|| port.parse().unwrap());
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
        return client.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    };
    client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")?;
    relay(client, server)
}

/// Copies in both directions until both ends are closed.
fn relay(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from_server, to_client) = (server.try_clone()?, client.try_clone()?);
    let down = thread::spawn(move || copy(from_server, to_client));
    copy(client, server);
    down.join().unwrap();
    Ok(())
}
