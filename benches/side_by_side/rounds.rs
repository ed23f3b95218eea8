//! Runs the clients in turns, each run in its own directory, and verifies the result of each.

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
    dovecot::{OWNER, PASSWORD, Server},
    environment::{CLIENT_UID, find},
    gauge::{self, Usage},
    limit::{self, Mode},
    mailbox::{Mailbox, Sizes},
    slow_line::SlowLine,
    table::{Row, Table},
    tool::{Authority, Errand, Tool, pouch_account, write_config},
};

/// The round-trip time of the slow line.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// The host names and addresses of the server.
const HOSTS: [&str; 4] = ["localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3"];

/// One process serves many logins.
const CONFIG: &str = "
listen = 127.0.0.1, 127.0.0.2, 127.0.0.3
auth_verbose = no
service pop3-login {
  service_count = 0
  client_limit = 900
}
";

/// A connection between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Line {
    /// Without TLS.
    Clear,
    /// TLS, with the CA named in the configuration of the client.
    Tls,
    /// TLS, with the CA among those of the system.
    System,
    /// TLS, with a round-trip time of 40 ms.
    Rtt,
}

/// The directory of each tool with its state after it fetched everything.
pub type States = HashMap<Tool, PathBuf>;

/// The server, the tools, and the work directory of a benchmark.
pub struct Rounds {
    /// The work directory, on the disk that is measured.
    ///
    /// Nothing in it is deleted until the end: after thousands of files were deleted, ext4 creates
    /// new ones ten times slower for minutes.
    work: PathBuf,
    server: Server,
    /// A copy of the system's CA directory with the server's CA added.
    certificates: PathBuf,
    slow: SlowLine,
    tools: Vec<Tool>,
    repeats: usize,
    dirs: usize,
    /// The number of failed runs.
    pub failures: usize,
}

impl Rounds {
    pub fn new(work: PathBuf, tools: Vec<Tool>, repeats: usize) -> Result<Self> {
        let bin = work.join("bin");
        fs::create_dir(&bin)?;
        fs::copy(env!("CARGO_BIN_EXE_pouch"), bin.join("pouch"))?;
        fs::copy(std::env::current_exe()?, bin.join("side_by_side"))?;
        let server = Server::start(work.join("server"), CONFIG)?;
        let certificates = work.join("certificates");
        add_authority(&certificates, &server.ca)?;
        let slow = SlowLine::open(server.ports[1], ROUND_TRIP)?;
        Ok(Self {
            work,
            server,
            certificates,
            slow,
            tools,
            repeats,
            dirs: 0,
            failures: 0,
        })
    }

    /// Creates a mailbox on the server, and fetches it once to fill the caches of the server.
    pub fn mailbox(&self, user: &str, sizes: Sizes, count: usize) -> Result<Mailbox> {
        let mailbox = Mailbox::make(self.server.maildir(user), user, sizes, count, OWNER)?;
        self.warm(&mailbox)?;
        Ok(mailbox)
    }

    fn warm(&self, mailbox: &Mailbox) -> Result<()> {
        let listed = limit::run(self.server.ports[0], None, &mailbox.user, &Mode::Discard)?;
        if listed != mailbox.len() {
            bail!(
                "the server has {listed} messages of {}, not {}",
                mailbox.user,
                mailbox.len()
            );
        }
        Ok(())
    }

    /// Measures fetches of a whole mailbox into an empty Maildir.
    pub fn fetches(&mut self, title: &str, line: Line, mailbox: &Mailbox) -> Table {
        self.compare(title, line, mailbox, None)
    }

    /// Measures polls by clients that know all messages: nothing new first, then one message.
    pub fn polls(
        &mut self,
        lines: &[Line],
        mut mailbox: Mailbox,
        one_new: bool,
    ) -> Result<Vec<Table>> {
        let states = self.first_fetches(&mailbox);
        let known = mailbox.len();
        let mut tables = Vec::new();
        for new in ["nothing", "one"]
            .into_iter()
            .take(1 + usize::from(one_new))
        {
            if new == "one" {
                mailbox.add()?;
                self.warm(&mailbox)?;
            }
            for line in lines {
                let title = format!("{known} known, {new} new");
                tables.push(self.compare(&title, *line, &mailbox, Some((&states, known))));
            }
        }
        Ok(tables)
    }

    /// Runs the first fetch of each tool, and returns their states.
    fn first_fetches(&mut self, mailbox: &Mailbox) -> States {
        let mut states = States::new();
        for tool in self.tools.clone() {
            eprintln!("  {tool}: first fetch of {}", mailbox.len());
            let fetched = self.run_dir(None).and_then(|home| {
                if !tool.is_limit() {
                    self.run(tool, Line::Clear, mailbox, &home, None)?;
                }
                Ok(home)
            });
            if let Some(home) = self.report_error(tool, fetched) {
                states.insert(tool, home);
            }
        }
        states
    }

