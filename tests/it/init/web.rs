//! Web servers for documents, behind an HTTP proxy that leads every name to loopback.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use native_tls::{Identity, TlsAcceptor};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A response of a web server.
#[derive(Clone)]
pub enum Page {
    /// This document.
    Document(String),
    /// A redirect.
    Redirect(String),
    /// This status.
    Status(u16),
    /// A document of this many bytes.
    Huge(usize),
    /// A document that stops in the middle, without an end of the connection.
    Stalled,
    /// The connection stays silent.
    Silence,
    /// The response of an HTTP server on this port to a POST request for this path.
    #[cfg_attr(
        not(feature = "system-tests"),
        expect(dead_code, reason = "only dialogues sign in")
    )]
    Forward(u16, &'static str),
}

/// What the proxy does with the hosts of one test.
pub struct Web {
    port: u16,
    ca_pem: String,
    log: Arc<Mutex<Vec<String>>>,
}

/// Returns a document with the elements of POP3 servers: host, port and type of the socket.
pub fn document(servers: &[(&str, u16, &str)]) -> Page {
    let servers: Vec<_> = servers
        .iter()
        .map(|(host, port, socket)| {
            format!(
                "<incomingServer type=\"pop3\"><hostname>{host}</hostname><port>{port}</port>\
                 <socketType>{socket}</socketType><username>%EMAILLOCALPART%</username>\
                 <authentication>password-cleartext</authentication></incomingServer>"
            )
        })
        .collect();
    let servers = servers.concat();
    Page::Document(format!(
        "<?xml version=\"1.0\"?><clientConfig version=\"1.1\"><emailProvider id=\"example.org\">\
         <incomingServer type=\"imap\"><hostname>imap.example.org</hostname><port>993</port>\
         <socketType>SSL</socketType></incomingServer>{servers}</emailProvider></clientConfig>"
    ))
}

impl Web {
    /// Starts a proxy. It leads `HOST:443` to a web server for `pages`, whose keys are hosts with
    /// paths, and the hosts with ports in `others` to these ports of this machine.
    pub fn start(pages: &[(&str, Page)], others: &[(&'static str, u16)]) -> Self {
        let pages: BTreeMap<_, _> = pages
            .iter()
            .map(|(url, page)| ((*url).to_owned(), page.clone()))
            .collect();
        let others: BTreeMap<_, _> = others.iter().copied().collect();
        let names = pages.keys().filter_map(|url| url.split('/').next());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.dedup();
        let (ca_pem, acceptor) = credentials(names.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let own = Arc::clone(&log);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, log) = (client.unwrap(), Arc::clone(&own));
                let (pages, others) = (pages.clone(), others.clone());
                let (names, acceptor) = (names.clone(), acceptor.clone());
                // the client may close the connection at any time
                thread::spawn(move || -> io::Result<()> {
                    let mut client = client;
                    let place = connect(&mut client)?;
                    log.lock().unwrap().push(place.clone());
                    let host = place.trim_end_matches(":443").to_owned();
                    if let Some(port) = others.get(place.as_str()) {
                        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                        return relay(client, TcpStream::connect(("127.0.0.1", *port))?);
                    }
                    if !names.contains(&host) {
                        return client.write_all(b"HTTP/1.1 502 no such host\r\n\r\n");
                    }
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                    let Ok(mut stream) = acceptor.accept(client) else {
                        return Ok(());
                    };
                    let request = head(&mut stream)?;
                    let path = request.split(' ').nth(1).unwrap_or_default();
                    log.lock().unwrap().push(format!("{host}{path}"));
                    match pages.get(&format!("{host}{path}")) {
                        Some(Page::Forward(port, path)) => {
                            forward(&mut stream, &request, *port, path)
                        }
                        page => serve(&mut stream, page),
                    }
                });
            }
        });
        Self { port, ca_pem, log }
    }

    /// Returns the address of the proxy.
    pub fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the authority of the web servers.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the hosts that the proxy was asked for, and the requested pages.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// Reads the head of a request.
fn head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads a CONNECT request. Returns the host and the port.
fn connect(client: &mut TcpStream) -> io::Result<String> {
    let head = head(client)?;
    let place = head.strip_prefix("CONNECT ").unwrap();
    Ok(place.split(' ').next().unwrap().to_owned())
}

fn relay(client: TcpStream, server: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        to.shutdown(Shutdown::Write)
    });
    let (mut from, mut to) = (server, client);
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}

/// Forwards a request to another server, and its response to the client.
fn forward(client: &mut (impl Read + Write), head: &str, port: u16, path: &str) -> io::Result<()> {
    let head = head.to_lowercase();
    let header = |name: &str| {
        let lines = head.lines().find_map(|line| line.strip_prefix(name));
        lines.unwrap_or_default().trim().to_owned()
    };
    let length = header("content-length:");
    let mut body = vec![0; length.parse().unwrap_or(0)];
    client.read_exact(&mut body)?;
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    write!(
        server,
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: {}\r\nContent-Length: {length}\r\n\r\n",
        header("content-type:")
    )?;
    server.write_all(&body)?;
    io::copy(&mut server, client)?;
    client.flush()
}

fn serve(stream: &mut (impl Read + Write), page: Option<&Page>) -> io::Result<()> {
    let body = |text: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
    };
    let response = match page {
        None => "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n".into(),
        Some(Page::Document(text)) => body(text),
        Some(Page::Redirect(to)) => {
            format!("HTTP/1.1 302 x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
        }
        Some(Page::Status(status)) => format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"),
        Some(Page::Huge(bytes)) => body(&" ".repeat(*bytes)),
        Some(Page::Stalled) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n<clientConfig>")?;
            stream.flush()?;
            return io::copy(stream, &mut io::sink()).map(drop);
        }
        Some(Page::Silence) => return io::copy(stream, &mut io::sink()).map(drop),
        Some(Page::Forward(..)) => unreachable!(),
    };
    stream.write_all(response.as_bytes())?;
    stream.flush()
}

/// Returns an authority, and the TLS of servers with these names.
fn credentials(names: Vec<String>) -> (String, TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "authority of web servers");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let pem = certificate.pem();
    let identity = Identity::from_pkcs8(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (ca_pem, TlsAcceptor::new(identity).unwrap())
}
