//! Runs of the clients in turns, each in a folder of its own, each looked through.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use openssl::x509::X509;

use super::{
    gauge::{self, NOBODY, Usage},
    limit::{self, Mode},
    mailbox::{Mailbox, Sizes},
    server::{HOSTS, OWNER, PASSWORD, Server},
    slow_line::SlowLine,
    table::{Row, Table},
    tool::{Authority, Errand, Tool, find, pouch_account, write_config},
};

/// There and back on the slow line.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Line {
    /// In clear.
    Clear,
    /// Over TLS, with the authority named to the client.
    Tls,
    /// Over TLS, where the client has to find the authority among the system's.
    System,
    /// Over TLS, and 40 ms there and back.
    Rtt,
}

/// What each tool remembers after it has fetched all.
pub type Memories = HashMap<Tool, PathBuf>;

/// The place where all is measured.
pub struct Rounds {
    /// On the disk that is measured. Nothing in it is deleted until the end: for minutes after
    /// thousands of files were deleted, ext4 makes new ones ten times slower.
    work: PathBuf,
    server: Server,
    /// The system's authorities, and the server's among them.
    certificates: PathBuf,
    slow: SlowLine,
    tools: Vec<Tool>,
    repeats: usize,
    folders: usize,
    /// Runs that failed.
    pub failures: usize,
}

impl Rounds {
    pub fn new(work: PathBuf, tools: Vec<Tool>, repeats: usize) -> Result<Self> {
        let bin = work.join("bin");
        fs::create_dir(&bin)?;
        fs::copy(env!("CARGO_BIN_EXE_pouch"), bin.join("pouch"))?;
        fs::copy(std::env::current_exe()?, bin.join("side_by_side"))?;
        let server = Server::start(work.join("server"))?;
        let certificates = work.join("certificates");
        add_authority(&certificates, &server.ca)?;
        let slow = SlowLine::open(server.pop3s, ROUND_TRIP)?;
        Ok(Self {
            work,
            server,
            certificates,
            slow,
            tools,
            repeats,
            folders: 0,
            failures: 0,
        })
    }

    /// A mailbox on the server, which has looked through it once.
    pub fn mailbox(&self, user: &str, sizes: Sizes, count: usize) -> Result<Mailbox> {
        let mailbox = Mailbox::make(self.server.maildir(user), user, sizes, count, OWNER)?;
        self.warm(&mailbox)?;
        Ok(mailbox)
    }

    fn warm(&self, mailbox: &Mailbox) -> Result<()> {
        let listed = limit::run(self.server.pop3, None, &mailbox.user, &Mode::Discard)?;
        if listed != mailbox.len() {
            bail!(
                "the server has {listed} messages of {}, not {}",
                mailbox.user,
                mailbox.len()
            );
        }
        Ok(())
    }

    /// Whole fetches, each into an empty Maildir.
    pub fn fetches(&mut self, title: &str, line: Line, mailbox: &Mailbox) -> Table {
        self.compare(title, line, mailbox, None)
    }

    /// Polls of those who know what there is: nothing new first, and then one.
    pub fn polls(
        &mut self,
        lines: &[Line],
        mut mailbox: Mailbox,
        one_new: bool,
    ) -> Result<Vec<Table>> {
        let memories = self.remember(&mailbox);
        let known = mailbox.len();
        let mut tables = Vec::new();
        for news in ["nothing", "one"]
            .into_iter()
            .take(1 + usize::from(one_new))
        {
            if news == "one" {
                mailbox.add()?;
                self.warm(&mailbox)?;
            }
            for line in lines {
                let title = format!("{known} known, {news} new");
                tables.push(self.compare(&title, *line, &mailbox, Some((&memories, known))));
            }
        }
        Ok(tables)
    }

    /// Each tool's own first fetch.
    fn remember(&mut self, mailbox: &Mailbox) -> Memories {
        let mut memories = Memories::new();
        for tool in self.tools.clone() {
            eprintln!("  {tool}: first fetch of {}", mailbox.len());
            let fetched = self.folder(None).and_then(|home| {
                if !tool.is_limit() {
                    self.run(tool, Line::Clear, mailbox, &home, None)?;
                }
                Ok(home)
            });
            if let Some(home) = self.told(tool, fetched) {
                memories.insert(tool, home);
            }
        }
        memories
    }

