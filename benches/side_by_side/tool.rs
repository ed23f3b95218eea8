//! The clients, each at its best: one session, all that is new, nothing deleted, UIDs remembered.

use std::{
    ffi::OsString,
    fmt, fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::ValueEnum;

use super::{gauge::NOBODY, server::PASSWORD};

/// Where clients and what they start are looked for.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Tool {
    Pouch,
    Mpop,
    Fdm,
    Getmail,
    /// With procmail, since it cannot write to a Maildir itself.
    Fetchmail,
    /// The raw limit that throws the mail away.
    Wire,
    /// The raw limit that stores it.
    Disk,
}

/// What a client is to fetch, from where, to where.
#[derive(Debug)]
pub struct Errand<'a> {
    pub port: u16,
    /// With one, it speaks TLS from the start.
    pub authority: Option<Authority<'a>>,
    pub user: &'a str,
    /// Holds the Maildir `mail` and what the client remembers.
    pub home: &'a Path,
    /// Nothing or little is new.
    pub poll: bool,
}

/// Which authority a client is to trust.
#[derive(Clone, Copy, Debug)]
pub enum Authority<'a> {
    /// The one in this file.
    File(&'a Path),
    /// The ones of the system, as without a word in the client's configuration.
    System,
}

impl Errand<'_> {
    /// The file with the authority to trust, if it is named to the client.
    fn ca(&self) -> Option<&Path> {
        match self.authority {
            Some(Authority::File(ca)) => Some(ca),
            Some(Authority::System) | None => None,
        }
    }

    /// The name of that file between `before` and `after`, or nothing.
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
    /// The limits remember nothing: for a poll, the one that lists.
    pub fn is_limit(self) -> bool {
        matches!(self, Self::Wire | Self::Disk)
    }

    /// The program that is not installed.
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

    /// Whether it says by this exit code that all went well.
    pub fn is_content(self, code: i32, poll: bool) -> bool {
        code == 0 || (self == Self::Fetchmail && poll && code == 1)
    }

    /// Writes its configuration, and gives the command. `bin` has pouch and this program.
    pub fn command(self, bin: &Path, errand: &Errand<'_>) -> Result<Vec<OsString>> {
        let Errand {
            port,
            authority,
            user,
            home,
            ..
        } = *errand;
        let tls = authority.is_some();
        let (place, maildir) = (home.display(), home.join("mail"));
        let maildir = maildir.display();
        let config = |name: &str, text: String| write_config(&home.join(name), &text);
        let words: Vec<OsString> = match self {
            Self::Pouch => {
                config("password", format!("{PASSWORD}\n"))?;
                let text = pouch_account("bench", "localhost", user, errand);
                let config = config(
                    "pouch.toml",
                    format!("state-dir = \"{place}/state\"\n{text}"),
                )?;
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
                    "account default\nhost localhost\nport {port}\nuser {user}\npassword {PASSWORD}\nauth user\n{tls}\n\
                     timeout 300\ndelivery maildir {maildir}\nuidls_file {place}/uidls\nkeep on\nonly_new on\n\
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
                    "set lock-file \"{place}/lock\"\nset no-received\nset maximum-size 1G\nset queue-high 50\n\
                     set queue-low 40\n{verify}\naccount \"bench\" {kind} server \"localhost\" port {port} \
                     user \"{user}\" pass \"{PASSWORD}\" new-only cache \"{place}/cache\" no-apop\n\
                     action \"d\" maildir \"{maildir}\"\nmatch all action \"d\"\n"
                );
                let words = ["fdm", "-q", "-k", "-f"].map(OsString::from).into_iter();
                words
                    .chain([config("fdm.conf", text)?, "fetch".into()])
                    .collect()
            }
            Self::Getmail => {
                let (kind, ca) = (
                    if tls { "SSL" } else { "" },
                    errand.with_ca("ca_certs = ", "\n"),
                );
                let text = format!(
                    "[retriever]\ntype = SimplePOP3{kind}Retriever\nserver = localhost\nport = {port}\n\
                     username = {user}\npassword = {PASSWORD}\ntimeout = 60\n{ca}[destination]\ntype = Maildir\n\
                     path = {maildir}/\n[options]\nread_all = false\ndelete = false\ndelivered_to = false\n\
                     received = false\nverbose = 0\n"
                );
                let words = ["getmail", "--quiet", "--getmaildir"]
                    .map(OsString::from)
                    .into_iter();
                words
                    .chain([home.into(), "--rcfile".into(), config("getmailrc", text)?])
                    .collect()
            }
            Self::Fetchmail => fetchmail(errand)?,
            Self::Wire | Self::Disk => self.limit(bin, errand),
        };
        Ok(words)
    }

    fn limit(self, bin: &Path, errand: &Errand<'_>) -> Vec<OsString> {
        let mode = if errand.poll {
            "list"
        } else {
            ["discard", "store"][usize::from(self == Self::Disk)]
        };
        let mut words = vec![
            bin.join("side_by_side").into(),
            "limit".into(),
            errand.port.to_string().into(),
        ];
        words.extend([errand.user, mode].map(OsString::from));
        words.push(errand.home.join("mail").into());
        words.extend(errand.ca().map(|ca| ca.as_os_str().to_owned()));
        words
    }
}

/// Writes the configuration of fetchmail and procmail, and gives the command.
fn fetchmail(errand: &Errand<'_>) -> Result<Vec<OsString>> {
    let Errand {
        port, user, home, ..
    } = *errand;
    let place = home.display();
    let config = |name: &str, text: String| write_config(&home.join(name), &text);
    let mda = config(
        "procmailrc",
        format!("LOGFILE=/dev/null\nLOGABSTRACT=no\nDEFAULT={place}/mail/\n"),
    )?;
    let tls = if errand.authority.is_some() {
        let file = errand.with_ca(" sslcertfile \"", "\"");
        format!("ssl sslproto \"tls1.2+\" sslcertck{file} sslcommonname \"localhost\"")
    } else {
        "sslproto \"\"".to_owned()
    };
    let text = format!(
        "set no bouncemail\nset invisible\nset idfile \"{place}/ids\"\nset pidfile \"{place}/pid\"\n\
         poll localhost protocol pop3 service {port} uidl timeout 300\n user \"{user}\" there with \
         password \"{PASSWORD}\" is nobody here\n keep no rewrite pass8bits no fetchall fetchlimit 0 \
         fetchsizelimit 0 fastuidl 0 batchlimit 0\n {tls}\n mda \"exec procmail -p {}\"\n",
        mda.display()
    );
    let words = ["fetchmail", "--nodetach", "--silent", "-f"]
        .map(OsString::from)
        .into_iter();
    Ok(words.chain([config("fetchmailrc", text)?]).collect())
}

/// An account of pouch.
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

/// Writes a file that only the client may read, and gives its path.
pub fn write_config(path: &Path, text: &str) -> Result<OsString> {
    fs::write(path, text)?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
    chown(path, Some(NOBODY), Some(NOBODY))?;
    Ok(path.into())
}

/// Where a program is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    PATH.split(':')
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists())
}
