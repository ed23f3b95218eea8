//! A minimal POP3 server with TLS, which only has to be fast.
//!
//! Each thread serves one connection at a time. A mailbox has as many messages as were added.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context, Result};
use openssl::{
    pkey::PKey,
    ssl::{SslAcceptor, SslMethod},
    x509::X509,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::{Mailboxes, Options};

pub struct Responder {
    port: u16,
    authority: PathBuf,
    mailboxes: Arc<[AtomicU32]>,
}

impl Responder {
    /// Starts the threads, which end with this process.
    pub fn start(options: &Options) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?;
        let authority = options.dir.join("authority.pem");
        fs::write(&authority, certificate.pem())?;
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        acceptor.set_private_key(
            PKey::private_key_from_pem(key.serialize_pem().as_bytes())?.as_ref(),
        )?;
        acceptor.set_certificate(X509::from_pem(certificate.pem().as_bytes())?.as_ref())?;
        let acceptor = Arc::new(acceptor.build());
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
        let port = listener.local_addr()?.port();
        let mailboxes: Arc<[AtomicU32]> = (0..options.accounts).map(|_| 0.into()).collect();
        for _ in 0..options.jobs + 8 {
            let (listener, acceptor) = (Arc::clone(&listener), Arc::clone(&acceptor));
            let mailboxes = Arc::clone(&mailboxes);
            thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn(move || {
                    loop {
                        let Ok((client, _)) = listener.accept() else {
                            return;
                        };
                        let _ = client.set_nodelay(true);
                        if let Ok(stream) = acceptor.accept(client) {
                            // a client that disconnects ends its session
                            let _ = serve(stream, &mailboxes);
                        }
                    }
                })?;
        }
        Ok(Self {
            port,
            authority,
            mailboxes,
        })
    }
}

impl Mailboxes for Responder {
    fn port(&self) -> u16 {
        self.port
    }

    fn authority(&self) -> PathBuf {
        self.authority.clone()
    }

    fn add(&mut self, accounts: &mut dyn Iterator<Item = usize>) -> Result<()> {
        for account in accounts {
            self.mailboxes[account].fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Returns a message of a mailbox.
fn message(account: usize, number: u32) -> String {
    format!(
        "From: sender@example.org\r\nTo: user{account}@example.org\r\n\
         Message-ID: <{number}.{account}@example.org>\r\n\
         Date: Mon, 23 Nov 2026 00:00:01 +0000\r\nSubject: {number}\r\n\r\n{}",
        "All work and no play makes Jack a dull boy, and so on.\r\n".repeat(60)
    )
}

fn serve(stream: impl Read + Write, mailboxes: &[AtomicU32]) -> Result<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"+OK ready\r\n")?;
    let (mut account, mut count) = (0, 0);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default().to_ascii_uppercase();
        let first = words.next();
        let number = || first.and_then(|word| word.parse::<u32>().ok());
        let list = |line: &dyn Fn(u32) -> String| {
            let lines: String = (1..=count).map(line).collect();
            format!("+OK\r\n{lines}.\r\n")
        };
        let uid = |number: u32| format!("{number} a{account}m{number}\r\n");
        let size = |number: u32| format!("{number} {}\r\n", message(account, number).len());
        let reply = match (command.as_str(), number()) {
            ("CAPA", _) => "+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n".to_owned(),
            ("USER", _) => {
                let digits = first.and_then(|user| user.strip_prefix("user"));
                account = digits.context("no user")?.parse()?;
                count = mailboxes
                    .get(account)
                    .map_or(0, |number| number.load(Ordering::SeqCst));
                "+OK\r\n".to_owned()
            }
            ("STAT", _) => format!("+OK {count} {}\r\n", 4_000 * count),
            ("LIST", None) => list(&size),
            ("UIDL", None) => list(&uid),
            ("LIST", Some(number)) => format!("+OK {}", size(number)),
            ("UIDL", Some(number)) => format!("+OK {}", uid(number)),
            ("RETR", Some(number)) => format!("+OK\r\n{}.\r\n", message(account, number)),
            ("TOP", Some(number)) => {
                let text = message(account, number);
                let head = text.split("\r\n\r\n").next().unwrap_or_default();
                format!("+OK\r\n{head}\r\n\r\n.\r\n")
            }
            ("PASS" | "NOOP" | "RSET" | "DELE" | "QUIT", _) => "+OK\r\n".to_owned(),
            _ => "-ERR\r\n".to_owned(),
        };
        stream.get_mut().write_all(reply.as_bytes())?;
        if command == "QUIT" {
            return Ok(());
        }
    }
}