    fn compare(
        &mut self,
        title: &str,
        line: Line,
        mailbox: &Mailbox,
        poll: Option<(&Memories, usize)>,
    ) -> Table {
        let title = format!("{title}, {}", line.name());
        let knows = |tool: &Tool| {
            poll.is_none_or(|(memories, _)| memories.contains_key(tool) && *tool != Tool::Disk)
        };
        let tools: Vec<Tool> = self.tools.iter().copied().filter(knows).collect();
        let mut rows: Vec<_> = tools
            .iter()
            .map(|tool| Row {
                tool: *tool,
                runs: Vec::new(),
                fsyncs: None,
            })
            .collect();
        let known = poll.map(|(_, known)| known);
        for round in 0..self.repeats {
            eprintln!("  {title}: round {}", round + 1);
            // Whoever comes after a heavy one is not always the same.
            for turn in 0..rows.len() {
                let row = (turn + round) % rows.len();
                let tool = rows[row].tool;
                let ran = self
                    .folder(poll.map(|(memories, _)| memories[&tool].as_path()))
                    .and_then(|home| self.run(tool, line, mailbox, &home, known));
                rows[row].runs.extend(self.told(tool, ran));
            }
        }
        for row in &mut rows {
            let counted = self
                .folder(poll.map(|(memories, _)| memories[&row.tool].as_path()))
                .and_then(|home| self.count_fsyncs(row.tool, line, mailbox, &home, known));
            row.fsyncs = self.told(row.tool, counted).flatten();
        }
        Table {
            title,
            repeats: self.repeats,
            rows,
        }
    }

    /// Many accounts of pouch, on several hosts, in one run.
    pub fn accounts(&mut self, count: usize) -> Result<Table> {
        let mailboxes: Vec<Mailbox> = (0..count)
            .map(|n| self.mailbox(&format!("user{n}"), Sizes::Small, 5))
            .collect::<Result<_>>()?;
        let mut row = Row {
            tool: Tool::Pouch,
            runs: Vec::new(),
            fsyncs: None,
        };
        for _ in 0..self.repeats {
            let home = self.folder(None)?;
            let errand = Errand {
                port: self.server.pop3,
                authority: None,
                user: "",
                home: &home,
                poll: false,
            };
            write_config(&home.join("password"), PASSWORD)?;
            let mut text = format!("state-dir = \"{}/state\"\n", home.display());
            for (n, mailbox) in mailboxes.iter().enumerate() {
                let account = pouch_account(
                    &mailbox.user,
                    HOSTS[n % HOSTS.len()],
                    &mailbox.user,
                    &errand,
                );
                text += &account.replace("/mail\"", &format!("/mail/{}\"", mailbox.user));
            }
            let config = write_config(&home.join("pouch.toml"), &text)?;
            rustix::fs::sync();
            let words = [
                self.work.join("bin/pouch").into(),
                "--config".into(),
                config,
                "fetch".into(),
            ];
            let usage = gauge::measure(&home, &self.certificates, None, &words)?;
            check(Tool::Pouch, usage, &home, false)?;
            for mailbox in &mailboxes {
                mailbox.verify(&home.join("mail").join(&mailbox.user), 0)?;
            }
            row.runs.push(usage);
        }
        let title = format!(
            "{count} accounts on {} hosts, 5 messages each, {}",
            HOSTS.len(),
            Line::Clear.name()
        );
        Ok(Table {
            title,
            repeats: self.repeats,
            rows: vec![row],
        })
    }

    /// One timed run, which counts only if what arrived is right.
    fn run(
        &self,
        tool: Tool,
        line: Line,
        mailbox: &Mailbox,
        home: &Path,
        known: Option<usize>,
    ) -> Result<Usage> {
        let words = self.command(tool, line, mailbox, home, known)?;
        rustix::fs::sync();
        let usage = gauge::measure(home, &self.certificates, self.cert_file(tool, line), &words)?;
        check(tool, usage, home, known.is_some())?;
        if !tool.is_limit() || (tool == Tool::Disk && known.is_none()) {
            mailbox.verify(&home.join("mail"), known.unwrap_or(0))?;
        }
        Ok(usage)
    }

    /// How often a run waits for the disk, if there is a strace to see it.
    fn count_fsyncs(
        &self,
        tool: Tool,
        line: Line,
        mailbox: &Mailbox,
        home: &Path,
        known: Option<usize>,
    ) -> Result<Option<u64>> {
        // Under strace getmail6 misses the end of its own child, and waits for it.
        if find("strace").is_none() || tool == Tool::Getmail {
            return Ok(None);
        }
        let counts = home.join("strace");
        let mut words: Vec<OsString> = ["strace", "-f", "--seccomp-bpf", "-c", "-o"]
            .map(OsString::from)
            .to_vec();
        words.push(counts.clone().into());
        words.push("-etrace=fsync,fdatasync,sync,syncfs,msync".into());
        words.extend(self.command(tool, line, mailbox, home, known)?);
        let usage = gauge::measure(home, &self.certificates, self.cert_file(tool, line), &words)?;
        check(tool, usage, home, known.is_some())?;
        // The columns: part of the time, seconds, microseconds a call, calls.
        let calls = |line: &str| line.split_whitespace().nth(3)?.parse::<u64>().ok();
        let told = fs::read_to_string(counts)?;
        Ok(Some(
            told.lines()
                .filter(|line| line.ends_with("sync"))
                .filter_map(calls)
                .sum(),
        ))
    }

