//! The other clients: their configs and command lines.
//!
//! Each leaves the messages on the server. mpop and fdm deliver to a Maildir; fetchmail, which
//! cannot, and getmail, which refuses to do so as root, pass each message to a program that does
//! nothing. All verify the certificate of the server except fdm, for which no authority can be set.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{Options, dovecot::PASSWORD};

/// The way in which a client polls all accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In one process.
    One,
    /// In one process per account, of which `--jobs` run at the same time.
    Each,
}

/// Another client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Fetchmail,
    Mpop,
    Fdm,
    Getmail,
}

/// A client in one of its modes.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    program: Program,
    mode: Mode,
    /// Its name in the table and for `--only`.
    pub name: &'static str,
}

/// All clients.
pub const PEERS: [Peer; 8] = [
    peer(Program::Fetchmail, Mode::One, "fetchmail"),
    peer(Program::Fetchmail, Mode::Each, "fetchmail-each"),
    peer(Program::Mpop, Mode::One, "mpop"),
    peer(Program::Mpop, Mode::Each, "mpop-each"),
    peer(Program::Fdm, Mode::One, "fdm"),
    peer(Program::Fdm, Mode::Each, "fdm-each"),
    peer(Program::Getmail, Mode::One, "getmail"),
    peer(Program::Getmail, Mode::Each, "getmail-each"),
];

const fn peer(program: Program, mode: Mode, name: &'static str) -> Peer {
    Peer {
        program,
        mode,
        name,
    }
}

/// The server that the clients poll.
pub struct Target<'a> {
    pub port: u16,
    pub authority: &'a Path,
}

impl Peer {
    /// Returns whether the program is installed.
    pub fn is_installed(self) -> bool {
        let out = Command::new(self.program()).arg("--version").output();
        out.is_ok()
    }

