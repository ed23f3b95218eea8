//! The clients and their fastest configurations.
//!
//! Each client fetches all new messages in one session, deletes nothing and records the UIDs.

use std::{
    ffi::OsString,
    fmt, fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use anyhow::Result;
use clap::ValueEnum;

use super::{
    dovecot::PASSWORD,
    environment::{CLIENT_UID, find},
};

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Tool {
    Pouch,
    Mpop,
    Fdm,
    Getmail,
    /// With procmail, since fetchmail cannot write to a Maildir.
    Fetchmail,
    /// The raw limit that discards the messages.
    Wire,
    /// The raw limit that stores the messages.
    Disk,
}

/// The task of a client: its server, user and directories.
#[derive(Debug)]
pub struct Errand<'a> {
    pub port: u16,
    /// `None` for a connection without TLS; otherwise implicit TLS is used.
    pub authority: Option<Authority<'a>>,
    pub user: &'a str,
    /// The directory with the Maildir `mail` and the state of the client.
    pub home: &'a Path,
    /// True if no more than a few messages are new.
    pub poll: bool,
}

/// The CA that a client trusts.
#[derive(Clone, Copy, Debug)]
pub enum Authority<'a> {
    /// The CA in this file.
    File(&'a Path),
    /// The CAs of the system, the default of each client.
    System,
}

impl Errand<'_> {
    /// Returns the CA file that the configuration of the client names.
    fn ca(&self) -> Option<&Path> {
        match self.authority {
            Some(Authority::File(ca)) => Some(ca),
            Some(Authority::System) | None => None,
        }
    }

    /// Returns the CA file between `before` and `after`, or an empty string.
    fn with_ca(&self, before: &str, after: &str) -> String {
        self.ca().map_or(String::new(), |ca| {
            format!("{before}{}{after}", ca.display())
        })
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pouch => "pouch",
            Self::Mpop => "mpop",
            Self::Fdm => "fdm",
            Self::Getmail => "getmail6",
            Self::Fetchmail => "fetchmail, procmail",
            Self::Wire => "raw limit, wire",
            Self::Disk => "raw limit, disk",
        })
    }
}

impl Tool {
    /// Returns true for the raw limits, which have no state.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::Wire | Self::Disk)
    }

    /// Returns the first required program that is not installed.
    pub fn missing(self) -> Option<&'static str> {
        let programs: &[&str] = match self {
            Self::Pouch | Self::Wire | Self::Disk => &[],
            Self::Mpop => &["mpop"],
            Self::Fdm => &["fdm"],
            Self::Getmail => &["getmail"],
            Self::Fetchmail => &["fetchmail", "procmail"],
        };
        programs
            .iter()
            .copied()
            .find(|program| find(program).is_none())
    }

    /// Returns true if the exit code means success.
    ///
    /// fetchmail exits with 1 if nothing is new.
    pub fn is_success(self, code: i32, poll: bool) -> bool {
        code == 0 || (self == Self::Fetchmail && poll && code == 1)
    }

    /// Writes the configuration of the client, and returns its command line.
    ///
    /// The directory `bin` has pouch and this program.
    pub fn command(self, bin: &Path, errand: &Errand<'_>) -> Result<Vec<OsString>> {
        let Errand {
            port,
            authority,
            user,
            home,
            ..
        } = *errand;
        let tls = authority.is_some();
        let (dir, maildir) = (home.display(), home.join("mail"));
        let maildir = maildir.display();
        let config = |name: &str, text: String| write_config(&home.join(name), &text);
        let command_line: Vec<OsString> = match self {
            Self::Pouch => {
                config("password", format!("{PASSWORD}\n"))?;
                let text = pouch_account("bench", "localhost", user, errand);
                let config = config("pouch.toml", format!("state-dir = \"{dir}/state\"\n{text}"))?;
                vec![
                    bin.join("pouch").into(),
                    "--config".into(),
                    config,
                    "fetch".into(),
                ]
            }
            Self::Mpop => {
                let tls = if tls {
                    format!(
                        "tls on\ntls_starttls off{}",
                        errand.with_ca("\ntls_trust_file ", "")
                    )
                } else {
                    "tls off".to_owned()
                };
                let text = format!(
                    "account default\nhost localhost\nport {port}\nuser {user}\n\
                     password {PASSWORD}\nauth user\n{tls}\ntimeout 300\n\
                     delivery maildir {maildir}\nuidls_file {dir}/uidls\nkeep on\nonly_new on\n\
                     pipelining on\nreceived_header off\n"
                );
                ["mpop", "-q", "-Q", "-C"]
                    .map(OsString::from)
                    .into_iter()
                    .chain([config("mpoprc", text)?])
                    .collect()
            }
            Self::Fdm => {
                let (kind, verify) = if tls {
                    ("pop3s", "set verify-certificates")
                } else {
                    ("pop3", "")
                };
                let text = format!(
                    "set lock-file \"{dir}/lock\"\nset no-received\nset maximum-size 1G\n\
                     set queue-high 50\nset queue-low 40\n{verify}\n\
                     account \"bench\" {kind} server \"localhost\" port {port} user \"{user}\" \
                     pass \"{PASSWORD}\" new-only cache \"{dir}/cache\" no-apop\n\
                     action \"d\" maildir \"{maildir}\"\nmatch all action \"d\"\n"
                );
                let command_line = ["fdm", "-q", "-k", "-f"].map(OsString::from).into_iter();
                command_line
                    .chain([config("fdm.conf", text)?, "fetch".into()])
                    .collect()
            }
            Self::Getmail => {
                let (kind, ca) = (
                    if tls { "SSL" } else { "" },
                    errand.with_ca("ca_certs = ", "\n"),
                );
                let text = format!(
                    "[retriever]\ntype = SimplePOP3{kind}Retriever\nserver = localhost\n\
                     port = {port}\nusername = {user}\npassword = {PASSWORD}\ntimeout = 60\n{ca}\
                     [destination]\ntype = Maildir\npath = {maildir}/\n\
                     [options]\nread_all = false\ndelete = false\ndelivered_to = false\n\
                     received = false\nverbose = 0\n"
                );
                let command_line = ["getmail", "--quiet", "--getmaildir"]
                    .map(OsString::from)
                    .into_iter();
                command_line
                    .chain([home.into(), "--rcfile".into(), config("getmailrc", text)?])
                    .collect()
            }
            Self::Fetchmail => fetchmail(errand)?,
            Self::Wire | Self::Disk => self.limit(bin, errand),
        };
        Ok(command_line)
    }

    fn limit(self, bin: &Path, errand: &Errand<'_>) -> Vec<OsString> {
        let mode = if errand.poll {
            "list"
        } else {
            ["discard", "store"][usize::from(self == Self::Disk)]
        };
        let mut command_line = vec![
            bin.join("side_by_side").into(),
            "limit".into(),
            errand.port.to_string().into(),
        ];
        command_line.extend([errand.user, mode].map(OsString::from));
        command_line.push(errand.home.join("mail").into());
        command_line.extend(errand.ca().map(|ca| ca.as_os_str().to_owned()));
        command_line
    }
}