    /// The authority for those that look for it in `SSL_CERT_FILE` only.
    fn cert_file(&self, tool: Tool, line: Line) -> Option<&Path> {
        let only = tool.is_limit() || (tool == Tool::Fdm && line != Line::System);
        only.then_some(self.server.ca.as_path())
    }

    fn command(
        &self,
        tool: Tool,
        line: Line,
        mailbox: &Mailbox,
        home: &Path,
        known: Option<usize>,
    ) -> Result<Vec<OsString>> {
        let named = Some(Authority::File(&self.server.ca));
        let (port, authority) = match line {
            Line::Clear => (self.server.pop3, None),
            Line::Tls => (self.server.pop3s, named),
            // the limit is that of the wire: it reads one authority
            Line::System if tool.is_limit() => (self.server.pop3s, named),
            Line::System => (self.server.pop3s, Some(Authority::System)),
            Line::Rtt => (self.slow.port, named),
        };
        // getmail6 remembers by port.
        for entry in fs::read_dir(home)? {
            let path = entry?.path();
            let name = path
                .to_string_lossy()
                .replace(&format!("-{}-", self.server.pop3), &format!("-{port}-"));
            fs::rename(&path, name)?;
        }
        let errand = Errand {
            port,
            authority,
            user: &mailbox.user,
            home,
            poll: known.is_some(),
        };
        tool.command(&self.work.join("bin"), &errand)
    }

    /// A fresh folder with an empty Maildir, and a copy of what a tool remembers.
    fn folder(&mut self, memory: Option<&Path>) -> Result<PathBuf> {
        self.folders += 1;
        let home = self.work.join(format!("run{}", self.folders));
        fs::create_dir(&home)?;
        if let Some(memory) = memory {
            for entry in fs::read_dir(memory)? {
                let path = entry?.path();
                if !path.ends_with("mail") {
                    let copied = Command::new("cp").arg("-a").arg(path).arg(&home).status()?;
                    copied
                        .success()
                        .then_some(())
                        .context("cannot copy what a tool remembers")?;
                }
            }
        }
        for folder in ["", "mail", "mail/cur", "mail/new", "mail/tmp"] {
            fs::create_dir_all(home.join(folder))?;
            chown(home.join(folder), Some(NOBODY), Some(NOBODY))?;
        }
        Ok(home)
    }

    /// Tells what failed; the others go on.
    fn told<T>(&mut self, tool: Tool, result: Result<T>) -> Option<T> {
        result
            .inspect_err(|error| eprintln!("  {tool}: {error:#}"))
            .inspect_err(|_| self.failures += 1)
            .ok()
    }
}

/// Copies the system's authorities to the folder `certificates`, and adds the one in the file `ca` as
/// Debian's `update-ca-certificates` does: to the bundle, and by a link that has its hash as name.
fn add_authority(certificates: &Path, ca: &Path) -> Result<()> {
    let copied = Command::new("cp")
        .args(["-a", "/etc/ssl/certs"])
        .arg(certificates)
        .status()?;
    if !copied.success() {
        bail!("cannot copy /etc/ssl/certs");
    }
    let pem = fs::read(ca)?;
    let hash = X509::from_pem(&pem)?.subject_name_hash();
    fs::write(certificates.join("bench.pem"), &pem)?;
    symlink("bench.pem", certificates.join(format!("{hash:08x}.0")))?;
    let mut bundle = OpenOptions::new()
        .append(true)
        .create(true)
        .open(certificates.join("ca-certificates.crt"))?;
    bundle.write_all(&pem)?;
    Ok(())
}

fn check(tool: Tool, usage: Usage, home: &Path, poll: bool) -> Result<()> {
    if !tool.is_content(usage.code, poll) {
        let log = fs::read_to_string(home.join("log")).unwrap_or_default();
        bail!("exit code {}: {}", usage.code, log.trim_end());
    }
    Ok(())
}

impl Line {
    fn name(self) -> &'static str {
        match self {
            Self::Clear => "in clear",
            Self::Tls => "TLS",
            Self::System => "TLS, the system's authorities",
            Self::Rtt => "TLS, 40 ms there and back",
        }
    }
}
