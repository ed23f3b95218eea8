//! Runs pouch and other clients, and measures them.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use wait4::Wait4;

use super::{
    Mailboxes, Options,
    dovecot::PASSWORD,
    peers::{PEERS, Target},
};

/// The resource usage of a command and its child processes.
#[derive(Clone, Copy)]
pub struct Usage {
    pub wall: Duration,
    /// User plus system time.
    pub cpu: Duration,
    /// The peak memory of the largest process, in KiB.
    pub memory: u64,
    /// The largest number of open files that was seen.
    pub files: usize,
    /// The number of calls of fsync and similar functions, if they were counted.
    pub syncs: Option<u64>,
    pub code: i32,
}

/// The configured clients.
pub struct Client<'a> {
    options: &'a Options,
    home: PathBuf,
}

impl<'a> Client<'a> {
    /// Writes the config of pouch.
    pub fn new(options: &'a Options, server: &dyn Mailboxes) -> Result<Self> {
        let home = options.dir.join("home");
        fs::create_dir_all(home.join(".config/pouch"))?;
        fs::write(home.join("password"), format!("{PASSWORD}\n"))?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(home.join("password"), private)?;
        let mut config = format!(
            "jobs = {0}\n[defaults]\nhost = \"localhost\"\nport = {1}\njobs-per-host = {0}\n\
             tls-ca-file = \"{2}\"\npassword-file = \"~/password\"\nauth = \"user\"\n",
            options.jobs,
            server.port(),
            server.authority().display()
        );
        for account in 0..options.accounts {
            writeln!(
                config,
                "[account.a{account}]\nuser = \"user{account}\"\nmaildir = \"~/Mail/a{account}\""
            )?;
        }
        let path = home.join(".config/pouch/config.toml");
        fs::write(&path, config)?;
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(Self { options, home })
    }

    /// Fetches the first account, and copies its ledger for all other accounts.
    pub fn seed(&self, port: u16) -> Result<()> {
        let first = self.measure(Command::new(&self.options.pouch).args(["fetch", "a0"]))?;
        anyhow::ensure!(first.code == 0, "the first account failed");
        let dir = self.home.join(".local/state/pouch/mailboxes");
        let path = |account: usize| {
            let address = format!("user{account}@localhost:{port}");
            let hash = Sha256::digest(address.as_bytes());
            let hash = hash.iter().take(4).fold(String::new(), |mut hash, octet| {
                let _ = write!(hash, "{octet:02x}");
                hash
            });
            dir.join(format!("user{account}@localhost_{port}-{hash}.db"))
        };
        for account in 1..self.options.accounts {
            let copy = path(account);
            fs::copy(path(0), &copy)?;
            let ledger = rusqlite::Connection::open(copy)?;
            ledger.execute_batch(&format!(
                "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF;
                 UPDATE mailbox SET ledger_id = '{account:012x}';
                 UPDATE address SET user = 'user{account}', account = 'a{account}';
                 UPDATE message SET uid = CAST('a{account}m1' AS BLOB);
                 PRAGMA journal_mode = WAL;"
            ))?;
        }
        Ok(())
    }

    /// Runs `pouch fetch`.
    pub fn fetch(&self) -> Result<Usage> {
        let pouch = &self.options.pouch;
        if !self.options.strace {
            return self.measure(Command::new(pouch).arg("fetch"));
        }
        let log = self.home.join("strace");
        let calls = "trace=fsync,fdatasync,syncfs,sync_file_range,msync";
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", calls, "-o"]);
        command.arg(&log).arg(pouch).arg("fetch");
        let mut usage = self.measure(&mut command)?;
        let lines = fs::read_to_string(&log)?;
        let calls = lines.lines().filter(|line| line.contains("sync"));
        let begun = calls.filter(|line| !line.contains("resumed"));
        usage.syncs = Some(begun.count() as u64);
        Ok(usage)
    }

    /// Returns the other clients that are installed, with the command that polls all accounts.
    pub fn peers(&self, server: &dyn Mailboxes) -> Result<Vec<(&'static str, Command)>> {
        let authority = server.authority();
        let target = Target {
            port: server.port(),
            authority: &authority,
        };
        let mut found = Vec::new();
        for peer in PEERS {
            let only = &self.options.only;
            if !only.is_empty() && !only.iter().any(|name| name == peer.name) {
                continue;
            }
            if peer.is_installed() {
                let command = peer.prepare(&self.home, self.options, &target)?;
                found.push((peer.name, command));
            } else {
                eprintln!("{} is not installed", peer.name);
            }
        }
        Ok(found)
    }

    /// Runs another client, and ends it after the time limit.
    pub fn poll(&self, command: &Command) -> Result<Usage> {
        let mut limited = Command::new("timeout");
        limited.arg("-k5");
        limited.arg(self.options.limit.to_string());
        limited.arg(command.get_program()).args(command.get_args());
        self.measure(&mut limited)
    }

    /// Runs a command, and measures it.
    fn measure(&self, command: &mut Command) -> Result<Usage> {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.home.join("log"))?;
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let began = Instant::now();
        let mut child = command.spawn().context("cannot start the client")?;
        let files = watch_files(&child);
        let ended = child.wait4()?;
        let wall = began.elapsed();
        Ok(Usage {
            wall,
            cpu: ended.rusage.utime + ended.rusage.stime,
            memory: ended.rusage.maxrss / 1024,
            files: files.join().unwrap_or(0),
            syncs: None,
            code: ended.status.code().unwrap_or(-1),
        })
    }
}

/// Counts the open files of a process until it ends.
fn watch_files(child: &Child) -> thread::JoinHandle<usize> {
    let directory = format!("/proc/{}/fd", child.id());
    thread::spawn(move || {
        let mut most = 0;
        while let Ok(files) = fs::read_dir(&directory) {
            most = most.max(files.count());
            thread::park_timeout(Duration::from_millis(50));
        }
        most
    })
}
