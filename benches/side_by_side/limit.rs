//! The raw limit: the minimum work of a POP3 client.
//!
//! It requests all messages at once, decodes them line by line and handles no errors. A real client
//! cannot be much faster.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, bail};
use native_tls::{Certificate, TlsConnector};
use rustix::fs::{Advice, fadvise};

/// The number of files that are made durable together.
const BATCH: usize = 128;

/// The number of threads that sync the files of a batch.
const THREADS: usize = 8;

/// A kind of session.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Lists the messages only.
    List,
    /// Fetches and discards the messages: the limit of the network.
    Discard,
    /// Writes the messages to a Maildir and fsyncs them in batches: the limit of the disk.
    Store(PathBuf),
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Runs one session on `localhost`, and returns the number of messages.
///
/// With a CA the session uses TLS.
pub fn run(port: u16, ca: Option<&Path>, user: &str, mode: &Mode) -> Result<usize> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match ca {
        None => Box::new(socket),
        Some(ca) => {
            let root = Certificate::from_pem(&fs::read(ca)?)?;
            Box::new(
                TlsConnector::builder()
                    .add_root_certificate(root)
                    .build()?
                    .connect("localhost", socket)?,
            )
        }
    };
    let mut session = Session {
        stream: BufReader::with_capacity(1 << 18, stream),
        line: Vec::new(),
    };
    session.expect_ok()?;
    session.send(&format!(
        "USER {user}\r\nPASS {}\r\nUIDL\r\n",
        super::dovecot::PASSWORD
    ))?;
    for _ in ["USER", "PASS", "UIDL"] {
        session.expect_ok()?;
    }
    let mut count = 0;
    while session.read_body_line()?.is_some() {
        count += 1;
    }
    if !matches!(mode, Mode::List) {
        let requests: Vec<String> = (1..=count).map(|n| format!("RETR {n}\r\n")).collect();
        session.send(&requests.concat())?;
        session.fetch(count, mode)?;
    }
    session.send("QUIT\r\n")?;
    Ok(count)
}

struct Session {
    stream: BufReader<Box<dyn Stream>>,
    line: Vec<u8>,
}

impl Session {
    fn send(&mut self, commands: &str) -> Result<()> {
        self.stream.get_mut().write_all(commands.as_bytes())?;
        Ok(self.stream.get_mut().flush()?)
    }

    fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        if !self.line.ends_with(b"\r\n") {
            bail!("the server closed the connection");
        }
        Ok(())
    }

    fn expect_ok(&mut self) -> Result<()> {
        self.read_line()?;
        if !self.line.starts_with(b"+OK") {
            bail!(
                "the server responded {}",
                String::from_utf8_lossy(&self.line)
            );
        }
        Ok(())
    }

    /// Reads the next line of a body, decoded and without CRLF, or `None` at the end of the body.
    fn read_body_line(&mut self) -> Result<Option<&[u8]>> {
        self.read_line()?;
        let line = &self.line[..self.line.len() - 2];
        Ok(match line.strip_prefix(b".") {
            Some(b"") => None,
            Some(rest) => Some(rest),
            None => Some(line),
        })
    }

    fn fetch(&mut self, count: usize, mode: &Mode) -> Result<()> {
        let mut batch = Vec::new();
        for n in 1..=count {
            self.expect_ok()?;
            let Mode::Store(maildir) = mode else {
                while self.read_body_line()?.is_some() {}
                continue;
            };
            let path = maildir.join(format!("tmp/{n}"));
            let mut file = BufWriter::with_capacity(1 << 18, File::create_new(&path)?);
            while let Some(line) = self.read_body_line()? {
                file.write_all(line)?;
                file.write_all(b"\n")?;
            }
            batch.push((path, maildir.join(format!("new/{n}")), file.into_inner()?));
            if batch.len() == BATCH || n == count {
                commit(&mut batch, maildir)?;
            }
        }
        Ok(())
    }
}

fn commit(batch: &mut Vec<(PathBuf, PathBuf, File)>, maildir: &Path) -> Result<()> {
    for (_, _, file) in &*batch {
        // Starts writeback without waiting for it.
        fadvise(file, 0, None, Advice::DontNeed)?;
    }
    // Concurrent fsyncs share one flush of the disk's cache.
    thread::scope(|scope| {
        let parts = batch.chunks(batch.len().div_ceil(THREADS));
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().try_for_each(|(_, _, file)| file.sync_all())))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("an fsync panicked")))
        })
    })?;
    for (draft, path, _) in batch.drain(..) {
        fs::rename(draft, path)?;
    }
    File::open(maildir.join("new"))?
        .sync_all()
        .context("cannot sync new/")
}