    fn compare(
        &mut self,
        title: &str,
        line: Line,
        mailbox: &Mailbox,
        poll: Option<(&States, usize)>,
    ) -> Table {
        let title = format!("{title}, {}", line.name());
        let has_state = |tool: &Tool| {
            poll.is_none_or(|(states, _)| states.contains_key(tool) && *tool != Tool::Disk)
        };
        let tools: Vec<Tool> = self.tools.iter().copied().filter(has_state).collect();
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
            // The order rotates, so that no tool always runs after the same other one.
            for turn in 0..rows.len() {
                let row = (turn + round) % rows.len();
                let tool = rows[row].tool;
                let ran = self
                    .run_dir(poll.map(|(states, _)| states[&tool].as_path()))
                    .and_then(|home| self.run(tool, line, mailbox, &home, known));
                rows[row].runs.extend(self.report_error(tool, ran));
            }
        }
        for row in &mut rows {
            let counted = self
                .run_dir(poll.map(|(states, _)| states[&row.tool].as_path()))
                .and_then(|home| self.count_fsyncs(row.tool, line, mailbox, &home, known));
            row.fsyncs = self.report_error(row.tool, counted).flatten();
        }
        Table {
            title,
            repeats: self.repeats,
            rows,
        }
    }

    /// Measures runs of pouch with many accounts on several hosts.
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
            let home = self.run_dir(None)?;
            let errand = Errand {
                port: self.server.ports[0],
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
            let command_line = [
                self.work.join("bin/pouch").into(),
                "--config".into(),
                config,
                "fetch".into(),
            ];
            let usage = gauge::measure(&home, &self.certificates, None, &command_line)?;
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

    /// Measures one run, and verifies what it delivered.
    fn run(
        &self,
        tool: Tool,
        line: Line,
        mailbox: &Mailbox,
        home: &Path,
        known: Option<usize>,
    ) -> Result<Usage> {
        let command_line = self.command(tool, line, mailbox, home, known)?;
        rustix::fs::sync();
        let usage = gauge::measure(
            home,
            &self.certificates,
            self.cert_file(tool, line),
            &command_line,
        )?;
        check(tool, usage, home, known.is_some())?;
        if !tool.is_limit() || (tool == Tool::Disk && known.is_none()) {
            mailbox.verify(&home.join("mail"), known.unwrap_or(0))?;
        }
        Ok(usage)
    }

    /// Returns how often a run waits for the disk, or `None` without a usable `strace`.
    fn count_fsyncs(
        &self,
        tool: Tool,
        line: Line,
        mailbox: &Mailbox,
        home: &Path,
        known: Option<usize>,
    ) -> Result<Option<u64>> {
        // Under strace, getmail6 misses the exit of its child process and waits forever.
        if find("strace").is_none() || tool == Tool::Getmail {
            return Ok(None);
        }
        let counts = home.join("strace");
        let mut command_line: Vec<OsString> = ["strace", "-f", "--seccomp-bpf", "-c", "-o"]
            .map(OsString::from)
            .to_vec();
        command_line.push(counts.clone().into());
        command_line.push("-etrace=fsync,fdatasync,sync,syncfs,msync".into());
        command_line.extend(self.command(tool, line, mailbox, home, known)?);
        let usage = gauge::measure(
            home,
            &self.certificates,
            self.cert_file(tool, line),
            &command_line,
        )?;
        check(tool, usage, home, known.is_some())?;
        // The columns are: part of the time, seconds, microseconds per call, calls.
        let calls = |line: &str| line.split_whitespace().nth(3)?.parse::<u64>().ok();
        let summary = fs::read_to_string(counts)?;
        Ok(Some(
            summary
                .lines()
                .filter(|line| line.ends_with("sync"))
                .filter_map(calls)
                .sum(),
        ))
    }

    /// Returns the CA file for tools that take it only from `SSL_CERT_FILE`.
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
            Line::Clear => (self.server.ports[0], None),
            Line::Tls => (self.server.ports[1], named),
            // The raw limit does not search for CAs.
            Line::System if tool.is_limit() => (self.server.ports[1], named),
            Line::System => (self.server.ports[1], Some(Authority::System)),
            Line::Rtt => (self.slow.port, named),
        };
        // getmail6 has the port in the names of its state files.
        for entry in fs::read_dir(home)? {
            let path = entry?.path();
            let name = path
                .to_string_lossy()
                .replace(&format!("-{}-", self.server.ports[0]), &format!("-{port}-"));
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

    /// Creates the directory of a run with an empty Maildir and a copy of the state of a tool.
    fn run_dir(&mut self, state: Option<&Path>) -> Result<PathBuf> {
        self.dirs += 1;
        let home = self.work.join(format!("run{}", self.dirs));
        fs::create_dir(&home)?;
        if let Some(state) = state {
            for entry in fs::read_dir(state)? {
                let path = entry?.path();
                if !path.ends_with("mail") {
                    let copied = Command::new("cp").arg("-a").arg(path).arg(&home).status()?;
                    copied
                        .success()
                        .then_some(())
                        .context("cannot copy the state of a tool")?;
                }
            }
        }
        for dir in ["", "mail", "mail/cur", "mail/new", "mail/tmp"] {
            fs::create_dir_all(home.join(dir))?;
            chown(home.join(dir), Some(CLIENT_UID), Some(CLIENT_UID))?;
        }
        Ok(home)
    }

    /// Prints and counts an error, and returns the value of a success.
    fn report_error<T>(&mut self, tool: Tool, result: Result<T>) -> Option<T> {
        result
            .inspect_err(|error| eprintln!("  {tool}: {error:#}"))
            .inspect_err(|_| self.failures += 1)
            .ok()
    }
}

/// Copies the CA directory of the system to `certificates`, and adds the CA in the file `ca`.
///
/// As with Debian's `update-ca-certificates`, it is appended to the bundle and has a link whose
/// name is its hash.
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

/// Fails unless the exit code of a run is that of a success.
fn check(tool: Tool, usage: Usage, home: &Path, poll: bool) -> Result<()> {
    if !tool.is_success(usage.code, poll) {
        let log = fs::read_to_string(home.join("log")).unwrap_or_default();
        bail!("exit code {}: {}", usage.code, log.trim_end());
    }
    Ok(())
}

impl Line {
    fn name(self) -> &'static str {
        match self {
            Self::Clear => "no TLS",
            Self::Tls => "TLS",
            Self::System => "TLS, system CAs",
            Self::Rtt => "TLS, 40 ms round trip",
        }
    }
}
