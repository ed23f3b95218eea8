//! A private Dovecot on loopback (`tests/servers/dovecot`), for all benchmarks.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The password of every user.
pub const PASSWORD: &str = "secret";

/// The user ID that owns the mail on the server.
pub const OWNER: u32 = 24001;

/// The configuration: every user exists and has a Maildir, and sessions do not set flags.
const CONFIG: &str = "
mail_location = maildir:~/Maildir
pop3_no_flag_updates = yes
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=24001 gid=24001 home=/mnt/mail/%n allow_all_users=yes
}
";

/// A running server, which is stopped when it is dropped.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    /// The ports without and with TLS.
    pub ports: [u16; 2],
    /// The certificate of the server's authority.
    pub ca: PathBuf,
}

impl Server {
    /// Starts a server with its files in `dir` and these lines in its configuration, and waits
    /// until it accepts connections.
    pub fn start(dir: PathBuf, lines: &str) -> Result<Self> {
        let config = dir.with_extension("conf");
        fs::write(&config, format!("{CONFIG}{lines}"))?;
        let config = format!("conf={}", config.display());
        let out = launcher("start", &dir)
            .args([&config, "ttl=86400"])
            .stderr(Stdio::inherit())
            .output()?;
        if !out.status.success() {
            bail!("cannot start the server");
        }
        let printed = String::from_utf8(out.stdout)?;
        let value = |key: &str| {
            let found = printed
                .lines()
                .filter_map(|line| line.split_once('='))
                .find(|pair| pair.0 == key);
            found
                .map(|pair| pair.1)
                .with_context(|| format!("the launcher of the server did not print {key}"))
        };
        Ok(Self {
            ports: [value("pop3_port")?.parse()?, value("pop3s_port")?.parse()?],
            ca: value("ca_file")?.into(),
            dir,
        })
    }

    /// Returns the Maildir of a user.
    pub fn maildir(&self, user: &str) -> PathBuf {
        self.dir.join("mail").join(user).join("Maildir")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that cannot be stopped ends after its `ttl`.
        let _ = launcher("stop", &self.dir).output();
    }
}

fn launcher(verb: &str, dir: &Path) -> Command {
    let mut command = Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/servers/dovecot"
    ));
    command.arg(verb).arg(dir);
    command
}
