//! Mailboxes on Dovecot.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{
    Mailboxes, Options,
    dovecot::{OWNER, Server},
};

/// Each process serves many sessions, as on a large server.
const CONFIG: &str = "
default_client_limit = 4000
default_vsz_limit = 1G
mail_max_userip_connections = 100
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

/// A Dovecot with many mailboxes.
pub struct Dovecot {
    server: Server,
    added: usize,
}

impl Dovecot {
    /// Starts a server with its files in a directory of its own.
    pub fn start(options: &Options) -> Result<Self> {
        let server = Server::start(options.dir.join("server"), CONFIG)?;
        Ok(Self { server, added: 0 })
    }
}

impl Mailboxes for Dovecot {
    fn port(&self) -> u16 {
        self.server.ports[1]
    }

    fn authority(&self) -> PathBuf {
        self.server.ca.clone()
    }

    fn add(&mut self, accounts: &mut dyn Iterator<Item = usize>) -> Result<()> {
        let owned = |path: &Path| chown(path, Some(OWNER), Some(OWNER));
        for account in accounts {
            self.added += 1;
            let maildir = self.server.maildir(&format!("user{account}"));
            for folder in ["cur", "new", "tmp"] {
                fs::create_dir_all(maildir.join(folder))?;
                owned(&maildir.join(folder))?;
            }
            let parents = maildir.ancestors().take(2);
            parents.into_iter().try_for_each(owned)?;
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
