//! A private Dovecot on loopback (`tests/servers/dovecot`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{Mailboxes, Options};

/// The user ID that owns the mail on the server.
const OWNER: u32 = 24001;

/// Any user exists and has a Maildir; processes serve many sessions.
const CONFIG: &str = "
mail_location = maildir:~/Maildir
pop3_no_flag_updates = yes
default_client_limit = 4000
default_vsz_limit = 1G
mail_max_userip_connections = 100
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=24001 gid=24001 home=/mnt/mail/%n allow_all_users=yes
}
service pop3-login {
  service_count = 0
  client_limit = 2000
}
service pop3 {
  service_count = 0
  process_limit = 300
  process_min_avail = 8
}
service anvil {
  client_limit = 5000
}
service auth {
  client_limit = 8000
}
service stats {
  client_limit = 5000
}
";

pub struct Dovecot {
    dir: PathBuf,
    port: u16,
    authority: PathBuf,
    added: usize,
}

impl Dovecot {
    /// Starts a server with its files in a directory of its own.
    pub fn start(options: &Options) -> Result<Self> {
        let dir = options.dir.join("server");
        let config = dir.with_extension("conf");
        fs::write(&config, CONFIG)?;
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
            let mut pairs = printed.lines().filter_map(|line| line.split_once('='));
            let found = pairs.find(|pair| pair.0 == key).map(|pair| pair.1);
            found.with_context(|| format!("the launcher of the server did not print {key}"))
        };
        Ok(Self {
            port: value("pop3s_port")?.parse()?,
            authority: value("ca_file")?.into(),
            dir,
            added: 0,
        })
    }
}

impl Mailboxes for Dovecot {
    fn port(&self) -> u16 {
        self.port
    }

    fn authority(&self) -> PathBuf {
        self.authority.clone()
    }

    fn add(&mut self, accounts: &mut dyn Iterator<Item = usize>) -> Result<()> {
        use std::os::unix::fs::chown;
        let owned = |path: &Path| chown(path, Some(OWNER), Some(OWNER));
        for account in accounts {
            self.added += 1;
            let home = self.dir.join("mail").join(format!("user{account}"));
            let maildir = home.join("Maildir");
            for folder in ["cur", "new", "tmp"] {
                fs::create_dir_all(maildir.join(folder))?;
                owned(&maildir.join(folder))?;
            }
            owned(&home)?;
            owned(&maildir)?;
            let number = self.added;
            let path = maildir
                .join("new")
                .join(format!("{number}.M{number}.bench"));
            let text = format!(
                "From: sender@example.org\nTo: user{account}@example.org\n\
                 Message-ID: <{number}@example.org>\nDate: Mon, 23 Nov 2026 00:00:01 +0000\n\
                 Subject: {number}\n\n{}",
                "All work and no play makes Jack a dull boy, and so on.\n".repeat(60)
            );
            fs::write(&path, text)?;
            owned(&path)?;
        }
        Ok(())
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // a server that cannot be stopped ends after its `ttl`
        let _ = launcher("stop", &self.dir).output();
    }
}

fn launcher(verb: &str, dir: &Path) -> Command {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/dovecot");
    let mut command = Command::new(path);
    command.arg(verb).arg(dir);
    command
}
