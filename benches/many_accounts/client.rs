//! Runs pouch and other clients, and measures them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use wait4::Wait4;

use super::{Mailboxes, Options};

/// The resource usage of a command and its child processes.
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
        fs::write(home.join("password"), "secret\n")?;
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

    /// Polls all accounts with each other client that is installed, one process per account.
    #[allow(
        clippy::too_many_lines,
        reason = "a list of programs with their configs"
    )]
    pub fn peers(&self, server: &dyn Mailboxes) -> Result<Vec<(&'static str, Usage)>> {
        let (port, ca) = (server.port(), server.authority());
        let ca = ca.display();
        let mut results = Vec::new();
        let script = |name: &str, text: String| -> Result<PathBuf> {
            let path = self.home.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let mpop = script(
            "mpop.sh",
            format!(
                "umask 077; mkdir -p ~/mpop/$1/{{cur,new,tmp}}; printf '%s\\n' 'account default' \
                 'host localhost' 'port {port}' \"user user$1\" 'password secret' 'auth user' \
                 'tls on' 'tls_starttls off' 'tls_trust_file {ca}' 'keep on' \
                 \"uidls_file ~/mpop/$1.uidls\" \"delivery maildir ~/mpop/$1\" > ~/mpop/$1.rc\n\
                 exec mpop -q -C ~/mpop/$1.rc default\n"
            ),
        )?;
        let fdm = script(
            "fdm.sh",
            format!(
                "umask 077; mkdir -p ~/fdm; printf '%s\\n' 'action \"m\" maildir \"%h/fdm/mail\"' \
                 \"account \\\"a\\\" pop3s server \\\"localhost\\\" port {port} user \
                 \\\"user$1\\\" pass \\\"secret\\\" no-verify keep cache \\\"%h/fdm/$1.cache\\\"\" \
                 'match all action \"m\"' 'set lock-types none' > ~/fdm/$1.conf\n\
                 exec fdm -q -l -f ~/fdm/$1.conf fetch\n"
            ),
        )?;
        let fetchmail = script(
            "fetchmail.sh",
            format!(
                "umask 077; mkdir -p ~/fm/$1; printf '%s\\n' \"poll localhost protocol pop3 port \
                 {port} uidl user user$1 password secret ssl sslcertfile {ca} keep mda \
                 '/bin/cat >/dev/null'\" > ~/fm/$1/rc\n\
                 FETCHMAILHOME=$HOME/fm/$1 exec fetchmail -s -f ~/fm/$1/rc\n"
            ),
        )?;
        let getmail = script(
            "getmail.sh",
            format!(
                "umask 077; mkdir -p ~/gm/$1/mail/{{cur,new,tmp}}; printf '%s\\n' '[retriever]' \
                 'type = SimplePOP3SSLRetriever' 'server = localhost' 'port = {port}' \
                 \"username = user$1\" 'password = secret' 'ca_certs = {ca}' '[destination]' \
                 'type = Maildir' \"path = ~/gm/$1/mail/\" '[options]' 'read_all = false' \
                 'delete = false' > ~/gm/$1/rc\n\
                 exec getmail -q --getmaildir=$HOME/gm/$1 --rcfile=rc\n"
            ),
        )?;
        for (name, script) in [
            ("mpop", mpop),
            ("fdm", fdm),
            ("fetchmail", fetchmail),
            ("getmail", getmail),
        ] {
            let is_installed = Command::new(name).arg("--version").output().is_ok();
            if !is_installed {
                eprintln!("{name} is not installed");
                continue;
            }
            // the first run fetches; the second one is measured
            self.many(&script)?;
            results.push((name, self.many(&script)?));
        }
        Ok(results)
    }

    fn many(&self, script: &Path) -> Result<Usage> {
        let jobs = self.options.jobs.to_string();
        let numbers: Vec<_> = (0..self.options.accounts)
            .map(|account| account.to_string())
            .collect();
        let list = self.home.join("numbers");
        fs::write(&list, numbers.join("\n"))?;
        let mut command = Command::new("xargs");
        command.args(["-n", "1", "-P", &jobs, "-a"]).arg(list);
        command.arg("bash").arg(script);
        self.measure(&mut command)
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