/// Writes the configuration of fetchmail and procmail, and returns the command line.
fn fetchmail(errand: &Errand<'_>) -> Result<Vec<OsString>> {
    let Errand {
        port, user, home, ..
    } = *errand;
    let dir = home.display();
    let config = |name: &str, text: String| write_config(&home.join(name), &text);
    let mda = config(
        "procmailrc",
        format!("LOGFILE=/dev/null\nLOGABSTRACT=no\nDEFAULT={dir}/mail/\n"),
    )?;
    let tls = if errand.authority.is_some() {
        let file = errand.with_ca(" sslcertfile \"", "\"");
        format!("ssl sslproto \"tls1.2+\" sslcertck{file} sslcommonname \"localhost\"")
    } else {
        "sslproto \"\"".to_owned()
    };
    let text = format!(
        "set no bouncemail\nset invisible\nset idfile \"{dir}/ids\"\nset pidfile \"{dir}/pid\"\n\
         poll localhost protocol pop3 service {port} uidl timeout 300\n \
         user \"{user}\" there with password \"{PASSWORD}\" is nobody here\n \
         keep no rewrite pass8bits no fetchall fetchlimit 0 fetchsizelimit 0 fastuidl 0 \
         batchlimit 0\n {tls}\n mda \"exec procmail -p {}\"\n",
        mda.display()
    );
    let command_line = ["fetchmail", "--nodetach", "--silent", "-f"]
        .map(OsString::from)
        .into_iter();
    Ok(command_line.chain([config("fetchmailrc", text)?]).collect())
}

/// Returns the configuration of a pouch account.
pub fn pouch_account(name: &str, host: &str, user: &str, errand: &Errand<'_>) -> String {
    let tls = match errand.authority {
        None => "tls = \"off\"\nallow-plaintext-password = true".to_owned(),
        Some(Authority::System) => "tls = \"implicit\"".to_owned(),
        Some(Authority::File(ca)) => {
            format!("tls = \"implicit\"\ntls-ca-file = \"{}\"", ca.display())
        }
    };
    let (port, home) = (errand.port, errand.home.display());
    format!(
        "[account.{name}]\nhost = \"{host}\"\nport = {port}\nuser = \"{user}\"\n{tls}\n\
         password-file = \"{home}/password\"\nmaildir = \"{home}/mail\"\nkeep = \"forever\"\n"
    )
}

/// Writes a file that only the client can read, and returns its path.
pub fn write_config(path: &Path, text: &str) -> Result<OsString> {
    fs::write(path, text)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    chown(path, Some(CLIENT_UID), Some(CLIENT_UID))?;
    Ok(path.into())
}
