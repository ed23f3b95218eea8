//! A stub resolver: asks the name servers of the system over UDP, and over TCP if an answer is
//! long.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use super::packet::{Record, RecordType, Reply, decode, encode};

/// The time limit for a name server.
const TIME_LIMIT: Duration = Duration::from_secs(3);

/// The time after which a question is sent again: UDP may lose it.
const AGAIN: Duration = Duration::from_secs(1);

/// The most name servers that are asked.
const MOST_SERVERS: usize = 2;

/// The port of name servers.
const PORT: u16 = 53;

/// Asks name servers.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Creates a resolver for the name servers in the text of a resolv.conf(5). Without any, that
    /// of this machine is asked.
    pub fn from_config(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok())?
        });
        let mut servers: Vec<_> = lines
            .take(MOST_SERVERS)
            .map(|address| SocketAddr::new(address, PORT))
            .collect();
        if servers.is_empty() {
            servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        Self { servers }
    }

    /// Creates a resolver for one name server.
    pub fn at(server: SocketAddr) -> Self {
        Self {
            servers: vec![server],
        }
    }

    /// Looks up records. Returns none if the name does not exist or has none of this type.
    ///
    /// # Errors
    /// No name server answered. The error is a clause.
    pub fn look_up(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, String> {
        let mut reason = "no name server is configured".to_owned();
        for server in &self.servers {
            match ask(*server, name, kind) {
                Ok(Some(records)) => return Ok(records),
                Ok(None) => reason = format!("the name server {} failed", server.ip()),
                Err(error) => reason = unanswered(*server, &error),
            }
        }
        Err(reason)
    }
}

fn unanswered(server: SocketAddr, error: &io::Error) -> String {
    let server = server.ip();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let seconds = TIME_LIMIT.as_secs();
            format!("no answer from the name server {server} within {seconds} s")
        }
        _ => format!("no answer from the name server {server}"),
    }
}

/// Asks one name server. Returns `None` if it cannot answer.
fn ask(server: SocketAddr, name: &str, kind: RecordType) -> io::Result<Option<Vec<Record>>> {
    let mut id = [0; 2];
    openssl::rand::rand_bytes(&mut id)?;
    let id = u16::from_be_bytes(id);
    let Some(question) = encode(id, name, kind) else {
        // a name that is too long does not exist
        return Ok(Some(Vec::new()));
    };
    let deadline = Instant::now() + TIME_LIMIT;
    let is_answer = |bytes: &[u8]| decode(bytes, id, name, kind);
    let mut reply = by_udp(server, &question, deadline, &is_answer)?;
    if reply == Reply::Truncated {
        let bytes = by_tcp(server, &question, deadline)?;
        reply = is_answer(&bytes).unwrap_or(Reply::Failed);
    }
    Ok(match reply {
        Reply::Records(records) => Some(records),
        Reply::Truncated | Reply::Failed => None,
    })
}

/// Asks over UDP, from a port that the system chooses at random. The system passes on only packets
/// from the server's address and port; other answers than to this question are ignored.
fn by_udp(
    server: SocketAddr,
    question: &[u8],
    deadline: Instant,
    is_answer: &dyn Fn(&[u8]) -> Option<Reply>,
) -> io::Result<Reply> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let mut buffer = [0; 4096];
    let mut resend = Instant::now();
    loop {
        let now = Instant::now();
        if now >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if now >= resend {
            socket.send(question)?;
            resend = now + AGAIN;
        }
        let wait = deadline.min(resend).saturating_duration_since(now);
        socket.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        match socket.recv(&mut buffer) {
            Ok(length) => {
                if let Some(reply) = is_answer(&buffer[..length]) {
                    return Ok(reply);
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Asks over TCP (RFC 7766 §8). Returns the answer.
fn by_tcp(server: SocketAddr, question: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        left.max(Duration::from_millis(1))
    };
    let mut stream = TcpStream::connect_timeout(&server, left())?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat())?;
    let mut read_exact = |buffer: &mut [u8]| {
        let mut filled = 0;
        while filled < buffer.len() {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left()))?;
            match stream.read(&mut buffer[filled..])? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                bytes => filled += bytes,
            }
        }
        Ok(())
    };
    let mut length = [0; 2];
    read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_the_config() {
        let config = "# resolv.conf\nsearch example.org\nnameserver 192.0.2.1\n\
                      nameserver fe80::1%eth0\n nameserver\t2001:db8::1 # second\n\
                      nameserver 192.0.2.3\noptions edns0\n";
        let resolver = Resolver::from_config(config);
        let shown: Vec<_> = resolver.servers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["192.0.2.1:53", "[2001:db8::1]:53"]);
        let default = Resolver::from_config("");
        assert_eq!(default.servers[0].to_string(), "127.0.0.1:53");
    }
}