    fn program(self) -> &'static str {
        match self.program {
            Program::Fetchmail => "fetchmail",
            Program::Mpop => "mpop",
            Program::Fdm => "fdm",
            Program::Getmail => "getmail",
        }
    }

    /// Writes the configs for all accounts into a directory below `home`. Returns the command that
    /// polls them.
    pub fn prepare(self, home: &Path, options: &Options, target: &Target<'_>) -> Result<Command> {
        let dir = home.join(self.name);
        fs::create_dir_all(&dir)?;
        let mut common = String::new();
        for account in 0..options.accounts {
            let own = self.account(&dir, account, target)?;
            match self.mode {
                Mode::One => common.push_str(&own),
                // one file per account in both modes
                Mode::Each if self.program == Program::Getmail => {}
                Mode::Each => {
                    let head = self.head(&dir, options, target);
                    write(&dir.join(format!("{account}.rc")), &(head + &own))?;
                }
            }
        }
        if self.mode == Mode::One {
            let text = self.head(&dir, options, target) + &common;
            write(&dir.join("rc"), &text)?;
            return Ok(self.command_for_all(&dir, options));
        }
        let names: String = (0..options.accounts).fold(String::new(), |mut names, account| {
            let _ = writeln!(names, "{account}");
            names
        });
        let list = dir.join("accounts");
        fs::write(&list, names)?;
        let mut command = Command::new("xargs");
        command.args(["-P", &options.jobs.to_string(), "-I{}", "-a"]);
        command.arg(list).arg(self.program());
        command.args(self.arguments(&dir));
        Ok(command)
    }

    /// Returns the part of a config that all accounts share.
    fn head(self, dir: &Path, options: &Options, target: &Target<'_>) -> String {
        let (port, ca) = (target.port, target.authority.display());
        match self.program {
            Program::Fetchmail => format!("poll localhost protocol pop3 port {port} uidl\n"),
            Program::Mpop => format!(
                "defaults\nhost localhost\nport {port}\npassword {PASSWORD}\nauth user\ntls on\n\
                 tls_starttls off\ntls_trust_file {ca}\nkeep on\n"
            ),
            Program::Fdm => format!(
                "set lock-types none\nset parallel-accounts {}\naction \"m\" maildir \"{}\"\n\
                 match all action \"m\"\n",
                options.jobs,
                dir.join("mail").display()
            ),
            Program::Getmail => String::new(),
        }
    }

    /// Returns the part of a config for one account, and creates the directories that it needs.
    fn account(self, dir: &Path, account: usize, target: &Target<'_>) -> Result<String> {
        let (port, ca) = (target.port, target.authority.display());
        let own = dir.join(account.to_string());
        for folder in ["cur", "new", "tmp"] {
            fs::create_dir_all(own.join("mail").join(folder))?;
        }
        fs::set_permissions(&own, PermissionsExt::from_mode(0o700))?;
        let own = own.display();
        let name = match self.mode {
            Mode::One => account.to_string(),
            Mode::Each => "default".to_owned(),
        };
        Ok(match self.program {
            Program::Fetchmail => format!(
                "user user{account} password {PASSWORD} ssl sslcertfile {ca} keep \
                 mda '/bin/cat >/dev/null'\n"
            ),
            Program::Mpop => format!(
                "account {name}\nuser user{account}\nuidls_file {own}/uidls\n\
                 delivery maildir {own}/mail\n"
            ),
            Program::Fdm => format!(
                "account \"{name}\" pop3s server \"localhost\" port {port} user \
                 \"user{account}\" pass \"{PASSWORD}\" no-verify keep cache \"{own}/cache\"\n"
            ),
            Program::Getmail => {
                let text = format!(
                    "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\n\
                     port = {port}\nusername = user{account}\npassword = {PASSWORD}\n\
                     ca_certs = {ca}\n[destination]\ntype = MDA_external\npath = /bin/true\n\
                     allow_root_commands = true\n[options]\nread_all = false\ndelete = false\n"
                );
                write(&dir.join(format!("{account}.rc")), &text)?;
                String::new()
            }
        })
    }

    /// Returns the arguments for one account, `{}`.
    fn arguments(self, dir: &Path) -> Vec<String> {
        let dir = dir.display();
        let config = format!("{dir}/{{}}.rc");
        let arguments: &[&str] = match self.program {
            Program::Fetchmail => {
                let (ids, pid) = (format!("{dir}/{{}}/ids"), format!("{dir}/{{}}/pid"));
                return ["-s", "-f", &config, "-i", &ids, "--pidfile", &pid]
                    .map(str::to_owned)
                    .into();
            }
            Program::Mpop => &["-q", "-C", &config, "default"],
            Program::Fdm => &["-q", "-m", "-f", &config, "fetch"],
            Program::Getmail => {
                return vec![
                    "-q".to_owned(),
                    format!("--getmaildir={dir}/{{}}"),
                    format!("--rcfile={config}"),
                ];
            }
        };
        arguments.iter().copied().map(str::to_owned).collect()
    }

    /// Returns the command that polls all accounts in one process.
    fn command_for_all(self, dir: &Path, options: &Options) -> Command {
        let path = |name: &str| -> PathBuf { dir.join(name) };
        let mut command = Command::new(self.program());
        match self.program {
            Program::Fetchmail => {
                command.args(["-s", "-f"]).arg(path("rc"));
                command.arg("-i").arg(path("ids"));
                command.arg("--pidfile").arg(path("pid"));
            }
            Program::Mpop => {
                command.args(["-q", "-a", "-C"]).arg(path("rc"));
            }
            Program::Fdm => {
                command.args(["-q", "-m", "-f"]).arg(path("rc"));
                command.arg("fetch");
            }
            Program::Getmail => {
                command.arg("-q");
                command.arg(format!("--getmaildir={}", dir.display()));
                for account in 0..options.accounts {
                    let config = path(&format!("{account}.rc"));
                    command.arg(format!("--rcfile={}", config.display()));
                }
            }
        }
        command
    }
}

/// Writes a file that only its owner can read.
fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    Ok(())
}
