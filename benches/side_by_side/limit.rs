//! The raw limit: the least that a POP3 client can do. It asks for everything at once, decodes line
//! by line, and knows nothing of trouble: what is slower than this is slower for a reason.

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

/// As many files are made safe at once.
const BATCH: usize = 128;

/// By as many threads.
const LANES: usize = 8;

/// What is done to the mail.
#[derive(Clone, Debug)]
pub enum Mode {
    /// It is listed only.
    List,
    /// It is fetched and thrown away: what the wire allows.
    Discard,
    /// It is written to a Maildir and fsynced in batches: what the disk allows.
    Store(PathBuf),
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One session on `localhost`; with a CA it is one over TLS. Gives the number of messages.
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
    session.ok()?;
    session.say(&format!(
        "USER {user}\r\nPASS {}\r\nUIDL\r\n",
        super::server::PASSWORD
    ))?;
    for _ in ["USER", "PASS", "UIDL"] {
        session.ok()?;
    }
    let mut count = 0;
    while session.line_of_body()?.is_some() {
        count += 1;
    }
    if !matches!(mode, Mode::List) {
        let requests: Vec<String> = (1..=count).map(|n| format!("RETR {n}\r\n")).collect();
        session.say(&requests.concat())?;
        session.fetch(count, mode)?;
    }
    session.say("QUIT\r\n")?;
    Ok(count)
}

struct Session {
    stream: BufReader<Box<dyn Stream>>,
    line: Vec<u8>,
}

impl Session {
    fn say(&mut self, words: &str) -> Result<()> {
        self.stream.get_mut().write_all(words.as_bytes())?;
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

    fn ok(&mut self) -> Result<()> {
        self.read_line()?;
        if !self.line.starts_with(b"+OK") {
            bail!("the server said {}", String::from_utf8_lossy(&self.line));
        }
        Ok(())
    }

    /// The next line of a body, decoded, without its end; none at the end of the body.
    fn line_of_body(&mut self) -> Result<Option<&[u8]>> {
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
            self.ok()?;
            let Mode::Store(maildir) = mode else {
                while self.line_of_body()?.is_some() {}
                continue;
            };
            let path = maildir.join(format!("tmp/{n}"));
            let mut file = BufWriter::with_capacity(1 << 18, File::create_new(&path)?);
            while let Some(line) = self.line_of_body()? {
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
        // Starts the writing and does not wait for it.
        fadvise(file, 0, None, Advice::DontNeed)?;
    }
    // One flush of the disk's cache does for several fsyncs at once.
    thread::scope(|scope| {
        let lanes = batch.chunks(batch.len().div_ceil(LANES));
        let lanes: Vec<_> = lanes
            .map(|lane| scope.spawn(|| lane.iter().try_for_each(|(_, _, file)| file.sync_all())))
            .collect();
        lanes.into_iter().try_for_each(|lane| {
            lane.join()
                .unwrap_or_else(|_| Err(io::Error::other("an fsync panicked")))
        })
    })?;
    for (draft, path, _) in batch.drain(..) {
        fs::rename(draft, path)?;
    }
    File::open(maildir.join("new"))?
        .sync_all()
        .context("new/ cannot be made safe")
}
